"""Every hand-computed market, through the simulator and through the slow reference."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from crypto_tracker.core.orders import FillKind
from crypto_tracker.simulation.backtest import simulate_portfolio
from crypto_tracker.simulation.records import Scenario, SimulationResult
from tests.conformance.comparison import differences
from tests.conformance.parser import Case, read_base, read_cases
from tests.conformance.scenario import Market, build
from tests.reference.simulator import simulate

CASES_FOLDER = Path(__file__).parent / "cases"
BASE = read_base(CASES_FOLDER / "base.txt")
CASES = [
    case
    for path in sorted(CASES_FOLDER.glob("*.txt"))
    if path.name != "base.txt"
    for case in read_cases(path)
]


def money_that_does_not_add_up(market: Market, result: SimulationResult) -> list[str]:
    """R11 for every case: cash and reserve at the end are the capital and the fills, to the last 1e-8."""
    balance = round(market.scenario.rules.capital_quote * 1e8)
    for fill in result.fills:
        signed = 1 if fill["kind"] == FillKind.EXIT else -1
        balance += signed * int(fill["notional_e8"]) - int(fill["fee_e8"])
    found = int(result.cash_e8[-1]) + int(result.reserved_e8[-1])
    if balance != found:
        return [f"the fills leave {balance} e8, cash and reserve hold {found} e8"]
    return []


@pytest.mark.parametrize("engine", [simulate_portfolio, simulate], ids=["simulator", "reference"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.place.file.removesuffix('.txt')}: {case.title}")
def test_the_market_ends_as_computed_by_hand(
    case: Case, engine: Callable[[Scenario], SimulationResult]
) -> None:
    market = build(case, BASE)
    result = engine(market.scenario)
    wrong = differences(case, market, result) + money_that_does_not_add_up(market, result)
    assert not wrong, "\n".join([f"{case.place.file}:{case.place.line}: {case.title}", *wrong])


def test_there_are_enough_cases_and_each_has_its_own_title() -> None:
    titles = [case.title for case in CASES]
    repeated = {title for title in titles if titles.count(title) > 1}
    assert not repeated
    assert len(titles) >= 60


def test_a_case_that_expects_the_wrong_money_fails() -> None:
    """The comparison itself must be able to say no."""
    case = read_cases(CASES_FOLDER / "r04_limits.txt")[0]
    market = build(case, BASE)
    result = simulate(market.scenario)
    case.expected["end"].rows[0].words["cash"] = "1"
    assert len(differences(case, market, result)) == 1
    assert np.all(result.equity_e8 > 0)

"""Every hand-computed market, through the simulator and through the slow reference."""

from collections.abc import Callable
from pathlib import Path

import pytest

from crypto_tracker.core.arrays import RecordArray
from crypto_tracker.core.errors import SimulationError
from crypto_tracker.core.orders import FillKind
from crypto_tracker.simulation.backtest import Simulator, simulate_portfolio
from crypto_tracker.simulation.outcomes import simulate_setups
from crypto_tracker.simulation.records import Scenario, SimulationResult
from tests.conformance.comparison import differences, outcome_differences
from tests.conformance.parser import Case, CaseError, Row, read_base, read_cases
from tests.conformance.scenario import Market, build
from tests.reference.setups import simulate_setups as reference_setups
from tests.reference.simulator import simulate

CASES_FOLDER = Path(__file__).parent / "cases"
BASE = read_base(CASES_FOLDER / "base.txt")
CASES = [
    case
    for path in sorted(CASES_FOLDER.glob("*.txt"))
    if path.name != "base.txt"
    for case in read_cases(path)
]


def title(case: Case) -> str:
    return f"{case.place.file.removesuffix('.txt')}: {case.title}"


def simulate_densely(scenario: Scenario) -> SimulationResult:
    """Every bar of every symbol, as paper trading steps them."""
    simulator = Simulator(scenario, dense=True)
    simulator.run_until(len(scenario.panel))
    return simulator.result()


ENGINES = pytest.mark.parametrize(
    "engine", [simulate_portfolio, simulate_densely, simulate], ids=["events", "dense", "reference"]
)


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


@ENGINES
@pytest.mark.parametrize("case", [case for case in CASES if not case.alone], ids=title)
def test_the_market_ends_as_computed_by_hand(
    case: Case, engine: Callable[[Scenario], SimulationResult]
) -> None:
    market = build(case, BASE)
    result = engine(market.scenario)
    wrong = differences(case, market, result) + money_that_does_not_add_up(market, result)
    assert not wrong, "\n".join([f"{case.place.file}:{case.place.line}: {case.title}", *wrong])


@pytest.mark.parametrize("engine", [simulate_setups, reference_setups], ids=["simulator", "reference"])
@pytest.mark.parametrize("case", [case for case in CASES if case.alone], ids=title)
def test_the_setup_alone_comes_out_as_computed_by_hand(
    case: Case, engine: Callable[[Scenario], RecordArray]
) -> None:
    market = build(case, BASE)
    wrong = outcome_differences(case, market, engine(market.scenario))
    assert not wrong, "\n".join([f"{case.place.file}:{case.place.line}: {case.title}", *wrong])


def test_there_are_enough_cases_and_each_has_its_own_title() -> None:
    titles = [case.title for case in CASES]
    repeated = {title for title in titles if titles.count(title) > 1}
    assert not repeated
    assert len(titles) >= 60


@ENGINES
def test_a_quantity_that_no_longer_is_exact_stops_the_run_and_names_the_instrument(
    engine: Callable[[Scenario], SimulationResult], tmp_path: Path
) -> None:
    """2^53 is 9.007e15, and 1,000 buy 1e16 of these lots at a price of 1."""
    path = tmp_path / "dust.txt"
    path.write_text(
        "case Dust\nset lot 0.0000000000001\nbars XYZ\n  time          close\n  12:00..12:01      1\n"
        "setups\n  decided\n  12:01\nexpect\nend\n  cash  reserved  equity\n  0  0  0\n",
        encoding="utf-8",
    )
    (case,) = read_cases(path)
    market = build(case, BASE)
    with pytest.raises(SimulationError, match="XYZ/USD"):
        engine(market.scenario)


def _another_word(word: str) -> str:
    """A word of the same kind that means something else."""
    flags = {"yes": "no", "no": "yes", "-": "1"}
    if word in flags:
        return flags[word]
    try:
        return str(round(float(word) + 1, 8))
    except ValueError:
        return word + "x"


def _holds(complain: Callable[[], list[str]], row: Row, column: str) -> bool:
    """Whether the comparison notices when one word of the expectation is another one."""
    word = row.words[column]
    row.words[column] = _another_word(word)
    try:
        return bool(complain())
    except CaseError:
        return True  # a word without meaning is noticed as well
    finally:
        row.words[column] = word


@pytest.mark.parametrize("name", sorted({case.place.file for case in CASES}))
def test_every_word_of_an_expectation_counts(name: str) -> None:
    for case in (case for case in CASES if case.place.file == name):
        market = build(case, BASE)
        if case.alone:
            outcomes = reference_setups(market.scenario)
            complain = lambda: outcome_differences(case, market, outcomes)  # noqa: B023, E731 - called at once
        else:
            result = simulate(market.scenario)
            complain = lambda: differences(case, market, result)  # noqa: B023, E731 - called at once
        for section, table in case.expected.items():
            for row in table.rows:
                for column in table.columns:
                    assert _holds(complain, row, column), f"{case.title}: {section}.{column} is not compared"

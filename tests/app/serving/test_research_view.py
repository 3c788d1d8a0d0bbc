"""Trials and luck, the agreement of strategies, outcomes against those that a model needs, and what is missing."""

from math import sqrt
from pathlib import Path
from time import monotonic, sleep

import numpy as np
import pytest

from crypto_tracker.app.serving.home_bars import HomeBars
from crypto_tracker.app.serving.research_view import (
    KeptResearch,
    Looked,
    agreement,
    research_view,
    trials_view,
)
from crypto_tracker.app.serving.scope import Scope
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import DAY_MS, MINUTE_MS
from crypto_tracker.store.trials import Data, Trial, TrialStore
from crypto_tracker.strategies.decisions import ScanBlock
from tests.app.serving.recorded import Recorded
from tests.trading.worlds import configuration

COINS = tuple(Symbol(base, "USDT") for base in ("BTC", "ETH", "SOL"))
CLOSE_MS = 1_740_830_400_000


def block(
    strategy: str, minute: int, readiness: tuple[float, ...], symbols: tuple[Symbol, ...] = COINS
) -> ScanBlock:
    """One scan of all coins, so many minutes after the first."""
    return ScanBlock(
        strategy=strategy,
        time_ms=CLOSE_MS + minute * MINUTE_MS,
        version="1",
        symbols=symbols,
        reason=np.zeros(len(symbols), dtype=np.int8),
        readiness=np.array(readiness),
        confidence=np.full(len(symbols), np.nan),
        measurements={},
    )


def test_strategies_agree_where_both_are_near_a_setup_of_a_symbol_at_the_same_close() -> None:
    blocks = [
        block("DCA", 0, (90.0, 10.0, 80.0)),
        block("SWING", 0, (85.0, 95.0, 20.0)),
        block("DCA", 5, (90.0, 90.0, 90.0)),  # SWING looks every quarter of an hour: this counts for nobody
        block("DCA", 15, (float("nan"), 79.9, 81.0)),
        block("SWING", 15, (88.0, 0.0, 80.0)),
    ]
    (found,) = agreement(["DCA", "SWING"], blocks, 80.0)
    assert (found.first, found.second) == ("DCA", "SWING")
    assert found.together == 2, "BTC at the first close, SOL at the last"
    assert found.either == 5, "and ETH and SOL at the first, BTC at the last"
    assert found.share == pytest.approx(0.4)
    assert found.scans == 6


def test_only_symbols_that_both_know_are_compared_whatever_their_order() -> None:
    other_way = (COINS[2], COINS[0])
    blocks = [block("DCA", 0, (90.0, 90.0, 10.0)), block("SWING", 0, (90.0, 90.0), other_way)]
    (found,) = agreement(["DCA", "SWING"], blocks, 80.0)
    assert (found.together, found.either, found.scans) == (1, 2, 2)


def test_without_a_common_close_there_is_no_share() -> None:
    found = agreement(["DCA", "SWING", "CHANNEL"], [block("DCA", 0, (90.0, 0.0, 0.0))], 80.0)
    assert [(each.first, each.second) for each in found] == [
        ("DCA", "SWING"),
        ("DCA", "CHANNEL"),
        ("SWING", "CHANNEL"),
    ]
    assert all(each.share is None and each.scans == 0 for each in found)


def trial(number: int, sharpe: float | None, source: str = "optimize") -> Trial:
    """One configuration on the same hundred days of BTC."""
    return Trial(
        data=Data(
            start_ms=CLOSE_MS,
            end_ms=CLOSE_MS + 100 * DAY_MS,
            base="1m",
            provider_of={COINS[0]: "kraken"},
            synthetic=False,
        ),
        configuration_version=f"version-{number}",
        sharpe=sharpe,
        days=100,
        trades=50,
        source=source,
    )


def remember(home: Path, trials: list[Trial], at_ms: int = 7) -> None:
    opened = TrialStore.open(home)
    opened.remember(trials, recorded_at_ms=at_ms)
    opened.close()


def test_what_luck_finds_among_ten_trials_is_told_beside_the_best(tmp_path: Path) -> None:
    # Of ten independent trials the best is, by chance, (1 - g) z(0.9) + g z(1 - 1 / 10e) standard deviations
    # up: 0.4228 x 1.28155 + 0.5772 x 1.78927 = 1.57460 (normal quantiles of a table). The trials lie closer
    # together than chance puts them, so the deviation is that of one estimate: (1 + 0.05^2 / 2) / 99.
    remember(tmp_path, [trial(n, 0.05 - 0.001 * n, "backtest" if n == 9 else "optimize") for n in range(10)])
    found = trials_view(tmp_path)
    assert (found.count, found.searched, found.days, found.newest_ms) == (10, 9, 100, 7)
    assert found.best_sharpe == pytest.approx(0.05 * sqrt(365))
    assert found.lucky_sharpe == pytest.approx(1.57460 * sqrt((1 + 0.00125) / 99) * sqrt(365), rel=1e-4)
    assert found.sentence == (
        "Of 10 configurations on 100 days the best has a Sharpe ratio of 0.96 a year. That is not above 3.03, "
        "what the best of so many reaches by luck alone: it proves nothing."
    )


def test_a_find_that_luck_does_not_explain_is_told_as_such(tmp_path: Path) -> None:
    remember(tmp_path, [trial(1, 0.40), trial(2, 0.39)])
    found = trials_view(tmp_path)
    assert found.best_sharpe is not None
    assert found.lucky_sharpe is not None
    assert found.best_sharpe > found.lucky_sharpe
    assert "That is above" in found.sentence


def test_one_backtest_searched_for_nothing(tmp_path: Path) -> None:
    remember(tmp_path, [trial(1, 0.1, "backtest")])
    found = trials_view(tmp_path)
    assert found.lucky_sharpe == 0.0
    assert found.sentence == (
        "One configuration was tried on 100 days and has a Sharpe ratio of 1.91 a year; nothing was searched for."
    )


def test_trials_without_a_sharpe_ratio_say_so(tmp_path: Path) -> None:
    remember(tmp_path, [trial(1, None), trial(2, None)])
    assert trials_view(tmp_path).best_sharpe is None
    assert (
        trials_view(tmp_path).sentence
        == "2 configurations were tried on 100 days; none has a Sharpe ratio yet."
    )


def test_where_nothing_was_tried_nothing_is_written(tmp_path: Path) -> None:
    found = trials_view(tmp_path)
    assert (found.count, found.best_sharpe, found.lucky_sharpe) == (0, None, None)
    assert list(tmp_path.iterdir()) == []


def test_outcomes_count_towards_the_least_that_a_model_needs() -> None:
    looked = Looked(trials=trials_view(Path("/nowhere")), agreement=())
    found = research_view(looked, ("DCA", "CHANNEL", "MINE"), {"DCA": 7, "CHANNEL": 300})
    assert [(each.strategy, each.outcomes, each.needed) for each in found.progress] == [
        ("DCA", 7, 1_000),
        ("CHANNEL", 300, 250),
        ("MINE", 0, 500),
    ]
    assert found.progress[0].sentence == "993 more outcomes until a model can be trained"
    assert found.progress[1].sentence == "enough for a model"


def test_what_does_not_exist_yet_is_empty_and_says_what_it_waits_for() -> None:
    found = research_view(Looked(trials=trials_view(Path("/nowhere")), agreement=()), (), {})
    assert (found.models, found.shadow, found.suggestions) == ([], [], [])
    assert sorted(found.missing) == ["models", "predictions", "shadow", "suggestions"]
    assert all("wait" in sentence for sentence in found.missing.values())


def test_what_was_tried_meanwhile_is_told_without_waiting_for_a_minute(tmp_path: Path) -> None:
    traded = Scope(
        account="paper",
        bars=HomeBars(tmp_path),
        symbols=COINS,
        reference=None,
        providers={},
        history="",
        strategies=("DCA",),
        installed={},
        configuration=configuration(),
        version="1",
        quote="USDT",
        start_ms=CLOSE_MS,
        until_ms=CLOSE_MS + DAY_MS,
        live=True,
        near_miss_readiness=80.0,
        now_ms=lambda: 77,
    )
    kept = KeptResearch(lambda: traded, Recorded(), lambda: 77)
    remember(tmp_path, [trial(0, 0.05)])
    assert kept.view({}).trials.count == 1
    remember(tmp_path, [trial(1, 0.06), trial(2, 0.07)], at_ms=8)
    until = monotonic() + 240.0
    while (found := kept.view({})).trials.count == 1 and monotonic() < until:
        sleep(0.05)
    assert (found.trials.count, found.made_at_ms) == (3, 77)

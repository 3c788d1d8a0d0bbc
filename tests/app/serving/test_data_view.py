"""What is stored of the symbols of a book: ages by timeframe, scores with why, the worst first."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from crypto_tracker.app.serving.data_view import data_view, newest_bars
from crypto_tracker.app.serving.home_bars import HomeBars
from crypto_tracker.app.serving.scope import Scope
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import DAY_MS, HOUR_MS, MINUTE_MS, Timeframe, to_ms
from crypto_tracker.store.quality import Disagreement, QualityRow, write_disagreements, write_quality
from crypto_tracker.strategies.registry import builtin
from tests.store.shelf import BTC, ETH, run_of_minutes, store
from tests.trading.worlds import configuration

NOON_MS = to_ms(datetime(2025, 3, 1, 12, tzinfo=UTC))
PRESENT_MS = NOON_MS + 40 * MINUTE_MS
SOL = Symbol("SOL", "USDT")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """BTC until 12:40, ETH until 12:17, and SOL on hours only; all of kraken."""
    with store(tmp_path / "home") as opened:
        for symbol, minutes in ((BTC, 40), (ETH, 17)):
            covered = [(NOON_MS, NOON_MS + minutes * MINUTE_MS)]
            opened.write("kraken", symbol, Timeframe.M1, run_of_minutes("12:00", minutes), covered)
        hours = run_of_minutes("10:00", 2, step=HOUR_MS)
        opened.write("kraken", SOL, Timeframe.H1, hours, [(NOON_MS - 2 * HOUR_MS, NOON_MS)])
    return tmp_path / "home"


def scope(home: Path) -> Scope:
    """A book of three symbols whose present is 12:40."""
    symbols = (BTC, ETH, SOL)
    return Scope(
        account="paper",
        bars=HomeBars(home),
        symbols=symbols,
        reference=BTC,
        providers=dict.fromkeys(symbols, "kraken"),
        history="",
        strategies=("DCA",),
        installed=builtin(),
        configuration=configuration(),
        version="1",
        quote="USDT",
        start_ms=NOON_MS,
        until_ms=PRESENT_MS,
        live=True,
        near_miss_readiness=80.0,
        now_ms=lambda: PRESENT_MS,
    )


def score_of(symbol: Symbol, score: float, **parts: float | None) -> QualityRow:
    """A score as the collector keeps it."""
    whole: dict[str, float | None] = {
        "freshness": 1.0,
        "completeness": 1.0,
        "soundness": 1.0,
        "agreement": None,
    }
    return QualityRow(
        provider="kraken",
        symbol=symbol,
        measured_at_ms=PRESENT_MS - MINUTE_MS,
        score=score,
        **(whole | parts),  # type: ignore[arg-type]
    )


def test_timeframes_are_known_as_far_as_finer_bars_close_them(home: Path) -> None:
    newest = newest_bars(home)
    assert newest["kraken", BTC] == {
        Timeframe.M1: NOON_MS + 40 * MINUTE_MS,
        Timeframe.M5: NOON_MS + 40 * MINUTE_MS,
        Timeframe.M15: NOON_MS + 30 * MINUTE_MS,
        Timeframe.H1: NOON_MS,
        Timeframe.H4: NOON_MS,
        Timeframe.D1: NOON_MS - 12 * HOUR_MS,
    }
    assert newest["kraken", SOL] == {
        Timeframe.H1: NOON_MS,
        Timeframe.H4: NOON_MS,
        Timeframe.D1: NOON_MS - 12 * HOUR_MS,
    }


def test_paper_is_judged_by_the_scores_of_its_gate_the_worst_first(home: Path) -> None:
    write_quality(home, [score_of(BTC, 1.0), score_of(ETH, 0.35, freshness=0.35)])
    found = data_view(scope(home), paper=True)
    assert [row.symbol for row in found.items] == ["SOL/USDT", "ETH/USDT", "BTC/USDT"]
    sol, eth, btc = found.items
    assert (sol.age_ms, sol.score, sol.newest_ms["1h"], sol.newest_ms["1m"]) == (None, None, NOON_MS, None)
    assert (eth.age_ms, eth.score, eth.doubtful) == (23 * MINUTE_MS, 0.35, True)
    assert eth.why is not None
    assert eth.why.startswith("no minute known since 2025-03-01")
    assert eth.measured_at_ms == PRESENT_MS - MINUTE_MS
    assert (btc.age_ms, btc.score, btc.doubtful, btc.why) == (0, 1.0, False, None)
    assert found.score_min == configuration().market_data.quality.score_min


def test_a_score_that_is_too_old_for_the_gate_is_none(home: Path) -> None:
    write_quality(home, [score_of(BTC, 0.1)])
    later = replace(scope(home), now_ms=lambda: PRESENT_MS + DAY_MS)
    (btc,) = [row for row in data_view(later, paper=True).items if row.symbol == "BTC/USDT"]
    assert btc.score is None
    assert btc.doubtful is False
    assert btc.age_ms == DAY_MS
    assert btc.why is not None
    assert btc.why.startswith("no minute for 24 hours: see that `crypto-tracker collect` runs")


def test_any_other_book_is_measured_at_its_own_present(home: Path) -> None:
    past = replace(scope(home), now_ms=lambda: PRESENT_MS + 300 * DAY_MS)
    rows = {row.symbol: row for row in data_view(past, paper=False).items}
    assert rows["BTC/USDT"].score == 1.0
    assert rows["BTC/USDT"].age_ms == 0
    assert rows["ETH/USDT"].freshness == 0.0, "stale for 23 minutes at 12:40"
    assert rows["ETH/USDT"].completeness == pytest.approx(17 / 40)
    assert not any(row.doubtful for row in rows.values())


def test_a_coin_that_was_listed_later_says_since_when_it_is_known(home: Path) -> None:
    begun = replace(scope(home), start_ms=NOON_MS - 40 * MINUTE_MS)
    rows = {row.symbol: row for row in data_view(begun, paper=False).items}
    bitcoin = rows["BTC/USDT"]
    assert (bitcoin.since_ms, bitcoin.completeness) == (NOON_MS, 1.0)
    assert bitcoin.why == "known only since 2025-03-01 12:00 UTC, 50 % of the time that is shown"
    assert rows["SOL/USDT"].since_ms is None


def test_quarantine_and_disagreement_stand_beside_the_score(home: Path) -> None:
    with store(home) as opened:
        broken = run_of_minutes("12:41", 2)
        broken.high[:] = 1.0  # below what it opened at
        opened.write("kraken", BTC, Timeframe.M1, broken, [])
        opened.write(
            "binance", BTC, Timeframe.M1, run_of_minutes("12:00", 4), [(NOON_MS, NOON_MS + 4 * MINUTE_MS)]
        )
    write_disagreements(
        home,
        [
            Disagreement(
                symbol=BTC,
                first="binance",
                second="kraken",
                day_ms=Timeframe.D1.floor(NOON_MS),
                compared=200,
                beyond=3,
                median=0.0,
                p99=0.1,
                largest=0.2,
            )
        ],
        PRESENT_MS,
    )
    rows = {row.symbol: row for row in data_view(scope(home), paper=True).items}
    assert rows["BTC/USDT"].quarantined == 2
    assert rows["BTC/USDT"].disagreement == pytest.approx(0.015)
    assert rows["ETH/USDT"].quarantined == 0
    assert rows["ETH/USDT"].disagreement is None


def test_without_a_market_database_every_symbol_says_what_to_do(tmp_path: Path) -> None:
    found = data_view(scope(tmp_path), paper=True)
    assert [row.age_ms for row in found.items] == [None, None, None]
    assert all(row.why is not None and "crypto-tracker collect" in row.why for row in found.items)

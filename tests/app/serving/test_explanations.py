"""One moment explained: the same whatever was asked before, honest where bars are missing or changed since."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from crypto_tracker.app.explaining import PortfolioAnswer, Scan
from crypto_tracker.app.plugins import all_strategies
from crypto_tracker.app.serving.explanations import explain, warm_up
from crypto_tracker.app.serving.home_bars import HomeBars
from crypto_tracker.app.serving.run_scope import run_scope
from crypto_tracker.app.serving.scope import Scope
from crypto_tracker.core.decisions import Reason
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import DAY_MS, MINUTE_MS, Timeframe
from crypto_tracker.desk.source import NotThere
from crypto_tracker.desk.views.decisions import Explained
from crypto_tracker.store.run_views import RunViews
from crypto_tracker.strategies.decisions import ScanBlock
from tests.app.books import Document
from tests.app.conftest import FIRST_MS, LAST_MS, MARCH_MS
from tests.app.serving.recorded import Recorded
from tests.store.shelf import run_of_minutes, store

BTC = Symbol("BTC", "USD")
NOON = MARCH_MS + 5 * DAY_MS + 12 * 60 * MINUTE_MS


def nobody(scan: Scan) -> PortfolioAnswer | None:
    del scan
    return None


def scope_of(
    home: Path, account: str, *, until_ms: int = LAST_MS, now_ms: int = LAST_MS + 90 * DAY_MS
) -> Scope:
    with RunViews.open(home) as views:
        run = views.run(1)
    made = run_scope(HomeBars(home), 1, run, all_strategies(home), lambda: now_ms)
    return replace(made, account=account, until_ms=until_ms)


@pytest.fixture
def home(lively: tuple[Path, Document], tmp_path: Path) -> Path:
    """A home of one's own with the bars and the run."""
    to = tmp_path / "home"
    shutil.copytree(lively[0], to)
    return to


def test_earlier_questions_change_no_answer(home: Path):
    asked = scope_of(home, "asked before")
    moments = [LAST_MS, MARCH_MS, MARCH_MS + 5 * MINUTE_MS, NOON, MARCH_MS - 10 * DAY_MS, LAST_MS - DAY_MS]
    walked = [explain(asked, Recorded(), BTC, moment, (), nobody) for moment in moments]
    for moment, before in zip(moments, walked, strict=True):
        alone = scope_of(home, f"alone at {moment}", until_ms=moment, now_ms=moment)
        assert explain(alone, Recorded(), BTC, moment, (), nobody) == before


def test_what_comes_after_the_moment_plays_no_part(home: Path):
    now = explain(scope_of(home, "later"), Recorded(), BTC, NOON, (), nobody)
    then = explain(scope_of(home, "then", until_ms=NOON, now_ms=NOON), Recorded(), BTC, NOON, (), nobody)
    assert now.strategies == then.strategies
    assert [scan.time_ms for scan in now.strategies] == [NOON, NOON, NOON]


def test_as_an_account_goes_on_bars_are_read_on(home: Path):
    one, whole = scope_of(home, "goes on"), scope_of(home, "whole")
    for minute in range(0, 120, 7):
        moment = NOON + minute * MINUTE_MS
        live = replace(one, until_ms=moment, now_ms=lambda at=moment: at)
        assert (
            explain(live, Recorded(), BTC, moment, (), nobody).strategies
            == explain(whole, Recorded(), BTC, moment, (), nobody).strategies
        )


def test_the_portfolio_is_asked_about_setups_alone(home: Path):
    asked: list[Scan] = []

    def answer(scan: Scan) -> PortfolioAnswer | None:
        asked.append(scan)
        return PortfolioAnswer(
            run_id=None, account="paper", verdict="SKIP", reason="paused", sentence="it was paused", rank=2
        )

    scope = scope_of(home, "asked about setups")
    setups = 0
    for hour in range(48):
        told = explain(scope, Recorded(), BTC, MARCH_MS + 8 * DAY_MS + hour * 60 * MINUTE_MS, (), answer)
        for scan in told.strategies:
            setup = scan.verdict == "TAKE"
            setups += setup
            assert (scan.portfolio is not None) is setup
            assert scan.portfolio is None or scan.portfolio.source == "account paper"
    assert len(asked) == setups > 0
    assert {scan.bases for scan in asked if scan.strategy == "DCA"} <= {("1m",)}
    assert {scan.bases for scan in asked if scan.strategy != "DCA"} <= {("1m", "15m")}


@pytest.mark.parametrize("moment_ms", [0, -(10**30), MARCH_MS - 400 * DAY_MS])
def test_no_scan_is_made_up_from_before_all_bars(home: Path, moment_ms: int):
    with pytest.raises(NotThere, match=r"BTC/USD has no bars at .* within those that are stored, 2025-0"):
        explain(scope_of(home, "before all"), Recorded(), BTC, moment_ms, (), nobody)


def test_bars_that_are_not_stored_are_named_and_the_rest_is_explained(home: Path):
    told = explain(
        scope_of(home, "beyond", until_ms=LAST_MS + DAY_MS), Recorded(), BTC, LAST_MS + DAY_MS, (), nobody
    )
    assert [scan.reason for scan in told.strategies] == ["no_bar"] * 3
    assert told.note is not None
    assert "the 5m bar of BTC/USD that closed 2025-03-17 00:00 UTC is not stored" in told.note
    assert "the 15m bar" in told.note


def test_bars_that_came_since_are_seen_some_minutes_later(home: Path):
    close_ms, now_ms = LAST_MS + 15 * MINUTE_MS, LAST_MS + DAY_MS

    one = scope_of(home, "came since", until_ms=close_ms)

    def told(now_ms: int) -> Explained:
        asked = replace(one, now_ms=lambda: now_ms)
        return explain(asked, Recorded(), BTC, close_ms, ("DCA",), nobody)

    assert "is not stored" in (told(now_ms).note or "")
    minutes = run_of_minutes("12:00", 15)
    fresh = replace(minutes, open_time_ms=minutes.open_time_ms - minutes.open_time_ms[0] + LAST_MS)
    provider = one.providers[BTC]
    with store(home) as opened:
        opened.write(provider, BTC, Timeframe.M1, fresh, [(LAST_MS, close_ms)])
    assert "is not stored" in (told(now_ms).note or "")
    assert told(now_ms + 5 * MINUTE_MS).note is None


def test_before_the_first_bar_the_warm_up_is_what_is_missing(home: Path):
    told = explain(scope_of(home, "early"), Recorded(), BTC, FIRST_MS + 60 * MINUTE_MS, ("DCA",), nobody)
    assert told.strategies[0].reason == "not_ready"
    assert told.strategies[0].readiness is None
    assert [gate.gate for gate in told.strategies[0].gates] == ["no_bar", "not_ready"]


def test_a_scan_that_said_something_else_at_the_time_is_told_of(home: Path):
    truly = explain(scope_of(home, "truth"), Recorded(), BTC, NOON, ("DCA",), nobody)
    assert (truly.note, truly.strategies[0].reason) == (None, "drop_too_small")

    def recorded(reason: Reason) -> Recorded:
        number = np.array([1.0])
        return Recorded(
            ScanBlock(
                strategy="DCA",
                time_ms=NOON,
                version="another",
                symbols=(BTC,),
                reason=np.array([reason], dtype=np.int8),
                readiness=number,
                confidence=number,
                measurements={},
            )
        )

    same = explain(scope_of(home, "same"), recorded(Reason.DROP_TOO_SMALL), BTC, NOON, ("DCA",), nobody)
    assert same.note is None
    other = explain(scope_of(home, "other"), recorded(Reason.NO_BAR), BTC, NOON, ("DCA",), nobody)
    assert other.note == "DCA said no_bar at the time: bars were stored or corrected since"
    assert other.strategies == truly.strategies


def test_a_symbol_that_is_not_watched_is_refused(home: Path):
    with pytest.raises(NotThere, match="does not watch DOGE/USD"):
        explain(scope_of(home, "refused"), Recorded(), Symbol("DOGE", "USD"), NOON, (), nobody)


def test_warming_up_scans_with_every_built_in_strategy(home: Path):
    # A thread that fails is a warning, and warnings are errors here.
    thread = warm_up(scope_of(home, "warm").configuration)
    thread.join(timeout=600)
    assert not thread.is_alive()


def test_a_month_is_begun_anew_at_its_first_bar(home: Path):
    # The bar that closes at midnight of the first of March belongs to February, the next one to March.
    scope = scope_of(home, "months")
    for close_ms in (MARCH_MS, MARCH_MS + Timeframe.M15.ms):
        told = explain(scope, Recorded(), BTC, close_ms, ("SWING",), nobody)
        assert told.strategies[0].time_ms == close_ms
        assert told.strategies[0].reason != "not_ready"

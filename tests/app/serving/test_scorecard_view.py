"""The scorecard on the page is that of the command, made in the background."""

import json
from pathlib import Path
from threading import Event

import pytest

from crypto_tracker.app.accounts import read_account
from crypto_tracker.app.judging import Judged, of_account, of_run
from crypto_tracker.app.serving.scorecard_view import KeptScorecard
from crypto_tracker.core.errors import DataError, StoreError
from crypto_tracker.core.timeframes import MINUTE_MS
from crypto_tracker.desk.views.research import ScorecardView
from crypto_tracker.simulation.scorecard import Targets
from tests.app.books import Document
from tests.app.conftest import run_command
from tests.trading.worlds import START_MS, configuration, new_home, trade

PATIENCE = 20.0


def made(kept: KeptScorecard) -> ScorecardView:
    """The first one that was made."""
    pause = Event()
    for _ in range(2_000):
        found = kept.view()
        if found.made_at_ms is not None:
            return found
        assert found.sentence.startswith("The scorecard is being made")
        assert (found.rows, found.verdict) == ([], None)
        pause.wait(PATIENCE / 2_000)
    raise AssertionError("no scorecard was made")


def held_against(document: Document, found: ScorecardView) -> None:
    """Every row says what the command says."""
    assert found.sentence == document["sentence"]
    assert found.verdict == document["verdict"]
    assert (found.met, found.not_met, found.not_known) == (
        document["met"],
        document["not_met"],
        document["not_known"],
    )
    for row, expected in zip(found.rows, document["rows"], strict=True):
        assert row.key == expected["name"]
        for name in (
            "value",
            "low",
            "high",
            "n",
            "n_min",
            "unit",
            "target",
            "above",
            "state",
            "why",
            "sure",
            "thin",
        ):
            assert getattr(row, name) == expected[name], f"{row.key} {name}"


def test_the_scorecard_of_a_run_is_that_of_the_command(lively: tuple[Path, Document]) -> None:
    home, _ = lively
    tree = configuration(())
    kept = KeptScorecard("run:1", lambda: (of_run(home, 1, tree), tree.scorecard), lambda: 42)
    found = made(kept)
    assert found.made_at_ms == 42
    assert found.confidence == tree.scorecard.confidence
    code, out, err = run_command(home, "scorecard", "--run", "1", "--json")
    assert code == 0, err
    held_against(json.loads(out), found)
    kinds = {row.key: row.kind for row in found.rows}
    assert kinds["win_rate.DCA"] == "share"
    assert kinds["sharpe"] == "number"
    assert kinds["pnl_net"] == "money"
    names = {row.key: row.name for row in found.rows}
    assert names["win_rate.DCA"] == "Win rate, DCA"
    assert names["pnl_net"] == "P&L after costs"


def test_the_scorecard_of_an_account_is_that_of_the_command(tmp_path: Path) -> None:
    home = new_home(tmp_path / "home")
    trade(home, end_ms=START_MS + 90 * MINUTE_MS)
    tree = configuration()
    place = read_account(home, None)
    kept = KeptScorecard(
        place.name, lambda: (of_account(place, tree.scorecard.late_seconds), tree.scorecard), lambda: 42
    )
    found = made(kept)
    code, out, err = run_command(home, "scorecard", "--json")
    assert code == 0, err
    held_against(json.loads(out), found)


def test_where_nothing_can_be_judged_yet_the_reason_is_the_sentence() -> None:
    def judge() -> tuple[Judged, Targets]:
        raise DataError("the account paper has traded no minute yet: let it run first")

    found = made(KeptScorecard("paper", judge, lambda: 42))
    assert found.sentence == "the account paper has traded no minute yet: let it run first"
    assert found.rows == []


def test_records_that_cannot_be_read_are_an_error_not_a_sentence() -> None:
    def judge() -> tuple[Judged, Targets]:
        raise StoreError("the file is damaged")

    kept = KeptScorecard("paper", judge, lambda: 42)
    with pytest.raises(StoreError, match="damaged"):
        made(kept)

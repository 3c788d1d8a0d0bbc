"""The scorecard on the page is that of the command, made in the background."""

import json
import os
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path
from threading import Event

import pytest

from crypto_tracker.app.accounts import read_account
from crypto_tracker.app.judging import Judged, of_account, of_run
from crypto_tracker.app.serving.scorecard_view import Case, KeptScorecard
from crypto_tracker.core.errors import DataError, StoreError
from crypto_tracker.core.timeframes import MINUTE_MS
from crypto_tracker.desk.views.research import ScorecardView
from tests.app.books import Document
from tests.app.conftest import run_command
from tests.trading.worlds import START_MS, configuration, new_home, trade

PATIENCE = 240.0


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
    case = Case(gather=partial(of_run, home, 1, tree), targets=tree.scorecard)
    kept = KeptScorecard("run:1", lambda: case, lambda: 42)
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


@pytest.mark.parametrize("apart", [False, True])
def test_the_scorecard_of_an_account_is_that_of_the_command_whoever_makes_it(
    tmp_path: Path, *, apart: bool
) -> None:
    home = new_home(tmp_path / "home")
    trade(home, end_ms=START_MS + 90 * MINUTE_MS)
    tree = configuration()
    place = read_account(home, None)
    case = Case(
        gather=partial(of_account, place, tree.scorecard.late_seconds), targets=tree.scorecard, apart=apart
    )
    found = made(KeptScorecard(place.name, lambda: case, lambda: 42))
    code, out, err = run_command(home, "scorecard", "--json")
    assert code == 0, err
    held_against(json.loads(out), found)


def nothing_traded() -> Judged:
    raise DataError("the account paper has traded no minute yet: let it run first")


def damaged() -> Judged:
    raise StoreError("the file is damaged")


def killed() -> Judged:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("nothing comes after it")


def case_of(gather: Callable[[], Judged], *, apart: bool) -> Case:
    return Case(gather=gather, targets=configuration().scorecard, apart=apart)


@pytest.mark.parametrize("apart", [False, True])
def test_where_nothing_can_be_judged_yet_the_reason_is_the_sentence(*, apart: bool) -> None:
    found = made(KeptScorecard("paper", lambda: case_of(nothing_traded, apart=apart), lambda: 42))
    assert found.sentence == "the account paper has traded no minute yet: let it run first"
    assert found.rows == []


@pytest.mark.parametrize("apart", [False, True])
def test_records_that_cannot_be_read_are_an_error_not_a_sentence(*, apart: bool) -> None:
    with pytest.raises(StoreError, match="damaged"):
        made(KeptScorecard("paper", lambda: case_of(damaged, apart=apart), lambda: 42))


def test_a_process_that_ends_before_it_is_done_is_said_and_can_be_tried_on_its_own() -> None:
    with pytest.raises(StoreError, match="its process ended before it was done"):
        made(KeptScorecard("paper", lambda: case_of(killed, apart=True), lambda: 42))

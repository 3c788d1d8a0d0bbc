"""The light of an account: green, yellow, red or off, and the sentences that say why."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from crypto_tracker.app.serving.home_bars import HomeBars
from crypto_tracker.app.serving.moments import Moments
from crypto_tracker.app.serving.present import Present
from crypto_tracker.app.serving.status_view import Around, light_of
from crypto_tracker.app.standing import glance
from crypto_tracker.core.timeframes import MINUTE_MS
from crypto_tracker.store.control import Check, Command
from crypto_tracker.strategies.registry import builtin
from tests.app.serving.accounts import NOW_MS
from tests.trading import worlds


@pytest.fixture(scope="module")
def moments(traded_home: Path) -> Iterator[Moments]:
    found = Moments(HomeBars(traded_home), worlds.ACCOUNT, strategies=builtin, now_ms=lambda: NOW_MS)
    yield found
    found.close()


@pytest.fixture
def present(moments: Moments) -> Present:
    """The account of a replay that a process trades."""
    return moments.now().present


@pytest.fixture
def paper(present: Present) -> Present:
    """The same as if it were paper trading."""
    return replace(present, account=replace(present.account, kind="paper", end_ms=None))


def around(present: Present, minutes: int = 1, *, running: bool = True) -> Around:
    """So many minutes after the account's last close, with a bar that is a minute old."""
    now_ms = present.cursor_ms + minutes * MINUTE_MS
    return Around(
        now_ms=now_ms,
        running=running,
        synthetic=True,
        waiting=(),
        last_check=None,
        newest_bar_ms=now_ms - MINUTE_MS,
    )


def light(present: Present, beside: Around) -> tuple[str, str]:
    colour, why = light_of(present, beside, present.entries(beside.now_ms))
    return colour, " ".join(why)


def test_an_account_that_trades_is_green(present: Present, paper: Present) -> None:
    assert light(present, around(present)) == ("green", "")
    assert light(paper, around(paper)) == ("green", "")


def test_a_replay_that_was_stopped_says_how_far_it_came(present: Present) -> None:
    colour, why = light(present, around(present, running=False))
    assert colour == "off"
    assert why == "stopped at 2025-03-02 06:40 UTC, 27 % of the way: `crypto-tracker trade` goes on with it"


def test_an_account_that_nobody_trades_is_off(paper: Present) -> None:
    colour, why = light(paper, around(paper, running=False))
    assert colour == "off"
    assert why == "nobody trades it since 2025-05-01 00:00 UTC: `crypto-tracker trade` goes on with it"


def test_a_replay_that_has_ended_is_off_whatever_else_is_known(present: Present) -> None:
    ended = replace(present, account=replace(present.account, end_ms=present.cursor_ms))
    assert light(ended, around(ended)) == ("off", "it has come to its end at 2025-03-02 06:40 UTC")


def test_a_process_that_has_gone_without_a_word_is_red(present: Present) -> None:
    session = present.glance.session
    assert session is not None
    killed = replace(present, glance=replace(present.glance, session=replace(session, ended_at_ms=None)))
    colour, why = light(killed, around(killed, running=False))
    assert colour == "red"
    assert why.startswith(f"the process {session.pid} on {session.host} that traded it has gone")
    assert light(killed, around(killed)) == ("green", "")  # it is that process that trades


def test_paper_trading_without_a_minute_for_ten_is_red_and_a_replay_is_not(
    present: Present, paper: Present
) -> None:
    assert light(paper, around(paper, 9))[0] == "green"
    colour, why = light(paper, around(paper, 10))
    assert colour == "red"
    assert why.startswith("no minute was stepped since 2025-03-02 06:40 UTC: nothing is bought or sold")
    assert light(present, around(present, 100_000))[0] == "green"


def halted(moments: Moments, sentence: str) -> Present:
    """The account as it would stand after a critical error."""
    with moments.reading() as read:
        state = read.state
        state.halted = sentence
        state.portfolio.book["paused"] = True
        known = moments.now().present
        return replace(known, state=state, glance=glance(read, known.held, now_ms=None))


def test_a_critical_error_is_red(moments: Moments) -> None:
    stopped = halted(moments, "a scan of DCA failed")
    colour, why = light(stopped, around(stopped))
    assert colour == "red"
    assert why == "halted by a critical error, until a person resumes: a scan of DCA failed"


def test_whatever_stops_entries_is_yellow(present: Present) -> None:
    entries = replace(present.glance.entries, allowed=False, why_not=("paused by a person",))
    paused = replace(present, glance=replace(present.glance, entries=entries))
    assert light(paused, around(paused)) == ("yellow", "paused by a person")


def test_commands_that_wait_for_long_are_yellow(present: Present) -> None:
    given = Command.new("pause", {}, actor="x", created_at_ms=present.cursor_ms - 5 * MINUTE_MS)
    beside = replace(around(present), waiting=(given,))
    colour, why = light(present, beside)
    assert (colour, why) == (
        "yellow",
        "the command pause waits for an answer since 2025-03-02 06:35 UTC",
    )
    two = replace(beside, waiting=(given, given))
    assert "2 commands wait" in light(present, two)[1]
    fresh = replace(beside, waiting=(replace(given, created_at_ms=present.cursor_ms),))
    assert light(present, fresh)[0] == "green"
    for_later = replace(given, not_before_ms=present.cursor_ms + MINUTE_MS)
    assert light(present, replace(beside, waiting=(for_later,)))[0] == "green"


def test_differences_of_the_last_parity_are_yellow(present: Present) -> None:
    check = Check(
        kind="parity",
        start_ms=present.account.start_ms,
        end_ms=present.cursor_ms,
        differences=2,
        document="{}",
        created_at_ms=0,
    )
    colour, why = light(present, replace(around(present), last_check=check))
    assert colour == "yellow"
    assert "found 2 differences between 2025-03-01 21:40 UTC and 2025-03-02 06:40 UTC" in why
    assert light(present, replace(around(present), last_check=replace(check, differences=0)))[0] == "green"


def test_an_old_bar_of_paper_trading_is_yellow(paper: Present) -> None:
    beside = around(paper, 6)
    old = replace(beside, newest_bar_ms=beside.now_ms - 5 * MINUTE_MS)
    colour, why = light(paper, old)
    assert colour == "yellow"
    assert why.startswith("the newest bar of its symbols is of 2025-03-02 06:41 UTC")
    assert light(paper, replace(beside, newest_bar_ms=None)) == ("yellow", "no bar of its symbols is stored")


def test_the_time_of_the_clock_is_asked_for_silence_alone(paper: Present) -> None:
    assert paper.entries(paper.cursor_ms).allowed
    silent = paper.entries(paper.cursor_ms + 10 * MINUTE_MS)
    assert not silent.allowed
    assert silent.why_not[0].startswith("no minute was stepped since")

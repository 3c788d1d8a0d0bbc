"""What people see while bars are fetched: a bar on a terminal, lines elsewhere, and failures at once."""

import io

import pytest
from rich.console import Console

from crypto_tracker.app.cli.fetching_view import FetchView, missing_lines
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import DAY_MS, Timeframe
from crypto_tracker.market.fetching.planning import Chunk, Plan
from crypto_tracker.market.fetching.summary import Cause, MissingGroup
from crypto_tracker.net.retry import _tell

BTC, ETH = Symbol("BTC", "USD"), Symbol("ETH", "USD")


def day(symbol: Symbol, number: int) -> Chunk:
    """A day of minutes, counted from the beginning of 1970."""
    return Chunk(
        symbol=symbol, timeframe=Timeframe.M1, start_ms=number * DAY_MS, end_ms=(number + 1) * DAY_MS
    )


class Clock:
    """Moves on when it is told to."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


def view(*, terminal: bool = False, per_minute: float | None = None) -> tuple[FetchView, io.StringIO, Clock]:
    out, clock = io.StringIO(), Clock()
    console = Console(file=out, force_terminal=terminal, width=120, highlight=False)
    return FetchView(console, provider="massive", per_minute=per_minute, clock=clock), out, clock


def test_away_from_a_terminal_a_line_comes_every_five_seconds_with_speed_and_time_left():
    shown, out, clock = view()
    with shown:
        shown.planned(Plan(tuple(day(BTC, number) for number in range(10)), ()))
        for number in range(4):
            clock.seconds += 2.0
            shown.chunk_done(day(BTC, number), 1_440, 1)
    assert out.getvalue().splitlines() == [
        "From massive: 10 chunks with up to 14,400 bars of 1 symbol.",
        "3 of 10 chunks, 3 requests, 4,320 bars, 720 bars/s, about 14 s left: BTC/USD 1m 1970-01-03",
    ]


def test_failures_are_told_at_once_and_not_without_end():
    shown, out, _ = view()
    with shown:
        shown.planned(Plan(tuple(day(BTC, number) for number in range(8)), ()))
        for number in range(8):
            shown.chunk_failed(day(BTC, number), "no answer [502]")
    lines = out.getvalue().splitlines()
    assert lines[1] == "BTC/USD 1m 1970-01-01 00:00 to 1970-01-02 00:00: no answer [502]"
    assert len(lines) == 1 + 5 + 1
    assert lines[-1] == "Further failures are in the summary."


def test_waits_and_symbols_that_are_gone_are_told():
    shown, out, _ = view(per_minute=5.0)
    with shown:
        shown.planned(Plan((day(BTC, 0), day(ETH, 0)), ()))
        shown.waiting(60.0, "massive is left alone for another 60 s")
        shown.inactive(ETH, "massive does not know it", 1)
        shown.chunk_lacking(day(BTC, 0), "the plan ends there")
    assert out.getvalue().splitlines() == [
        "From massive: 2 chunks with up to 2,880 bars of 2 symbols.",
        "The plan allows 5 requests a minute: this takes 24 s or more.",
        "Waiting 1 min 0 s: massive is left alone for another 60 s",
        "ETH/USD is inactive now: massive does not know it",
    ]


def test_an_attempt_is_told_once_however_many_requests_make_it_and_again_when_it_lasts():
    shown, out, clock = view()
    with shown:
        for _ in range(3):
            told = _tell.get()
            assert told is not None
            told(2, 5, 4.0, "kraken cannot be reached at 127.0.0.1:1: connection refused")
        told(3, 5, 0.1, "kraken cannot be reached at 127.0.0.1:1: connection refused")
        clock.seconds += 60.0
        told(2, 5, 75.0, "kraken cannot be reached at 127.0.0.1:1: connection refused")
    assert _tell.get() is None
    assert out.getvalue().splitlines() == [
        f"kraken cannot be reached at 127.0.0.1:1: connection refused; attempt {rest}"
        for rest in ("2 of 5 in 4 s", "3 of 5 at once", "2 of 5 in 1 min 15 s")
    ]


def test_an_interruption_tells_how_far_it_is():
    shown, out, _ = view()

    def interrupted() -> None:
        with shown:
            shown.planned(Plan((day(BTC, 0), day(BTC, 1)), ()))
            shown.chunk_done(day(BTC, 1), 1_440, 1)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert out.getvalue().splitlines()[-1] == (
        "1 of 2 chunks are in the store. Run the same command again to go on."
    )


def test_on_a_terminal_a_bar_shows_chunks_speed_and_symbol():
    shown, out, clock = view(terminal=True)
    with shown:
        shown.planned(Plan((day(BTC, 0), day(ETH, 0)), ()))
        clock.seconds += 2.0
        shown.chunk_done(day(ETH, 0), 1_440, 1)
        shown._progress.refresh()
    text = out.getvalue()
    assert "1/2" in text
    assert "720 bars/s" in text
    assert "ETH/USD 1m 1970-01-01" in text


def group(reason: str, symbols: tuple[Symbol, ...], cause: Cause = Cause.LACKING) -> MissingGroup:
    return MissingGroup(
        timeframe=Timeframe.H1,
        cause=cause,
        reason=reason,
        symbols=symbols,
        start_ms=0,
        end_ms=DAY_MS,
        bars=24,
    )


def test_what_is_missing_is_told_by_reason_and_many_symbols_are_counted():
    many = tuple(Symbol(f"C{number}", "USD") for number in range(99))
    assert missing_lines([group("no answer", (BTC,), Cause.FAILED), group("only 720 bars", many)]) == [
        "Failed: no answer",
        "  1h   1970-01-01 00:00 to 1970-01-02 00:00           24 bars  BTC/USD",
        "Not to be had: only 720 bars",
        "  1h   1970-01-01 00:00 to 1970-01-02 00:00           24 bars  99 symbols",
    ]


def test_a_long_list_of_reasons_ends_with_their_number():
    lines = missing_lines([group(f"reason {number}", (BTC,)) for number in range(15)])
    assert len(lines) == 2 * 12 + 1
    assert lines[-1] == "3 further reasons: --json has them all"

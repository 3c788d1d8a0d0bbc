"""How commands show that bars are being fetched, and what came of it."""

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from crypto_tracker.app.cli.common import Session
from crypto_tracker.core.errors import DataError
from crypto_tracker.core.timeframes import from_ms
from crypto_tracker.market.fetching.summary import Cause, MissingGroup, SeriesSummary, Summary
from crypto_tracker.net.retry import attempts_told

if TYPE_CHECKING:
    from rich.table import Table

    from crypto_tracker.core.symbols import Symbol
    from crypto_tracker.market.fetching.planning import Chunk, Plan
    from crypto_tracker.market.fetching.symbols import KnownSymbols

_PLAIN_SECONDS = 5.0  # between lines where there is no terminal
_SHOWN_FAILURES = 5
_SHOWN_SYMBOLS = 4
_SHOWN_REASONS = 12
_SERIES_ONE_BY_ONE = 12
_RARE = ("revisions", "quarantined", "suspect")  # shown only where there are some


class FetchView:
    """Shows a fetching job on standard error: a bar on a terminal, a line now and then elsewhere.

    `per_minute` are the requests that a plan allows, where these are so few that one should know. While it is
    open, it also hears of requests that are tried again.
    """

    def __init__(
        self,
        console: Console,
        *,
        provider: str,
        per_minute: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._console = console
        self._provider = provider
        self._per_minute = per_minute
        self._clock = clock
        self._began = self._told = clock()
        self._chunks = self._done = self._bars = self._requests = self._failures = 0
        self._progress: Progress | None = None
        self._task = TaskID(0)
        self._open = ExitStack()

    def __enter__(self) -> Self:
        self._open.enter_context(attempts_told(AttemptLines(self._say, self._clock)))
        if self._console.is_terminal:
            columns = (
                TextColumn(f"Fetching from {self._provider}", markup=False),
                BarColumn(bar_width=20),
                MofNCompleteColumn(),
                TextColumn("{task.fields[speed]}"),
                TimeRemainingColumn(),
                TextColumn("{task.fields[what]}", markup=False),
            )
            self._progress = Progress(*columns, console=self._console, transient=True)
            self._task = self._progress.add_task("fetch", total=None, speed="", what="")
            self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()
        if self._progress is not None:
            self._progress.stop()
        if kind is not None and issubclass(kind, KeyboardInterrupt):
            self._say(
                f"{self._done:,} of {self._chunks:,} chunks are in the store. "
                "Run the same command again to go on."
            )

    def planned(self, plan: "Plan") -> None:
        """What will be fetched."""
        self._chunks += len(plan.chunks)
        self._began = self._clock()
        if plan.chunks:
            symbols = {chunk.symbol for chunk in plan.chunks}
            self._say(
                f"From {self._provider}: {counted(len(plan.chunks), 'chunk')} with up to "
                f"{counted(plan.bars, 'bar')} of {counted(len(symbols), 'symbol')}."
            )
        if self._per_minute is not None and plan.chunks:
            self._say(
                f"The plan allows {self._per_minute:g} requests a minute: "
                f"this takes {duration(60.0 * len(plan.chunks) / self._per_minute)} or more."
            )
        if self._progress is not None:
            self._progress.update(self._task, total=self._chunks)

    def chunk_done(self, chunk: "Chunk", bars: int, requests: int) -> None:
        """A chunk is in the store."""
        self._done += 1
        self._bars += bars
        self._requests += requests
        what = f"{chunk.symbol} {chunk.timeframe} {from_ms(chunk.start_ms):%Y-%m-%d}"
        if self._progress is not None:
            self._progress.update(self._task, completed=self._done, speed=self._speed(), what=what)
        elif self._clock() - self._told >= _PLAIN_SECONDS:
            self._told = self._clock()
            left = (self._told - self._began) / self._done * (self._chunks - self._done)
            self._say(
                f"{self._done:,} of {self._chunks:,} chunks, {counted(self._requests, 'request')}, "
                f"{self._bars:,} bars, {self._speed()}, "
                f"about {duration(left)} left: {what}"
            )

    def chunk_failed(self, chunk: "Chunk", reason: str) -> None:
        """A chunk stays missing."""
        self._count_out()
        self._failures += 1
        if self._failures <= _SHOWN_FAILURES:
            self._say(
                f"{chunk.symbol} {chunk.timeframe} {_span(chunk.start_ms, chunk.end_ms)}: {reason}", "red"
            )
        elif self._failures == _SHOWN_FAILURES + 1:
            self._say("Further failures are in the summary.", "red")

    def chunk_lacking(self, chunk: "Chunk", reason: str) -> None:  # noqa: ARG002 - as the protocol names it
        """The provider lacks a chunk for good: the summary says so."""
        self._count_out()

    def inactive(self, symbol: "Symbol", reason: str, dropped: int) -> None:
        """A symbol has become inactive."""
        self._count_out(dropped)
        self._say(f"{symbol} is inactive now: {reason}", "yellow")

    def left_out(self, chunk: "Chunk") -> None:  # noqa: ARG002 - as the protocol names it
        """A chunk of day files is fetched by request instead, where it is counted anew."""
        self._count_out()

    def waiting(self, seconds: float, reason: str) -> None:
        """Nothing is asked for a while."""
        self._say(f"Waiting {duration(seconds)}: {reason}", "yellow")

    def _count_out(self, chunks: int = 1) -> None:
        self._chunks -= chunks
        if self._progress is not None:
            self._progress.update(self._task, total=self._chunks)

    def _speed(self) -> str:
        return f"{self._bars / max(self._clock() - self._began, 1e-9):,.0f} bars/s"

    def _say(self, text: str, style: str = "") -> None:
        console = self._console if self._progress is None else self._progress.console
        console.print(text, style=style, markup=False, soft_wrap=True)


class AttemptLines:
    """Says that a request is tried again, in a line; the same of many requests at a time only once."""

    def __init__(self, say: Callable[[str, str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._say = say
        self._clock = clock
        self._told: dict[tuple[int, str], float] = {}

    def __call__(self, attempt: int, attempts: int, wait_seconds: float, clause: str) -> None:
        """A request has failed, and is tried again after some seconds."""
        now = self._clock()
        if now - self._told.get((attempt, clause), -_PLAIN_SECONDS) < _PLAIN_SECONDS:
            return
        self._told[attempt, clause] = now
        when = f"in {duration(wait_seconds)}" if wait_seconds >= 0.5 else "at once"
        self._say(f"{clause}; attempt {attempt} of {attempts} {when}", "yellow")


def attempt_lines(console: Console) -> AttemptLines:
    """Says on a console that requests are tried again."""
    return AttemptLines(lambda text, style: console.print(text, style=style, markup=False, soft_wrap=True))


def counted(number: int, what: str) -> str:
    """A number of things.

    >>> counted(1, "chunk"), counted(1_200, "bar")
    ('1 chunk', '1,200 bars')
    """
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def duration(seconds: float) -> str:
    """A length of time as people read it.

    >>> duration(42), duration(130), duration(7_500)
    ('42 s', '2 min 10 s', '2 h 5 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3_600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3_600} h {whole % 3_600 // 60} min"


def series_table(summary: Summary) -> "Table | None":
    """What came, by series or, where there are many, by timeframe; None where nothing came."""
    from crypto_tracker.app.cli.tables import plain_table

    came = [series for series in summary.series if series.chunks]
    if not came:
        return None
    one_by_one = len(came) <= _SERIES_ONE_BY_ONE
    groups: dict[tuple[str, str], list[SeriesSummary]] = {}
    for series in came:
        what = str(series.symbol) if one_by_one else ""
        groups.setdefault((what, str(series.timeframe)), []).append(series)
    names = ["chunks", "requests", "bars", "new"]
    names += [name for name in _RARE if any(getattr(series, name) for series in came)]
    table = plain_table(2)
    table.add_column("symbol" if one_by_one else "what", overflow="fold")
    table.add_column("tf", no_wrap=True)
    for name in names:
        table.add_column(name, justify="right", no_wrap=True)
    for (what, timeframe), members in groups.items():
        sums = (f"{sum(getattr(series, name) for series in members):,}" for name in names)
        table.add_row(what or counted(len(members), "symbol"), timeframe, *sums)
    return table


def missing_lines(groups: Sequence[MissingGroup]) -> list[str]:
    """What is missing and why, in words: one line for each reason, and below it one for each timeframe."""
    lines: list[str] = []
    last: tuple[Cause, str] | None = None
    reasons = len({(group.cause, group.reason) for group in groups})
    shown_reasons = 0
    for group in groups:
        if (group.cause, group.reason) != last:
            shown_reasons += 1
            if shown_reasons > _SHOWN_REASONS:
                lines.append(f"{counted(reasons - _SHOWN_REASONS, 'further reason')}: --json has them all")
                break
            lines.append(f"{_CAUSES[group.cause]}: {group.reason}")
            last = group.cause, group.reason
        shown = ", ".join(str(symbol) for symbol in group.symbols[:_SHOWN_SYMBOLS])
        if len(group.symbols) > _SHOWN_SYMBOLS:
            shown = counted(len(group.symbols), "symbol")
        lines.append(
            f"  {group.timeframe!s:<3}  {_span(group.start_ms, group.end_ms)}  "
            f"{group.bars:>11,} {'bar ' if group.bars == 1 else 'bars'}  {shown}"
        )
    return lines


_CAUSES = {
    Cause.FAILED: "Failed",
    Cause.LATER: "Not to be had now",
    Cause.LACKING: "Not to be had",
    Cause.INACTIVE: "Inactive",
}


def print_missing(session: Session, summary: Summary) -> None:
    """Say what is missing and why; nothing where nothing is."""
    for line in missing_lines(summary.groups()):
        session.out.print(line, markup=False, soft_wrap=True)


def print_inactive(session: Session, known: "KnownSymbols", *, named: bool) -> None:
    """Say which symbols are inactive; where they were `named`, an error says which are unknown."""
    gone = {
        symbol: reason
        for symbol, reason in known.inactive.items()
        if not named or symbol not in set(known.unknown)
    }
    if gone:
        session.err.print(inactive_line(gone), style="yellow", markup=False, soft_wrap=True)


def inactive_line(inactive: "dict[Symbol, str]") -> str:
    """The symbols that were not asked for, by reason, in one line."""
    reasons: dict[str, list[str]] = {}
    for symbol, reason in inactive.items():
        reasons.setdefault(reason, []).append(str(symbol))
    return "; ".join(
        f"{counted(len(names), 'symbol')} inactive, {reason}: {', '.join(names)}"
        for reason, names in reasons.items()
    )


def total_line(summary: Summary) -> str:
    """The whole job in one sentence."""
    if not summary.chunks and not summary.missing:
        return f"Nothing of {summary.provider} was missing."
    if not summary.chunks:
        return f"Nothing came from {summary.provider} in {summary.seconds:.1f} s."
    speed = summary.bars / max(summary.seconds, 1e-9)
    return (
        f"{counted(summary.bars, 'bar')} from {summary.provider}, {summary.new:,} of them new, by "
        f"{counted(summary.requests, 'request')} in {summary.seconds:.1f} s ({speed:,.0f} bars/s)."
    )


def print_total(session: Session, summary: Summary) -> None:
    """Say the whole job in one sentence."""
    session.err.print(total_line(summary), markup=False, soft_wrap=True)


def end_of_fetching(summaries: Sequence[Summary], failed: Sequence[str], unknown: str | None) -> None:
    """Raise DataError with all that was wrong with some jobs; return where nothing was.

    `failed` are providers that gave nothing as a whole, which was told before.
    """
    wrong = [unknown] if unknown is not None else []
    spans = sum(len(summary.failed) for summary in summaries)
    if spans:
        wrong.append(f"{counted(spans, 'span')} could not be fetched: run the same command again to go on")
    if failed:
        wrong.append(f"nothing came from {' and '.join(failed)}, as was said above")
    if wrong:
        raise DataError("; ".join(wrong))


def summary_document(summary: Summary) -> dict[str, Any]:
    """A summary as JSON."""
    return {
        "provider": summary.provider,
        "seconds": round(summary.seconds, 3),
        "chunks": summary.chunks,
        "requests": summary.requests,
        "bars": summary.bars,
        "new": summary.new,
        "revisions": summary.revisions,
        "quarantined": summary.quarantined,
        "series": [
            {
                "symbol": str(series.symbol),
                "timeframe": str(series.timeframe),
                "chunks": series.chunks,
                "requests": series.requests,
                "bars": series.bars,
                "new": series.new,
                "revisions": series.revisions,
                "quarantined": series.quarantined,
                "suspect": series.suspect,
            }
            for series in summary.series
        ],
        "missing": [
            {
                "symbol": str(each.symbol),
                "timeframe": str(each.timeframe),
                "start": from_ms(each.start_ms),
                "end": from_ms(each.end_ms),
                "cause": each.cause.value,
                "reason": each.reason,
            }
            for each in summary.missing
        ],
    }


def _span(start_ms: int, end_ms: int) -> str:
    return f"{from_ms(start_ms):%Y-%m-%d %H:%M} to {from_ms(end_ms):%Y-%m-%d %H:%M}"

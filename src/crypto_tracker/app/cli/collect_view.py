"""What `collect` tells while it runs, and how `collectors` shows what was said."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.status import Status

from crypto_tracker.app.cli.common import Session
from crypto_tracker.app.cli.tables import plain_table, print_table, roomiest
from crypto_tracker.core.timeframes import MINUTE_MS, from_ms, to_ms
from crypto_tracker.store.collectors import CollectorState, Standing

_STYLES = {
    Standing.TROUBLE: "bold red",
    Standing.WAITING: "yellow",
    Standing.LIVE: "green",
    Standing.SCHEDULED: "green",
}


class Narrator:
    """Tells on standard error what happens, a line for each event; on a terminal with a line that lives."""

    def __init__(self, console: Console, now: Callable[[], datetime]) -> None:
        self._console = console
        self._now = now
        self._status: Status | None = None
        self._figures: dict[str, dict[str, Any]] = {}

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._status = self._console.status("starting")
            self._status.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._status is not None:
            self._status.stop()

    def changed(self, provider: str, state: Standing, detail: str) -> None:
        """A collector came into another state, or says something else of it."""
        if state is Standing.STOPPED:
            detail = ""  # the last word of the command says why, or was said when it was left out
        self._say(provider, state.words + (f": {detail}" if detail else ""), _STYLES.get(state, ""))

    def noted(self, provider: str, sentence: str) -> None:
        """Something happened that a person may want to know."""
        self._say(provider, sentence, "yellow")

    def progressed(self, provider: str, figures: dict[str, Any]) -> None:
        """The figures, every few seconds."""
        self._figures[provider] = figures
        if self._status is not None:
            lines = (status_line(name, each, to_ms(self._now())) for name, each in self._figures.items())
            self._status.update("; ".join(lines))

    def _say(self, provider: str, sentence: str, style: str) -> None:
        moment = f"{self._now():%H:%M:%S}"
        self._console.print(
            f"{moment} {provider}: {sentence}", style=style, markup=False, highlight=False, soft_wrap=True
        )


def status_line(provider: str, figures: dict[str, Any], now_ms: int) -> str:
    """What a person wants to see at a glance.

    >>> status_line("kraken", {"symbols": 3, "symbols_live": 2, "newest_minute_ms": 0, "reconnects": 1,
    ...     "backlog_chunks": 7}, 90_000)
    'kraken: 2/3 live, minute 00:00 (30 s old), 1 reconnects, 7 chunks to fetch'
    """
    newest = figures["newest_minute_ms"]
    minute = (
        "no minute yet"
        if newest is None
        else f"minute {from_ms(newest):%H:%M} ({(now_ms - newest - MINUTE_MS) // 1_000} s old)"
    )
    backlog = figures["backlog_chunks"]
    return (
        f"{provider}: {figures['symbols_live']}/{figures['symbols']} live, {minute}, "
        f"{figures['reconnects']} reconnects" + (f", {backlog} chunks to fetch" if backlog else "")
    )


def print_collectors(session: Session, states: Sequence[CollectorState], now_ms: int, lease_ms: int) -> None:
    """A row for each collector, and below what is wrong."""
    print_table(
        session.out,
        roomiest(session, (_table(states, now_ms, lease_ms, gap) for gap in (2, 1))),
    )
    for state in states:
        if state.detail:
            session.out.print(
                f"{state.provider}: {state.detail}", markup=False, highlight=False, soft_wrap=True
            )


def _table(states: Sequence[CollectorState], now_ms: int, lease_ms: int, gap: int) -> Any:
    table = plain_table(gap)
    table.add_column("Collector")
    table.add_column("State")
    for name in ("Since", "Live", "Newest minute", "Age", "Stored after", "Reconnects", "To fetch"):
        table.add_column(name, justify="right")
    for state in states:
        figures = state.figures
        newest = state.newest_minute_ms
        after = figures.get("stored_after_seconds_p50")
        table.add_row(
            state.provider,
            _state_words(state, now_ms, lease_ms),
            f"{from_ms(state.since_ms):%m-%d %H:%M}",
            f"{_count(figures, 'symbols_live')}/{_count(figures, 'symbols')}",
            "-" if newest is None else f"{from_ms(newest):%m-%d %H:%M}",
            "-" if newest is None else _age(now_ms - newest - MINUTE_MS),
            "-" if after is None else f"{after:.1f} s",
            _count(figures, "reconnects"),
            _count(figures, "backlog_chunks"),
        )
    return table


def _count(figures: Mapping[str, Any], name: str) -> str:
    """A count as the collector told it; a dash where it told none."""
    return "-" if name not in figures else f"{figures[name]:,}"


def collectors_document(states: Sequence[CollectorState], now_ms: int, lease_ms: int) -> Any:
    """The same for programs."""
    return [
        {
            "provider": state.provider,
            "state": state.state.value,
            "gone": state.is_gone(now_ms, lease_ms),
            "detail": state.detail,
            "since": from_ms(state.since_ms),
            "updated": from_ms(state.updated_at_ms),
            "newest_minute": None if state.newest_minute_ms is None else from_ms(state.newest_minute_ms),
            "newest_minute_age_seconds": None
            if (newest := state.newest_minute_ms) is None
            else (now_ms - newest - MINUTE_MS) / 1_000,
            "figures": state.figures,
        }
        for state in states
    ]


def _state_words(state: CollectorState, now_ms: int, lease_ms: int) -> str:
    return f"gone (was {state.state.words})" if state.is_gone(now_ms, lease_ms) else state.state.words


def _age(duration_ms: int) -> str:
    """A duration in its largest unit.

    >>> _age(45_000), _age(90 * 60_000), _age(72 * 3_600_000)
    ('45 s', '90 min', '72 h')
    """
    seconds = max(duration_ms // 1_000, 0)
    if seconds < 120:
        return f"{seconds} s"
    if seconds < 2 * 3_600:
        return f"{seconds // 60} min"
    return f"{seconds // 3_600} h"

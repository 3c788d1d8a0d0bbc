"""How the trader of one account is: whether it runs, whether it may open anything, and what helps if not."""

from collections.abc import Mapping
from pathlib import Path

from crypto_tracker.app.accounts import account_place
from crypto_tracker.app.standing import Reading, entries, reading, silence
from crypto_tracker.core.timeframes import DAY_MS, HOUR_MS, MINUTE_MS
from crypto_tracker.desk.views.system import Part
from crypto_tracker.store.trading_records import Session
from crypto_tracker.store.trading_views import checks
from crypto_tracker.strategies.base import Strategy

LATE_MS = 3 * MINUTE_MS
"""Paper trading that is so far behind the clock is said to be late."""


def trader_parts(home: Path, name: str, strategies: Mapping[str, Strategy], now_ms: int) -> list[Part]:
    """The trader of an account, and its newest parity check where one was made or should be.

    Raises StoreError where its records cannot be read, and ConfigError where it cannot be understood.
    """
    place = account_place(home, name)
    with reading(place, strategies) as read:
        parts = [_trader(read, now_ms)]
    parity = _parity(name, place.folder, running=place.running)
    return parts if parity is None else [*parts, parity]


def _trader(read: Reading, now_ms: int) -> Part:
    sessions = read.views.sessions(limit=1)
    session = sessions[0] if sessions else None
    if read.place.running:
        return _running(read, session, now_ms)
    return _still(read, session, now_ms)


def _running(read: Reading, session: Session | None, now_ms: int) -> Part:
    name, account = read.place.name, read.account
    found = entries(read, now_ms=now_ms)
    silent = silence(account, read.cursor_ms, now_ms)
    since_ms = None if session is None else session.started_at_ms
    if found.halted is not None:
        return _part(
            name,
            "failing",
            f"A critical error halted it: {found.halted}. It opens nothing; exits go on.",
            f"Mend the cause, then resume: `crypto-tracker resume --account {name}`",
            since_ms,
        )
    if silent is not None:
        return _part(
            name,
            "failing",
            f"It runs and gets no bars: {silent}.",
            "See that `crypto-tracker collect` runs and that its provider answers",
            read.cursor_ms,
        )
    lag_ms = now_ms - read.cursor_ms
    late = account.end_ms is None and lag_ms >= LATE_MS
    if found.why_not:
        waits = found.paused or found.drawdown_latched or found.day_latched
        return _part(
            name,
            "degraded",
            f"It opens nothing: {'; '.join(found.why_not)}. Exits go on.",
            f"To let entries go on: `crypto-tracker resume --account {name}`" if waits else None,
            found.paused_since_ms or since_ms,
        )
    symbols = len(account.symbols)
    what = f"It trades {symbols} symbol{'' if symbols == 1 else 's'} with {_listed(account.strategies)}"
    if late:
        return _part(
            name,
            "degraded",
            f"{what}, {duration(lag_ms)} behind the clock.",
            "It catches up by itself; if it does not, bars come late or the machine is too slow",
            since_ms,
        )
    if account.end_ms is None:
        return _part(name, "ok", f"{what}.", None, since_ms)
    span_ms = account.end_ms - account.start_ms
    done = (read.cursor_ms - account.start_ms) / span_ms
    return _part(name, "ok", f"{what}: a replay, {100 * done:.0f} % done.", None, since_ms)


def _still(read: Reading, session: Session | None, now_ms: int) -> Part:
    name, account = read.place.name, read.account
    start = f"`crypto-tracker trade --account {name}`"
    again = "Start it again as before; it goes on where it stood"
    if account.end_ms is None:
        again += f": {start}"
    if account.end_ms is not None and read.cursor_ms >= account.end_ms:
        return _part(name, "off", "Its replay is finished.", None, _ended(session))
    if session is None:
        return _part(name, "off", "It was opened and never started.", again, None)
    held = len(read.views.positions())
    left = f" {held} open position{'' if held == 1 else 's'} {'is' if held == 1 else 'are'} not watched."
    if session.ended_at_ms is None:
        minute = read.views.latest_minute()
        seen_ms = session.started_at_ms if minute is None else minute.recorded_at_ms
        return _part(
            name,
            "failing" if account.end_ms is None else "degraded",
            f"Its process {session.pid} on {session.host} ended without a word; its last minute was written "
            f"{duration(max(now_ms - seen_ms, 0))} ago.{left if held else ''}",
            again,
            seen_ms,
        )
    if held and account.end_ms is None:
        advice = f"Start it again, so that their stops are kept: {start}"
        return _part(name, "degraded", f"It was stopped.{left}", advice, session.ended_at_ms)
    return _part(name, "off", "It was stopped.", again, session.ended_at_ms)


def _parity(name: str, folder: Path, *, running: bool) -> Part | None:
    """What the newest check found; None where none was made of an account that stands still."""
    found = checks(folder, limit=1)
    title = f"parity {name}"
    if not found:
        if not running:
            return None
        return Part(
            name=title,
            state="off",
            sentence="No check was made yet; one is made once a day.",
            advice=None,
            since_ms=None,
        )
    check = found[0]
    days = max(round((check.end_ms - check.start_ms) / DAY_MS), 1)
    over = f"over {days} day{'' if days == 1 else 's'}"
    if check.differences == 0:
        sentence = f"The newest check {over} found no difference: its records come out of its bars again."
        return Part(name=title, state="ok", sentence=sentence, advice=None, since_ms=check.created_at_ms)
    return Part(
        name=title,
        state="failing",
        sentence=f"The newest check {over} found {check.differences:,} differences between its records and "
        "the same bars run again.",
        advice=f"List them with their causes: `crypto-tracker parity --account {name}`",
        since_ms=check.created_at_ms,
    )


def duration(duration_ms: int) -> str:
    """How long, in its largest unit, for sentences.

    >>> duration(45_000), duration(90 * 60_000), duration(72 * 3_600_000)
    ('45 seconds', '90 minutes', '3 days')
    """
    for unit_ms, name in ((DAY_MS, "day"), (HOUR_MS, "hour"), (MINUTE_MS, "minute")):
        if duration_ms >= 2 * unit_ms:
            return f"{duration_ms // unit_ms} {name}s"
    seconds = duration_ms // 1_000
    return f"{seconds} second{'' if seconds == 1 else 's'}"


def _part(name: str, state: str, sentence: str, advice: str | None, since_ms: int | None) -> Part:
    return Part.model_validate(
        {
            "name": f"trader {name}",
            "state": state,
            "sentence": sentence,
            "advice": advice,
            "since_ms": since_ms,
        }
    )


def _ended(session: Session | None) -> int | None:
    return None if session is None else session.ended_at_ms


def _listed(names: tuple[str, ...]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"

"""Who keeps bars up to date, and what each of them says of itself."""

from pathlib import Path

from crypto_tracker.core.timeframes import MINUTE_MS
from crypto_tracker.desk.views.system import Collector, Collectors
from crypto_tracker.store.collectors import CollectorState, Standing, collectors, lease_name
from crypto_tracker.store.database import open_engine
from crypto_tracker.store.leases import Holder, holder_of
from crypto_tracker.store.reader import DATABASE_NAME

_SECOND_MS = 1_000
_WORDS = {
    Standing.STARTING: "starts",
    Standing.WAITING: "waits, as another process collects these bars",
    Standing.CATCHING_UP: "catches up on bars that came while it was away",
    Standing.LIVE: "the stream brings bars",
    Standing.SCHEDULED: "fetches bars now and then",
    Standing.TROUBLE: "is in trouble",
    Standing.STOPPED: "was stopped",
}


def collectors_view(home: Path, lease_seconds: float, now_ms: int) -> Collectors:
    """Every collector that has told of itself, by provider; none where there is no market database."""
    if not (home / DATABASE_NAME).is_file():
        return Collectors(items=[])
    states = collectors(home)
    holders = _holders(home, states)
    lease_ms = round(lease_seconds * _SECOND_MS)
    return Collectors(
        items=[_collector(state, holders[state.provider], lease_ms, now_ms) for state in states]
    )


def _collector(state: CollectorState, holder: Holder | None, lease_ms: int, now_ms: int) -> Collector:
    figures, newest_ms = state.figures, state.newest_minute_ms
    gone = state.is_gone(now_ms, lease_ms)
    stopped = gone or state.state is Standing.STOPPED
    words = _WORDS[state.state]
    return Collector(
        provider=state.provider,
        state=state.state.value,
        words=f"ended without a word; before, it {_before(state.state)}" if gone else words,
        gone=gone,
        holder=None if holder is None else f"process {holder.pid} on {holder.host}",
        lease_until_ms=None if holder is None or stopped else holder.expires_at_ms,
        since_ms=state.since_ms,
        updated_at_ms=state.updated_at_ms,
        newest_minute_ms=None if newest_ms is None else newest_ms + MINUTE_MS,
        symbols=figures.get("symbols"),
        symbols_live=figures.get("symbols_live"),
        reconnects=figures.get("reconnects"),
        backlog_chunks=figures.get("backlog_chunks"),
        stored_after_seconds=figures.get("stored_after_seconds_p50"),
        bars=figures.get("bars"),
        note=state.detail or None,
    )


def _before(standing: Standing) -> str:
    return "was live" if standing is Standing.LIVE else f"was {standing.words}"


def _holders(home: Path, states: list[CollectorState]) -> dict[str, Holder | None]:
    engine = open_engine(home / DATABASE_NAME, read_only=True)
    try:
        return {state.provider: holder_of(engine, lease_name(state.provider)) for state in states}
    finally:
        engine.dispose()

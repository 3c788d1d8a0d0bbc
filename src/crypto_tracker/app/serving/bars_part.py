"""Whether bars are kept up to date: every collector, and the age of the newest bar of each timeframe."""

from collections.abc import Iterable, Sequence

from crypto_tracker.app.serving.data_view import Newest
from crypto_tracker.app.serving.trader_part import duration
from crypto_tracker.core.timeframes import MINUTE_MS, Timeframe
from crypto_tracker.desk.views.system import Collector, Part, State

QUIET_MS = 10 * MINUTE_MS
"""Bars that are so much older than they could be fail."""

_LATE_MS = 3 * MINUTE_MS  # ... and so much older are told of
_STATES: dict[str, State] = {
    "live": "ok",
    "scheduled": "ok",
    "starting": "ok",
    "waiting": "ok",
    "catching_up": "degraded",
    "trouble": "failing",
    "stopped": "off",
}
_START = "Start it: `crypto-tracker collect`"


def collector_part(collector: Collector) -> Part:
    """How one collector is."""
    said = f"{collector.words[0].upper()}{collector.words[1:]}"
    note = "" if collector.note is None or collector.gone else f": {collector.note}"
    live = ""
    if collector.state == "live" and not collector.gone and collector.symbols:
        told = collector.symbols_live
        live = (
            f" of {collector.symbols} symbols"
            if told is None
            else f" of {told} of {collector.symbols} symbols"
        )
    advice = {"trouble": "It tries again by itself; see what its provider says", "stopped": _START}.get(
        collector.state
    )
    return Part(
        name=f"collector {collector.provider}",
        state="failing" if collector.gone else _STATES[collector.state],
        sentence=f"{said}{live}{note}.",
        advice=_START if collector.gone else advice,
        since_ms=collector.updated_at_ms if collector.gone else collector.since_ms,
    )


def bar_parts(
    newest: Newest, providers: Sequence[str], timeframes: Iterable[Timeframe], now_ms: int
) -> list[Part]:
    """How old the newest bar of each timeframe is, of providers whose bars are to be kept up to date.

    A bar counts as late from the moment at which the one behind it should have closed.
    """
    parts = []
    for provider in providers:
        ends = [by_timeframe for (name, _), by_timeframe in newest.items() if name == provider]
        for timeframe in sorted(set(timeframes), key=lambda each: each.ms):
            known = [each[timeframe] for each in ends if timeframe in each]
            parts.append(_of_timeframe(provider, timeframe, known, now_ms))
    return parts


def _of_timeframe(provider: str, timeframe: Timeframe, known: list[int], now_ms: int) -> Part:
    name = f"bars {timeframe} {provider}"
    helps = f"See that `crypto-tracker collect` runs and that {provider} answers"
    if not known:
        return Part(name=name, state="failing", sentence="There are none.", advice=helps, since_ms=None)
    newest_ms = max(known)
    age_ms = max(now_ms - newest_ms, 0)
    late_ms = age_ms - timeframe.ms
    there = sum(end_ms == newest_ms for end_ms in known)
    sentence = f"The newest closed {duration(age_ms)} ago; {there} of {len(known)} symbols have it."
    state: State = "failing" if late_ms >= QUIET_MS else "degraded" if late_ms >= _LATE_MS else "ok"
    return Part(
        name=name, state=state, sentence=sentence, advice=None if state == "ok" else helps, since_ms=newest_ms
    )

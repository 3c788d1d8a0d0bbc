"""Who belonged to the universe when: the recorded universes of a span, as periods of each symbol.

A recorded universe holds from its day on, until the next one is recorded. One that was selected in the course
of its day holds from the moment of the selection, which knew the hours before. Before the first record the
configured universe and that of the first record hold together.
"""

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import DAY_MS, from_ms
from crypto_tracker.store.universes import RecordedUniverse

_NAMED = 3  # symbols at most

Periods = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Membership:
    """When each symbol of a run belonged to the universe: a setup decided at any other moment is withheld.

    Attributes
    ----------
    periods : of every symbol the intervals [start, end) in milliseconds, sorted and apart; they lie within
        the whole UTC days from the start of the span to the day of its end
    """

    periods: Mapping[Symbol, Periods]

    @classmethod
    def of_document(cls, document: Mapping[str, Sequence[Sequence[int]]]) -> "Membership":
        """The membership of which `document` is the JSON."""
        return cls(
            periods={
                Symbol.parse(name): tuple((start_ms, end_ms) for start_ms, end_ms in each)
                for name, each in document.items()
            }
        )

    def document(self) -> dict[str, list[list[int]]]:
        """As JSON can hold it: the intervals of each symbol."""
        return {str(symbol): [list(each) for each in self.periods[symbol]] for symbol in sorted(self.periods)}

    def digest(self) -> str:
        """Names exactly these periods."""
        return hashlib.sha256(json.dumps(self.document()).encode()).hexdigest()


def whole_days(start_ms: int, end_ms: int) -> tuple[int, int]:
    """The UTC days of a span's decisions; what is decided at its end lies in the day of the end."""
    return start_ms // DAY_MS * DAY_MS, (end_ms // DAY_MS + 1) * DAY_MS


def periods_of(
    records: Sequence[RecordedUniverse], configured: Collection[Symbol], start_ms: int, end_ms: int
) -> dict[Symbol, Periods]:
    """When each symbol that ever belonged did so within [start_ms, end_ms).

    `records` are those of one provider, at least one, in the order of their days.
    """
    holding: list[tuple[int, set[Symbol]]] = [(start_ms, {*configured, *records[0].symbols})]
    holding += [(record.since_ms, set(record.symbols)) for record in records]
    ends = [*(since_ms for since_ms, _ in holding[1:]), end_ms]
    found: dict[Symbol, list[tuple[int, int]]] = {}
    for (since_ms, members), until_ms in zip(holding, ends, strict=True):
        first, last = max(since_ms, start_ms), min(until_ms, end_ms)
        if first >= last:
            continue
        for symbol in members:
            intervals = found.setdefault(symbol, [])
            if intervals and intervals[-1][1] == first:
                intervals[-1] = (intervals[-1][0], last)
            else:
                intervals.append((first, last))
    return {symbol: tuple(intervals) for symbol, intervals in found.items()}


def by_provider(records: Iterable[RecordedUniverse]) -> dict[str, list[RecordedUniverse]]:
    """The records of each provider, in the order of their days."""
    found: dict[str, list[RecordedUniverse]] = {}
    for record in sorted(records, key=lambda record: (record.provider, record.day_ms)):
        found.setdefault(record.provider, []).append(record)
    return found


def membership(
    records: Iterable[RecordedUniverse],
    configured: Collection[Symbol],
    provider_of: Mapping[Symbol, str],
    start_ms: int,
    end_ms: int,
) -> Membership | None:
    """When each symbol of `provider_of` belonged; None where every one did throughout.

    Of a provider without any record every symbol belongs throughout.
    """
    span = whole_days(start_ms, end_ms)
    known = {name: periods_of(own, configured, *span) for name, own in by_provider(records).items()}
    periods = {
        symbol: known[name].get(symbol, ()) if name in known else (span,)
        for symbol, name in provider_of.items()
    }
    if all(each == (span,) for each in periods.values()):
        return None
    return Membership(periods=periods)


def told_of_days(
    records: Iterable[RecordedUniverse],
    found: Membership | None,
    start_ms: int,
    end_ms: int,
) -> list[str]:
    """What a result says of the universes that it obeyed: of how many of its days there was a record."""
    span = whole_days(start_ms, end_ms)
    first_day, last_day = start_ms // DAY_MS, (end_ms - 1) // DAY_MS
    notes = []
    for name, own in by_provider(records).items():
        recorded = sum(first_day <= record.day_ms // DAY_MS <= last_day for record in own)
        note = f"the universe of {name} was recorded on {recorded} of {last_day - first_day + 1} days"
        if span[0] < own[0].since_ms:
            note += (
                f"; before {from_ms(min(own[0].since_ms, end_ms)):%Y-%m-%d %H:%M} the configured one and "
                "that of the first record hold together, which may know what came later"
            )
        notes.append(note)
    part = [] if found is None else [name for name, each in found.periods.items() if each != (span,)]
    if part:
        named = ", ".join(map(str, sorted(part)[:_NAMED]))
        more = f" and {len(part) - _NAMED} more" if len(part) > _NAMED else ""
        notes.append(f"in the universe for a part of the span, and opening nothing else: {named}{more}")
    return notes

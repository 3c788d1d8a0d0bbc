"""What a collector has seen and done, in counts, and what it is at; for people who watch it."""

import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import HOUR_MS
from crypto_tracker.market.collecting.behind import behind_words
from crypto_tracker.market.collecting.buffer import Lateness
from crypto_tracker.store.collectors import Standing

_NUMBER = re.compile(r"\d+")


class Watcher(Protocol):
    """Is told what is worth knowing, on the event loop, so it must be quick."""

    def changed(self, provider: str, state: Standing, detail: str) -> None:
        """A collector came into another state, or says something else of it."""
        ...

    def noted(self, provider: str, sentence: str) -> None:
        """Something happened that a person may want to know."""
        ...

    def progressed(self, provider: str, figures: dict[str, Any]) -> None:
        """The figures, every few seconds."""
        ...


@dataclass(slots=True)
class Health:
    """The counts of one collector, its troubles, and the state that follows from them.

    Attributes
    ----------
    has_stream : whether bars come by a stream, else by requests alone
    troubles : what is wrong now, by part (`stream`, `requests`), each in one sentence
    catching_up : whether what trading needs is still being fetched
    behind : symbols of which it cannot be fetched, with the reason, while all others are up to date
    """

    provider: str
    has_stream: bool
    changed: Callable[[Standing, str], None]
    noted: Callable[[str], None]
    symbols: int = 0
    symbols_live: int = 0
    newest_minute_ms: int | None = None
    backlog_chunks: int = 0
    buffer_bars: int = 0
    buffer_peak: int = 0
    catching_up: bool = True
    troubles: dict[str, str] = field(default_factory=dict)
    behind: Mapping[Symbol, str] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    lateness: Lateness = field(default_factory=lambda: Lateness(HOUR_MS))
    _told: tuple[Standing, str] | None = None
    _said: set[tuple[Standing, str]] = field(default_factory=set)  # since all was well
    _mentioned: dict[str, int] = field(default_factory=dict)

    def state(self) -> tuple[Standing, str]:
        """What the collector is at, and why."""
        if self.troubles:
            return Standing.TROUBLE, "; ".join(self.troubles.values())
        if self.catching_up:
            return Standing.CATCHING_UP, "fetching what trading needs"
        behind = behind_words(self.behind, self.symbols)
        if not self.has_stream:
            return Standing.SCHEDULED, behind
        if not self.symbols_live:
            return Standing.STARTING, "the stream is connecting"
        return Standing.LIVE, behind

    def trouble(self, part: str, sentence: str) -> None:
        """Something is wrong."""
        self.troubles[part] = sentence
        self.tell()

    def sound(self, part: str) -> None:
        """It no longer is."""
        self.troubles.pop(part, None)
        self.tell()

    def tell(self, standing: Standing | None = None, detail: str = "") -> None:
        """Say the state where it is news; `standing` where it is none that follows from what is known.

        A trouble that says the same with other numbers, or that comes back before all is well, is none.
        """
        self._told = self.state() if standing is None else (standing, detail)
        key = self._told[0], _NUMBER.sub("#", self._told[1])
        if self._told[0] is not Standing.TROUBLE:
            news = key not in self._said or len(self._said) > 1
            self._said = {key}
        else:
            news = key not in self._said
            self._said.add(key)
        if news:
            self.changed(*self._told)

    def mention(self, kind: str, sentence: str, now_ms: int) -> None:
        """Note something that may come often: it is counted always and said once an hour."""
        self.counts[f"trouble_{kind}"] += 1
        if now_ms - self._mentioned.get(kind, now_ms - HOUR_MS) >= HOUR_MS:
            self._mentioned[kind] = now_ms
            self.noted(sentence)

    @property
    def told(self) -> tuple[Standing, str]:
        """What it is at, in its own words."""
        return self._told or (Standing.STARTING, "")

    def figures(self, now_ms: int) -> dict[str, Any]:
        """Counts since the start, and measures of the last hour; plain values, for JSON."""
        median, worst = self.lateness.quantiles(now_ms, 0.5, 0.99)
        newest = self.newest_minute_ms
        return {
            "symbols": self.symbols,
            "symbols_live": self.symbols_live,
            "behind": {str(symbol): reason for symbol, reason in self.behind.items()},
            "newest_minute_ms": newest,
            "events": self.counts["events"],
            "bars": self.counts["bars"],
            "duplicates": self.counts["duplicates"],
            "corrections": self.counts["corrections"],
            "late": self.counts["late"],
            "unusable": self.counts["unusable"],
            "reconnects": self.counts["reconnects"],
            "catch_ups": self.counts["catch_ups"],
            "requests": self.counts["requests"],
            "backlog_chunks": self.backlog_chunks,
            "buffer_bars": self.buffer_bars,
            "buffer_peak": self.buffer_peak,
            "stored_after_seconds_p50": median,
            "stored_after_seconds_p99": worst,
            "troubles": {
                name.removeprefix("trouble_"): count
                for name, count in sorted(self.counts.items())
                if name.startswith("trouble_")
            },
        }

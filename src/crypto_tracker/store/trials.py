"""Trials that are remembered, so that a good result can be held against how often one was looked for.

Whoever tries a thousand configurations finds a good one by chance. HOME/research.db therefore remembers every
configuration that was ever held against a span of bars, by a search or by a backtest. The same configuration
on the same span is one row, however often it runs. What counts for a span is how many different
configurations were tried on overlapping spans with a common symbol: to look at a part of it with the same
configuration chooses nothing.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import Engine, Select, distinct, func, select
from sqlalchemy.dialects.sqlite import insert

from crypto_tracker.core.symbols import Symbol
from crypto_tracker.store import trial_tables as tables
from crypto_tracker.store.database import RESEARCH, open_engine, upgrade

FILE_NAME = "research.db"
_COMPARABLE = 0.5  # least share of days in common


@dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    """The bars that trials are held against.

    Attributes
    ----------
    provider_of : whose bars each traded symbol has
    synthetic : whether any of them are made up
    """

    start_ms: int
    end_ms: int
    base: str
    provider_of: Mapping[Symbol, str]
    synthetic: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One configuration that was held against the bars of one span.

    Attributes
    ----------
    configuration_version : names all values that change trades
    assignments : `section.key=value` that a search laid over the configuration of the home
    sharpe : of the daily returns, not annualised; None where it does not exist
    days, trades : how many of each went into it
    source : `optimize` or `backtest`
    """

    data: Data
    configuration_version: str
    sharpe: float | None
    days: int
    trades: int
    source: str
    assignments: tuple[str, ...] = field(default=())


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What was tried on overlapping spans with a common symbol.

    Attributes
    ----------
    trials : how many different configurations
    comparable : how many of them have a Sharpe ratio on a comparable span
    variance : of these Sharpe ratios per day (n - 1), one for each configuration; None below two
    """

    trials: int
    comparable: int
    variance: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """How much was ever tried: different configurations, those of searches among them, and when last."""

    configurations: int
    searched: int
    newest_ms: int | None


class TrialStore:
    """The trials of a home folder."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @classmethod
    def open(cls, home: Path) -> "TrialStore":
        """Open HOME/research.db, made or migrated where needed."""
        engine = open_engine(home / FILE_NAME)
        upgrade(engine, RESEARCH)
        return cls(engine)

    @classmethod
    def open_to_read(cls, home: Path) -> "TrialStore | None":
        """Open HOME/research.db without writing to it; None where nothing was tried yet."""
        path = home / FILE_NAME
        return cls(open_engine(path, read_only=True)) if path.is_file() else None

    def close(self) -> None:
        """Let go of the file."""
        self._engine.dispose()

    def remember(self, trials: Sequence[Trial], *, recorded_at_ms: int) -> None:
        """Write trials, in one transaction. One that is known takes the new figures and keeps its source."""
        if not trials:
            return
        statement = insert(tables.trials)
        statement = statement.on_conflict_do_update(
            index_elements=["configuration_version", "start_ms", "end_ms", "base", "symbols", "data"],
            set_={name: statement.excluded[name] for name in ("sharpe", "days", "trades", "recorded_at_ms")},
        )
        with self._engine.begin() as connection:
            connection.execute(statement, [_values(trial, recorded_at_ms) for trial in trials])

    def history(self, data: Data) -> History:
        """How much was tried on spans that overlap this one, with at least one of its symbols.

        Another base or provider shows the same market, and counts. Made-up bars show none: they count among
        themselves only. A span is comparable where the days in common are at least half of the days of both
        together: on a much shorter one chance makes Sharpe ratios differ more. Of each configuration the
        trial on the most similar span is taken, whose symbols, base and providers decide between equal ones.
        """
        found = self._alike(data)
        sharpes = list(_sharpes(found, data).values())
        return History(
            trials=len({trial.configuration_version for trial in found}),
            comparable=len(sharpes),
            variance=float(np.var(sharpes, ddof=1)) if len(sharpes) > 1 else None,
        )

    def best_sharpe(self, data: Data) -> float | None:
        """The highest Sharpe ratio per day of the comparable trials of `history`; None without any."""
        return max(_sharpes(self._alike(data), data).values(), default=None)

    def totals(self) -> Totals:
        """How much was ever tried, on whatever bars."""
        columns = tables.trials.c
        named = func.count(distinct(columns.configuration_version))
        query = select(named, named.filter(columns.source == "optimize"), func.max(columns.recorded_at_ms))
        with self._engine.connect() as connection:
            count, searched, newest_ms = connection.execute(query).one()
        return Totals(configurations=count, searched=searched, newest_ms=newest_ms)

    def newest(self) -> Trial | None:
        """What was remembered last; None where nothing was."""
        columns = tables.trials.c
        order = columns.recorded_at_ms.desc(), columns.trial_id.desc()
        return next(iter(self._read(select(tables.trials).order_by(*order).limit(1))), None)

    def trials(self) -> list[Trial]:
        """Every trial, in the order in which they were first remembered."""
        return list(self._read(select(tables.trials).order_by(tables.trials.c.trial_id)))

    def _alike(self, data: Data) -> list[Trial]:
        return [trial for trial in self._overlapping(data) if _shares(trial, data)]

    def _overlapping(self, data: Data) -> Iterable[Trial]:
        columns = tables.trials.c
        return self._read(
            select(tables.trials)
            .where(columns.start_ms < data.end_ms, columns.end_ms > data.start_ms)
            .where(columns.synthetic == data.synthetic)
            .order_by(columns.trial_id)
        )

    def _read(self, query: Select[Any]) -> Iterable[Trial]:
        with self._engine.connect() as connection:
            rows = connection.execute(query).all()
        for row in rows:
            yield Trial(
                data=Data(
                    start_ms=row.start_ms,
                    end_ms=row.end_ms,
                    base=row.base,
                    provider_of={
                        Symbol.parse(name): provider for name, provider in json.loads(row.data).items()
                    },
                    synthetic=row.synthetic,
                ),
                configuration_version=row.configuration_version,
                sharpe=row.sharpe,
                days=row.days,
                trades=row.trades,
                source=row.source,
                assignments=tuple(json.loads(row.assignments)),
            )


def _sharpes(found: Iterable[Trial], data: Data) -> dict[str, float]:
    """Of each configuration with a Sharpe ratio on a comparable span, that of its most similar trial."""
    sharpes: dict[str, float] = {}
    for trial in sorted(found, key=lambda each: _likeness(each.data, data), reverse=True):
        if trial.sharpe is not None and _days_in_common(trial.data, data) >= _COMPARABLE:
            sharpes.setdefault(trial.configuration_version, trial.sharpe)
    return sharpes


def _shares(trial: Trial, data: Data) -> bool:
    return not trial.data.provider_of.keys().isdisjoint(data.provider_of)


def _days_in_common(one: Data, other: Data) -> float:
    """Share of what the two overlapping spans have in common, of what either has."""
    common = min(one.end_ms, other.end_ms) - max(one.start_ms, other.start_ms)
    return common / (max(one.end_ms, other.end_ms) - min(one.start_ms, other.start_ms))


def _likeness(one: Data, other: Data) -> tuple[float, float, bool, bool]:
    """How much the days, then the symbols have in common, then whether base and providers are the same."""
    symbols = one.provider_of.keys() & other.provider_of.keys()
    either = one.provider_of.keys() | other.provider_of.keys()
    return (
        _days_in_common(one, other),
        len(symbols) / len(either),
        one.base == other.base,
        one.provider_of == other.provider_of,
    )


def _values(trial: Trial, recorded_at_ms: int) -> dict[str, object]:
    whose = {str(symbol): provider for symbol, provider in trial.data.provider_of.items()}
    return {
        "start_ms": trial.data.start_ms,
        "end_ms": trial.data.end_ms,
        "base": trial.data.base,
        "symbols": json.dumps(sorted(whose)),
        "data": json.dumps(whose, sort_keys=True),
        "synthetic": trial.data.synthetic,
        "configuration_version": trial.configuration_version,
        "assignments": json.dumps(list(trial.assignments)),
        "sharpe": trial.sharpe,
        "days": trial.days,
        "trades": trial.trades,
        "source": trial.source,
        "recorded_at_ms": recorded_at_ms,
    }

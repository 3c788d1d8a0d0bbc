"""Chooses what a simulation over the store reads: symbols, base, span, providers, reference."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches

from crypto_tracker.config.tree import Configuration
from crypto_tracker.core.errors import DataError, UsageError
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import DAY_MS, Timeframe, from_ms
from crypto_tracker.store import intervals
from crypto_tracker.store.membership import (
    Membership,
    by_provider,
    membership,
    periods_of,
    told_of_days,
)
from crypto_tracker.store.reader import SOURCES
from crypto_tracker.store.series import SeriesInfo
from crypto_tracker.store.universes import RecordedUniverse

BASES = (Timeframe.M1, Timeframe.M15, Timeframe.H1)
KNOWN_SHARE = 0.9  # of the span; where less is known, the result says so
_NAMED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What a simulation over the store reads, chosen from what is there.

    `universe` says when each symbol belonged to the universe of its day, and so could be bought; None where
    all did throughout, or were asked for by name.
    """

    symbols: tuple[Symbol, ...]
    base: Timeframe
    start_ms: int
    end_ms: int
    provider_of: Mapping[Symbol, str]
    reference_symbol: Symbol | None
    notes: tuple[str, ...]  # what a reader of the result should know
    history: str = ""  # whose bars stand in where the provider of a symbol has none; "": nobody's
    universe: Membership | None = None


def choose(
    series: Sequence[SeriesInfo],
    configuration: Configuration,
    *,
    pairs: Sequence[str],
    timeframe: str | None,
    provider: str | None,
    start_ms: int | None,
    end_ms: int | None,
    universes: Sequence[RecordedUniverse] = (),
) -> Choice:
    """Choose base, span, symbols and providers for a simulation.

    Without pairs, and unless `universe.by_day` is off, the symbols are those of the `universes` of the span's
    days, and each takes part on the days only on which it belonged. The base is the finest of 1m, 15m and 1h
    that every pair has in the span (or, without pairs, that any symbol has), made of finer bars where those
    are stored. Raises UsageError or DataError with what is missing and what there is instead.
    """
    wanted = tuple(Symbol.parse(name) for name in pairs)
    if len(set(wanted)) != len(wanted):
        raise UsageError("--pairs names a symbol twice: name each once")
    stored = {info.symbol for info in series}
    unknown = [str(symbol) for symbol in wanted if symbol not in stored]
    if unknown:
        raise DataError(
            f"there are no bars of {', '.join(unknown)}: {_meant(unknown[0], stored)}"
            "see list-data, or bring some with import-data"
        )
    whose = provider or configuration.market_data.provider
    history = configuration.market_data.history
    series = _readable(series, whose, history)
    inside = [info for info in series if _overlaps(info, start_ms, end_ms)]
    obeyed = () if wanted or not configuration.universe.by_day else universes
    base, found = _base(inside, wanted, timeframe, whose)
    symbols, notes = wanted, []
    if not symbols:
        names = {info.symbol for info in found}
        providers = {symbol: _providers(symbol, series, found, history) for symbol in names}
        first_ms = min(info.start_ms for info in found) if start_ms is None else start_ms
        last_ms = max(info.end_ms for info in found) if end_ms is None else end_ms
        members = _members(providers, configured(configuration), obeyed, first_ms, last_ms)
        symbols = tuple(sorted(members or names))
        if not members:
            notes.append(
                f"every stored symbol takes part, as none of the universe is stored against "
                f"{configuration.trading.quote}: set trading.quote or universe.symbols"
            )
            obeyed = ()
    notes += _said_of_the_instruments(symbols)
    provider_of = {symbol: _provider(symbol, series, found, history) for symbol in symbols}
    used = [
        info
        for info in found
        if info.symbol in provider_of and info.provider in {provider_of[info.symbol], history}
    ]
    first, last = base.floor(min(info.start_ms for info in used)), max(info.end_ms for info in used)
    start = first if start_ms is None else max(start_ms, first)
    end = last if end_ms is None else min(end_ms, last)
    if start_ms not in {None, start} or end_ms not in {None, end}:
        notes.append(
            f"bars reach from {from_ms(start):%Y-%m-%d %H:%M} to {from_ms(end):%Y-%m-%d %H:%M} UTC only"
        )
    notes += _stood_in(used, provider_of, history, base, start, end)
    notes += _little_known(used, symbols, base, start, end)
    coin = configuration.trading.reference
    reference = choose_reference({info.symbol for info in found}, symbols, coin)
    if reference is None:
        notes.append(no_reference(coin, base))
    elif reference not in provider_of:
        like = [info for info in found if info.provider in provider_of.values()]
        near = like if any(info.symbol == reference for info in like) else found
        provider_of[reference] = _provider(reference, series, near, history)
    if base is not Timeframe.M1:
        why = "as --timeframe asks" if timeframe else "since not every symbol has 1m bars in the span"
        notes.append(f"coarse base: orders meet {base} bars and strategies of finer ones scan them, {why}")
    choice = Choice(
        symbols=symbols,
        base=base,
        start_ms=start,
        end_ms=end,
        provider_of=provider_of,
        reference_symbol=reference,
        notes=tuple(notes),
        history=history,
    )
    return obeying(choice, configured(configuration), obeyed)


def configured(configuration: Configuration) -> tuple[Symbol, ...]:
    """The universe as the configuration has it, which holds where nothing was recorded."""
    return configuration.universe.members(configuration.trading.quote)


def obeying(choice: Choice, otherwise: Collection[Symbol], universes: Sequence[RecordedUniverse]) -> Choice:
    """The choice whose symbols take part on the days only on which they belonged to the universe.

    `otherwise` is the configured one, which holds with the first record where nothing was recorded before.
    """
    traded = {symbol: choice.provider_of[symbol] for symbol in choice.symbols}
    recorded = [record for record in universes if record.provider in traded.values()]
    if not recorded:
        return choice
    span = choice.start_ms, choice.end_ms
    found = membership(recorded, otherwise, traded, *span)
    return replace(choice, universe=found, notes=(*choice.notes, *told_of_days(recorded, found, *span)))


def _members(
    providers: Mapping[Symbol, Collection[str]],
    otherwise: Collection[Symbol],
    universes: Sequence[RecordedUniverse],
    start_ms: int,
    end_ms: int,
) -> set[Symbol]:
    """The symbols that belonged to the universe of one of their providers on a day of the span.

    A provider without any record has the configured universe throughout.
    """
    known = {
        name: set(periods_of(own, otherwise, start_ms // DAY_MS * DAY_MS, end_ms))
        for name, own in by_provider(universes).items()
    }
    return {
        symbol
        for symbol, names in providers.items()
        if any(symbol in known.get(name, otherwise) for name in names)
    }


def choose_reference(available: Iterable[Symbol], traded: Sequence[Symbol], base_coin: str) -> Symbol | None:
    """The symbol that stands for the market: the reference coin in the kind and quote of what is traded."""
    candidates = [symbol for symbol in available if symbol.base == base_coin]
    if not candidates:
        return None
    like = traded[0]
    return min(candidates, key=lambda s: (s.settle != like.settle, s.quote != like.quote, str(s)))


def _meant(name: str, stored: Iterable[Symbol]) -> str:
    """A question that names the stored symbol which is spelt most like `name`; empty where none is near."""
    spelt = {str(symbol).upper(): str(symbol) for symbol in sorted(stored)}
    near = get_close_matches(name.upper(), spelt, n=1, cutoff=0.8)
    return f"did you mean {spelt[near[0]]}? If not, " if near else ""


def no_reference(coin: str, base: Timeframe) -> str:
    """What is said where the reference coin is not in the data."""
    return (
        f"the reference coin {coin} has no {base} bars in the span: regime and volatility rules stay NORMAL"
    )


def _base(
    series: Sequence[SeriesInfo], wanted: Sequence[Symbol], timeframe: str | None, whose: str
) -> tuple[Timeframe, list[SeriesInfo]]:
    """The finest base that is possible, and the series that it can be read or made from."""
    bases = tuple(base for base in BASES if timeframe in {None, str(base)})
    if not bases:
        raise UsageError(f"--timeframe {timeframe} can not be the base: choose 1m, 15m or 1h")
    for base in bases:
        found = [info for info in series if info.timeframe in SOURCES[base]]
        names = {info.symbol for info in found}
        if names and names.issuperset(wanted):
            return base, found
    raise DataError(
        f"the span holds no {' or '.join(map(str, bases))} bars "
        f"of {', '.join(map(str, wanted)) or 'any symbol'}{f' from {whose}' if whose else ''}: "
        "see list-data, and choose the span, --pairs, --provider and (of a backtest) --timeframe from it"
    )


def _readable(series: Sequence[SeriesInfo], whose: str, history: str) -> list[SeriesInfo]:
    """The series of the provider that is asked for, and of those symbols the history that stands in."""
    if not whose:
        return list(series)
    own = {info.symbol for info in series if info.provider == whose}
    return [
        info for info in series if info.provider == whose or (info.provider == history and info.symbol in own)
    ]


def _overlaps(info: SeriesInfo, start_ms: int | None, end_ms: int | None) -> bool:
    """Whether anything of the span is known; what lies between two known stretches may be nothing."""
    return any(
        (end_ms is None or first < end_ms) and (start_ms is None or last > start_ms)
        for first, last in info.known
    )


def _stood_in(
    used: Sequence[SeriesInfo],
    provider_of: Mapping[Symbol, str],
    history: str,
    base: Timeframe,
    start_ms: int,
    end_ms: int,
) -> list[str]:
    """A note on how much of what is known of the span comes from the provider that stands in."""
    own_ms = all_ms = 0
    whose = set()
    for symbol, provider in provider_of.items():
        if provider == history:
            continue
        of_symbol = [info for info in used if info.symbol == symbol]
        own = intervals.as_intervals(
            pair for info in of_symbol if info.provider == provider for pair in info.known
        )
        both = intervals.as_intervals(pair for info in of_symbol for pair in info.known)
        own_ms += intervals.length(intervals.clip(own, start_ms, end_ms))
        all_ms += intervals.length(intervals.clip(both, start_ms, end_ms))
        whose.add(provider)
    if all_ms == own_ms:
        return []
    share = 100.0 * (all_ms - own_ms) / all_ms
    where = f"where {', '.join(sorted(whose))} has none"
    return [f"bars of {history} stand in {where}: {share:.1f} % of what is known on {base}"]


def _little_known(
    used: Sequence[SeriesInfo], symbols: Sequence[Symbol], base: Timeframe, start_ms: int, end_ms: int
) -> list[str]:
    """A note on the symbols of which much of the span is not known, worst first."""
    shares = []
    for symbol in symbols:
        known = intervals.as_intervals(pair for info in used if info.symbol == symbol for pair in info.known)
        share = intervals.length(intervals.clip(known, start_ms, end_ms)) / (end_ms - start_ms)
        if share < KNOWN_SHARE:
            shares.append((share, str(symbol)))
    if not shares:
        return []
    named = ", ".join(f"{name} {100.0 * share:.1f} %" for share, name in sorted(shares)[:_NAMED])
    more = f", and {len(shares) - _NAMED} more in part" if len(shares) > _NAMED else ""
    return [
        f"of the span only a part is known on {base}: {named}{more}; list-data --gaps says what is missing"
    ]


def _said_of_the_instruments(symbols: Sequence[Symbol]) -> list[str]:
    """What a simulation leaves out or takes for granted about these symbols."""
    notes = []
    if any(symbol.is_perpetual for symbol in symbols):
        notes.append("perpetuals are traded as if they were spot: without funding payments, without leverage")
    quotes = sorted({symbol.quote for symbol in symbols})
    if len(quotes) > 1:
        notes.append(f"amounts in {' and '.join(quotes)} are added as if they were one currency")
    bases = [symbol.base for symbol in symbols]
    twice = sorted({base for base in bases if bases.count(base) > 1})
    if twice:
        listed = ", ".join(twice[:5]) + (f" and {len(twice) - 5} more" if len(twice) > 5 else "")
        notes.append(f"{listed}: several symbols of one coin each take a position; choose with --pairs")
    return notes


def _provider(symbol: Symbol, series: Sequence[SeriesInfo], found: Sequence[SeriesInfo], history: str) -> str:
    """Who is traded: of the providers `found`, not the one that only stands in for another one's bars."""
    providers = _providers(symbol, series, found, history)
    if len(providers) > 1:
        raise UsageError(
            f"{symbol} has bars of several providers in the span ({', '.join(providers)}): "
            "choose one with --provider or market_data.provider"
        )
    return providers[0]


def _providers(
    symbol: Symbol, series: Sequence[SeriesInfo], found: Sequence[SeriesInfo], history: str
) -> list[str]:
    """Who could be traded in a symbol; more than one where nobody said whose bars are meant."""
    providers = {info.provider for info in found if info.symbol == symbol}
    others = {info.provider for info in series if info.symbol == symbol} - {history}
    return sorted({*providers, *others} - {history} if history in providers and others else providers)

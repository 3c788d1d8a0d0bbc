"""`list-markets`: the exchange's own rules and fees of each market."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crypto_tracker.app.cli.common import (
    JsonOption,
    PairsOption,
    Session,
    command,
    emit_json,
    parse_pairs,
    session_of,
)
from crypto_tracker.core.errors import DataError, UsageError
from crypto_tracker.core.symbols import Symbol

if TYPE_CHECKING:
    from rich.table import Table

    from crypto_tracker.market.providers.base import History, MarketInfo
    from crypto_tracker.store.instruments import InstrumentRow

# What the configuration calls the rules of a market, and what the store does.
_SETTINGS = {
    "tick": "tick",
    "lot": "lot",
    "min_notional": "notional_min",
    "taker_fee": "taker_fee",
    "maker_fee": "maker_fee",
}
_NOT_TRADED = "not traded now"


@dataclass(frozen=True, slots=True, kw_only=True)
class Market:
    """One market as it is shown. `inactive` says why nothing is traded there; None while it is traded."""

    provider: str
    rules: "InstrumentRow"
    inactive: str | None
    volume_quote: float | None
    fetched_at_ms: int


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    examples = (
        "list-markets --provider kraken -p BTC/USD,ETH/USD",
        "list-markets --provider kraken --toml",
        "list-markets --stored",
    )
    command(app, "list-markets", examples=examples)(list_markets)


def list_markets(
    context: typer.Context,
    provider: Annotated[
        str | None,
        typer.Option(
            "--provider", metavar="NAME", help="Whose markets; otherwise of the provider that is configured."
        ),
    ] = None,
    pairs: PairsOption = None,
    stored: Annotated[
        bool, typer.Option("--stored", help="Ask nobody: show what the provider said when last asked.")
    ] = False,
    toml: Annotated[
        bool, typer.Option("--toml", help="Write the rules as sections for the configuration instead.")
    ] = False,
    json_output: JsonOption = False,
) -> None:
    """Show the markets of a provider: price and quantity grid, smallest orders, fees.

    What the provider says of the universe, of --pairs and of symbols whose bars are stored is kept. It trades
    nothing by itself: the simulator obeys the section [instruments] of the configuration, so that a result
    can be run again under the same rules. Paste what --toml writes there; it changes the configuration's
    version.
    """
    from crypto_tracker.app.providers import checked_provider, provider_name

    session = session_of(context)
    if toml and json_output:
        raise UsageError("--toml and --json are two forms of one document: choose one")
    wanted = [Symbol.parse(name) for name in parse_pairs(pairs)]
    if stored:
        markets = _stored(session, None if provider is None else provider_name(provider))
    else:
        settings = session.configuration.market_data
        name = provider or settings.provider or next(iter(settings.collector.providers), "")
        if not name:
            raise UsageError("say whose markets are meant: --provider kraken, or market_data.provider")
        markets = _asked(session, checked_provider(name), wanted)
    markets = _chosen(markets, wanted)
    if json_output:
        emit_json([_document(market) for market in markets])
    elif toml:
        session.out.print(_sections(session, markets, wanted), markup=False, soft_wrap=True, end="")
    else:
        _print_table(session, markets)


def _asked(session: Session, provider: str, wanted: Sequence[Symbol]) -> list[Market]:
    """Every market of a provider, asked now; rules of those that matter here are kept."""
    from crypto_tracker.app.cli.fetching_view import attempt_lines
    from crypto_tracker.app.providers import history_of
    from crypto_tracker.core.timeframes import to_ms
    from crypto_tracker.market.instruments import instrument_rows
    from crypto_tracker.net.retry import attempts_told
    from crypto_tracker.store.instruments import inactive_symbols, write_instruments
    from crypto_tracker.store.market_database import reading, symbol_ids
    from crypto_tracker.store.reader import DATABASE_NAME

    configuration = session.configuration
    history = history_of(
        provider,
        configuration.market_data,
        session.environment,
        now_ms=lambda: to_ms(session.now()),
        say=lambda text: session.err.print(text, markup=False, soft_wrap=True),
    )
    with (
        session.err.status(f"asking {provider} for its markets"),
        attempts_told(attempt_lines(session.err)),
    ):
        found = asyncio.run(_markets_of(history))
    now_ms = to_ms(session.now())
    matter = {*configuration.universe.members(configuration.trading.quote), *wanted}
    reasons: dict[Symbol, str] = {}
    if (session.home / DATABASE_NAME).is_file():
        with reading(session.home) as connection:
            matter |= {symbol for _, symbol in symbol_ids(connection, history.name)}
        reasons = {
            each.symbol: each.reason
            for each in inactive_symbols(session.home)
            if each.provider == history.name
        }
    rows = instrument_rows(found)
    write_instruments(
        session.make_home(), history.name, [row for row in rows if row.symbol in matter], now_ms
    )
    return [
        Market(
            provider=history.name,
            rules=row,
            inactive=reasons.get(row.symbol) or (None if market.active else _NOT_TRADED),
            volume_quote=market.volume_quote,
            fetched_at_ms=now_ms,
        )
        for row, market in sorted(zip(rows, found, strict=True), key=lambda pair: pair[0].symbol)
    ]


async def _markets_of(history: "History") -> "Sequence[MarketInfo]":
    try:
        return await history.markets()
    finally:
        await history.close()


def _stored(session: Session, provider: str | None) -> list[Market]:
    from crypto_tracker.store.instruments import instruments
    from crypto_tracker.store.reader import DATABASE_NAME

    there = (session.home / DATABASE_NAME).is_file()
    found = instruments(session.home, provider) if there else []
    if not found:
        raise DataError(
            f"no rules of markets{f' of {provider}' if provider else ''} are stored: "
            "leave --stored out to ask the provider"
        )
    return [
        Market(
            provider=each.provider,
            rules=each.rules,
            inactive=each.inactive,
            volume_quote=None,
            fetched_at_ms=each.fetched_at_ms,
        )
        for each in found
    ]


def _chosen(markets: list[Market], wanted: Sequence[Symbol]) -> list[Market]:
    """The markets of the symbols that are named; raises DataError where one is not there."""
    from crypto_tracker.market.fetching.symbols import near_symbols

    known = {market.rules.symbol for market in markets}
    missing = [symbol for symbol in wanted if symbol not in known]
    if missing:
        whose = ", ".join(sorted({market.provider for market in markets})) or "the provider"
        named = []
        for symbol in missing:
            near = near_symbols(symbol, known)
            meant = f" (did you mean {' or '.join(map(str, near))}?)" if near else ""
            named.append(f"{symbol}{meant}")
        raise DataError(f"{whose} has no market {', '.join(named)}: list-markets without --pairs shows all")
    return [market for market in markets if not wanted or market.rules.symbol in wanted]


def _sections(session: Session, markets: Sequence[Market], wanted: Sequence[Symbol]) -> str:
    """Sections of a configuration: of the symbols that are named, or of the universe."""
    from crypto_tracker.core.timeframes import from_ms

    configuration = session.configuration
    members = wanted or configuration.universe.members(configuration.trading.quote)
    traded = [market for market in markets if market.rules.symbol in members]
    whose = sorted({market.provider for market in traded})
    if not traded:
        raise DataError("none of the universe is among these markets: name symbols with --pairs")
    if len(whose) > 1:
        raise UsageError(f"several providers have these markets ({', '.join(whose)}): say --provider")
    when = from_ms(min(market.fetched_at_ms for market in traded))
    lines = [
        f"# Rules and fees as {whose[0]} stated them on {when:%Y-%m-%d %H:%M} UTC, for the configuration."
    ]
    for market in traded:
        rules = market.rules
        lines += ["", f'[instruments."{rules.symbol}"]']
        if rules.quantity_min is not None:
            lines.append(f"# an order is for {_plain(rules.quantity_min)} {rules.symbol.base} at least")
        if market.inactive is not None:
            lines.append(f"# inactive: {market.inactive}")
        lines += [
            f"{name} = {_number(value)}"
            for name, attribute in _SETTINGS.items()
            if (value := getattr(rules, attribute)) is not None
        ]
    return "\n".join(lines) + "\n"


def _print_table(session: Session, markets: Sequence[Market]) -> None:
    from crypto_tracker.app.cli.tables import plain_table, print_table, roomiest

    several = len({market.provider for market in markets}) > 1
    volumes = any(market.volume_quote is not None for market in markets)

    def drawn(gap: int, *, minima: bool, spelling: bool) -> "Table":
        table = plain_table(gap)
        table.add_column("symbol", overflow="fold")
        for name in (*(["provider"] if several else []), *(["there"] if spelling else [])):
            table.add_column(name, no_wrap=True)
        named = ["tick", "lot", *(["min coins", "min quote"] if minima else []), "taker", "maker"]
        for name in (*named, *(["24 h volume"] if volumes else [])):
            table.add_column(name, justify="right", no_wrap=True)
        for market in markets:
            rules = market.rules
            table.add_row(
                str(rules.symbol),
                *([market.provider] if several else []),
                *([rules.provider_symbol] if spelling else []),
                _plain(rules.tick),
                _plain(rules.lot),
                *([_plain(rules.quantity_min), _plain(rules.notional_min)] if minima else []),
                _percent(rules.taker_fee),
                _percent(rules.maker_fee),
                *([_volume(market.volume_quote)] if volumes else []),
                style=None if market.inactive is None else "dim",
            )
        return table

    shapes = ((2, True, True), (1, True, True), (2, True, False), (1, True, False), (1, False, False))
    tables = (drawn(gap, minima=minima, spelling=spelling) for gap, minima, spelling in shapes)
    print_table(session.out, roomiest(session, tables))
    for market in markets:
        if market.inactive is not None:
            session.out.print(
                f"inactive: {market.rules.symbol} {market.provider}: {market.inactive}",
                style="yellow",
                markup=False,
                soft_wrap=True,
            )
    names = ", ".join(sorted({market.provider for market in markets}))
    session.err.print(f"{len(markets):,} markets of {names}; - is what nobody says.", soft_wrap=True)


def _document(market: Market) -> dict[str, Any]:
    from crypto_tracker.core.timeframes import from_ms
    from crypto_tracker.store.instruments import RULES

    exact = {name: getattr(market.rules, name) for name in RULES}
    return {
        "symbol": str(market.rules.symbol),
        "provider": market.provider,
        "provider_symbol": market.rules.provider_symbol,
        "inactive": market.inactive,
        **{name: None if value is None else _plain(value) for name, value in exact.items()},
        "volume_quote": market.volume_quote,
        "fetched_at": from_ms(market.fetched_at_ms),
    }


def _plain(value: Decimal | None) -> str:
    """A decimal without exponent and without zeros at its end; a dash where there is none.

    >>> _plain(Decimal("1E-8")), _plain(Decimal("0.10")), _plain(Decimal("100")), _plain(None)
    ('0.00000001', '0.1', '100', '-')
    """
    if value is None:
        return "-"
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def _number(value: Decimal) -> str:
    """A decimal as TOML has a float.

    >>> _number(Decimal("1E-8")), _number(Decimal("5"))
    ('0.00000001', '5.0')
    """
    text = _plain(value)
    return text if "." in text else f"{text}.0"


def _percent(value: Decimal | None) -> str:
    return "-" if value is None else f"{_plain(value * 100)} %"


def _volume(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}"

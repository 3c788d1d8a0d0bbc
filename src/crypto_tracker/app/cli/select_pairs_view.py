"""How selections and universes are shown: tables for people, documents for programs, TOML for config.toml."""

from collections import Counter
from collections.abc import Sequence
from textwrap import wrap
from typing import Any

from rich.table import Table
from rich.text import Text

from crypto_tracker.app.cli.common import Session, iso_utc
from crypto_tracker.app.cli.tables import plain_table, print_table, roomiest
from crypto_tracker.core.timeframes import from_ms
from crypto_tracker.store.selections import SelectedPair, Selection
from crypto_tracker.store.universes import RecordedUniverse

_NOT_CHOSEN_SHOWN = 20
_WIDTH = 78  # of lines with symbols


def show_selection(session: Session, made: Selection, *, all_of_them: bool) -> None:
    """The chosen pairs with their figures, then the others with what they lack."""
    chosen = [pair for pair in made.pairs if pair.chosen]
    others = [pair for pair in made.pairs if not pair.chosen]
    settings = made.settings
    session.out.print(
        f"{made.provider}, {from_ms(made.made_at_ms):%Y-%m-%d %H:%M} UTC: {len(chosen)} of "
        f"{len(made.pairs)} {settings['quote']} pairs, {settings['days']} days against "
        f"{settings['benchmark']}",
        markup=False,
    )
    if chosen:
        session.out.print()
        print_table(session.out, roomiest(session, (_figures(chosen, gap) for gap in (2, 1))))
    if others:
        session.out.print()
        shown = others if all_of_them else others[:_NOT_CHOSEN_SHOWN]
        print_table(session.out, roomiest(session, (_refused(shown, gap) for gap in (2, 1))))
        if len(others) > len(shown):
            session.out.print(
                f"and {len(others) - len(shown):,} more: test-pairs and --json name all of them", markup=False
            )
    if chosen:
        risks = Counter(pair.risk for pair in chosen)
        session.out.print()
        session.out.print(
            "Risk: " + ", ".join(f"{risks[level]} {level}" for level in ("low", "medium", "high")),
            markup=False,
        )


def document(made: Selection) -> dict[str, Any]:
    """A selection as JSON."""
    return {
        "selection": made.selection_id or None,  # a selection that was not recorded has no number
        "made_at": iso_utc(from_ms(made.made_at_ms)),
        "provider": made.provider,
        "settings": dict(made.settings),
        "pairs": [
            {
                "symbol": str(pair.symbol),
                "volume_quote": pair.volume_quote,
                "volatility": pair.volatility,
                "correlation": pair.correlation,
                "listed_days": pair.listed_days,
                "score": pair.score,
                "risk": pair.risk,
                "chosen": pair.chosen,
                "reason": pair.reason,
            }
            for pair in made.pairs
        ],
    }


def as_toml(made: Selection) -> str:
    """The sections of config.toml under which the chosen pairs are traded."""
    names = [f'"{pair.symbol}"' for pair in made.pairs if pair.chosen]
    lines = wrap(", ".join(names), width=_WIDTH, break_long_words=False)
    listed = "".join(f"    {line.rstrip(',')},\n" for line in lines)
    return (
        f"# Selection {made.selection_id} of {from_ms(made.made_at_ms):%Y-%m-%d %H:%M} UTC.\n"
        f"[universe]\nsymbols = [\n{listed}]\n\n"
        f'[trading]\nquote = "{made.settings["quote"]}"\n\n'
        f'[market_data]\nprovider = "{made.provider}"\n'
    )


def show_universes(session: Session, found: Sequence[RecordedUniverse], *, with_symbols: bool) -> None:
    """A line for each recorded day, and what changed on it; with `with_symbols` also who belonged."""
    if not with_symbols:
        print_table(session.out, roomiest(session, (_days(found, gap) for gap in (2, 1))))
        return
    for record in found:
        session.out.print(
            f"{record.provider}, {_origin(record)}, since {from_ms(record.since_ms):%Y-%m-%d %H:%M} UTC: "
            f"{len(record.symbols)} symbols",
            markup=False,
        )
        for line in wrap(" ".join(map(str, record.symbols)), width=_WIDTH, break_long_words=False):
            session.out.print(f"  {line}", markup=False)


def universes_document(found: Sequence[RecordedUniverse]) -> list[dict[str, Any]]:
    """Recorded universes as JSON."""
    return [
        {
            "day": f"{from_ms(record.day_ms):%Y-%m-%d}",
            "provider": record.provider,
            "since": iso_utc(from_ms(record.since_ms)),
            "origin": record.origin,
            "selection": record.selection_id,
            "symbols": [str(symbol) for symbol in record.symbols],
        }
        for record in found
    ]


def _figures(pairs: Sequence[SelectedPair], gap: int) -> Table:
    table = plain_table(gap)
    table.add_column("pair")
    for heading in ("24 h volume", "volatility", "correlation", "days", "score"):
        table.add_column(heading, justify="right")
    table.add_column("risk")
    for pair in pairs:
        table.add_row(
            str(pair.symbol),
            _number(pair.volume_quote, ",.0f"),
            _number(None if pair.volatility is None else 100.0 * pair.volatility, ".2f", " %"),
            _number(pair.correlation, "+.2f"),
            _number(pair.listed_days, "d"),
            _number(pair.score, ".1f"),
            pair.risk or "-",
        )
    return table


def _refused(pairs: Sequence[SelectedPair], gap: int) -> Table:
    table = plain_table(gap)
    table.add_column("not chosen")
    table.add_column("why")
    for pair in pairs:
        table.add_row(str(pair.symbol), Text(pair.reason or ""))
    return table


def _days(found: Sequence[RecordedUniverse], gap: int) -> Table:
    table = plain_table(gap)
    for heading in ("day", "provider", "origin"):
        table.add_column(heading)
    for heading in ("symbols", "new", "gone"):
        table.add_column(heading, justify="right")
    before: RecordedUniverse | None = None
    for record in found:
        earlier = None if before is None or before.provider != record.provider else set(before.symbols)
        now = set(record.symbols)
        table.add_row(
            f"{from_ms(record.day_ms):%Y-%m-%d}",
            record.provider,
            _origin(record),
            f"{len(now):,}",
            "-" if earlier is None else f"{len(now - earlier):,}",
            "-" if earlier is None else f"{len(earlier - now):,}",
        )
        before = record
    return table


def _origin(record: RecordedUniverse) -> str:
    return record.origin if record.selection_id is None else f"selection {record.selection_id}"


def _number(value: float | None, form: str, unit: str = "") -> str:
    return "-" if value is None else f"{value:{form}}{unit}"

"""What `scorecard` says: one line for each target, and the verdict."""

from collections.abc import Callable, Iterator
from dataclasses import asdict
from math import isinf
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from crypto_tracker.app.judging import row_name
from crypto_tracker.core.timeframes import from_ms
from crypto_tracker.simulation.scorecard import DayShares, Row, Scorecard, State, Targets, Verdict

WIDTH_MAX = 100
_WIDE = 96  # columns from which on there is room for units
_CHANCE = "*"
_THOUSANDS = 100_000  # from here on the ends of intervals are told in thousands
_PLAIN = {"confidence_correlation", "profit_factor", "sharpe"}
_STYLES = {State.MET: "green", State.NOT_MET: "red", State.NOT_KNOWN: "yellow"}
_VERDICTS = {Verdict.GO_ON: "bold green", Verdict.OPTIMISE: "bold yellow", Verdict.PIVOT: "bold red"}


def show(out: Console, card: Scorecard, targets: Targets) -> None:
    """Print a scorecard for people."""
    side, width = card.evidence, min(out.width, WIDTH_MAX)
    made_up = "SYNTHETIC " if side.synthetic else ""
    out.print(Text.assemble(("Scorecard", "bold"), f"  {side.name}"))
    out.print(
        Text(
            f"{from_ms(side.start_ms):%Y-%m-%d %H:%M} to {from_ms(side.end_ms):%Y-%m-%d %H:%M} UTC, "
            f"{made_up}{side.base} bars of {len(side.symbols)} symbols, "
            f"configuration {side.configuration_version}",
            style="dim",
        ),
        width=width,
    )
    for note in card.notes:
        out.print(Text(f"! {note}", style="yellow"), width=width)
    out.print()
    out.print(_rows(card, targets, wide=out.width >= _WIDE))
    for sentence in _explained(card):
        out.print(Text(sentence, style="dim"), width=width)
    out.print()
    out.print(Text(card.sentence, style=_VERDICTS[card.verdict]), width=width)


def document(
    card: Scorecard,
    targets: Targets,
    *,
    uptime: DayShares | str,
    data_quality: DayShares | str,
) -> dict[str, Any]:
    """The same as one JSON document; fractions are of one, an interval without bound on a side has null."""
    side = card.evidence
    return {
        "name": side.name,
        "source": side.source.value,
        "start": from_ms(side.start_ms),
        "end": from_ms(side.end_ms),
        "base": side.base,
        "symbols": [str(symbol) for symbol in side.symbols],
        "strategies": list(side.strategies),
        "synthetic": side.synthetic,
        "configuration_version": side.configuration_version,
        "code_version": side.code_version,
        "notes": list(card.notes),
        "rows": [
            {**asdict(row), "state": row.state.value, "thin": row.thin, "sure": row.sure} for row in card.rows
        ],
        "met": card.count(State.MET),
        "not_met": card.count(State.NOT_MET),
        "not_known": card.count(State.NOT_KNOWN),
        "verdict": card.verdict.value,
        "sentence": card.sentence,
        "targets": targets.model_dump(mode="json"),
        "uptime_source": _source(uptime),
        "data_quality_source": _source(data_quality),
    }


def _rows(card: Scorecard, targets: Targets, *, wide: bool) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2 if wide else 1, 0, 0), header_style="dim")
    table.add_column("", no_wrap=True)
    for name in ("Target", "Value", f"{100 * targets.confidence:g} % interval", "n"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for row in card.rows:
        written = _written(row)
        table.add_row(
            row_name(row),
            f"{'>' if row.above else '<'} {written(row.target)}",
            "-" if row.value is None else written(row.value),
            _interval(row, written),
            f"{row.n:,} {row.unit}" if wide else f"{row.n:,}",
            Text(_state(row), style=_STYLES[row.state]),
        )
    return table


def _explained(card: Scorecard) -> Iterator[str]:
    """What stands behind the words of the table."""
    if any(row.state is not State.NOT_KNOWN and not row.sure for row in card.rows):
        yield f"{_CHANCE} the interval holds the target: chance may have decided"
    thin = [row for row in card.rows if row.thin]
    if thin:
        needed = dict.fromkeys(f"{row.n_min:,} {row.unit}" for row in thin)
        yield f"thin: fewer than {' or '.join(needed)}, which counts as not known"
    for row in card.rows:
        if row.state is State.NOT_KNOWN and not row.thin:
            yield f"unknown: {row_name(row)}: {row.why}"


def _state(row: Row) -> str:
    if row.state is State.NOT_KNOWN:
        return "thin" if row.thin else "unknown"
    word = "met" if row.state is State.MET else "not met"
    return word if row.sure else f"{word}{_CHANCE}"


def _interval(row: Row, written: Callable[[float], str]) -> str:
    if row.low is None or row.high is None:
        return "-"
    if row.name == "pnl_net":
        written = _short_money
    upper = "no end" if isinf(row.high) else written(row.high)
    return f"{written(row.low)} to {upper}"


def _short_money(value: float) -> str:
    return f"{value:+,.0f}" if abs(value) < _THOUSANDS else f"{value / 1_000:+,.0f}k"


def _written(row: Row) -> Callable[[float], str]:
    name = row.name.partition(".")[0]
    if name in _PLAIN:
        return lambda value: f"{value:.2f}"
    if name == "pnl_net":
        return lambda value: f"{value:+,.0f}" if value else "0"
    return lambda value: f"{100.0 * value:.1f} %"


def _source(shares: DayShares | str) -> str:
    return shares if isinstance(shares, str) else shares.source

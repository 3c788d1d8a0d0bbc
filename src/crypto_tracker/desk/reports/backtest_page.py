"""The result of a backtest as one page that stands alone: figures, curves, candles and every trade."""

import json
from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from datetime import date, datetime
from decimal import Decimal
from importlib import resources
from typing import Any

import numpy as np

from crypto_tracker.core.bars import Panel
from crypto_tracker.core.orders import ExitReason
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import to_ms
from crypto_tracker.desk.reports.candles import candles
from crypto_tracker.simulation.bands import Band
from crypto_tracker.simulation.report import Report

CHOSEN_CANDLES = 12_000  # of the symbol that was asked for
OTHER_CANDLES = 1_500
OTHER_SYMBOLS = 11


def page(found: Report, bands: Sequence[Band], panel: Panel, *, quote: str, chosen: Symbol | None) -> str:
    """The whole page as HTML.

    Parameters
    ----------
    found : the result to show
    bands : protections, drawn over the equity
    panel : base bars of the traded symbols, for candles
    quote : the currency of all amounts
    chosen : the symbol whose candles are shown first and finest; None for the one that traded most

    Raises
    ------
    UsageError
        Where `chosen` was not traded in the run.
    """
    symbols = _symbols(found, panel, chosen)
    data = plain(found)
    data["quote"] = quote
    data["words"] = json.loads(_template("figures.json"))
    data["bands"] = plain(list(bands))
    data["candles"] = [
        plain(candles(panel, symbol, OTHER_CANDLES if place else CHOSEN_CANDLES))
        for place, symbol in enumerate(symbols)
    ]
    island = json.dumps(data, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    title = f"Backtest {found.about.start:%Y-%m-%d} to {found.about.end:%Y-%m-%d}"
    parts = {
        "TITLE": title,
        "STYLE": _template("backtest.css"),
        "DATA": island,
        "PLOTLY": _plotly(),
        "SCRIPT": _template("backtest.js"),
    }
    rest, made = _template("backtest.html"), ""
    # Taken mark by mark, so that nothing within a part is ever read as a mark.
    for name, part in parts.items():
        before, mark, rest = rest.partition(f"%%{name}%%")
        if not mark:
            raise RuntimeError(f"the template of the page has no place for {name}")
        made += before + part
    return made + rest


def plain(value: Any) -> Any:
    """A value of a result as JSON has it: times in milliseconds, no NaN."""
    if is_dataclass(value) and not isinstance(value, Symbol | type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [plain(item) for item in (value.tolist() if isinstance(value, np.ndarray) else value)]
    return _scalar(value)


def _scalar(value: Any) -> Any:
    if isinstance(value, ExitReason):
        return value.code
    if isinstance(value, datetime):
        return to_ms(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, Symbol):
        return str(value)
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    return value


def _symbols(found: Report, panel: Panel, chosen: Symbol | None) -> list[Symbol]:
    """Those whose candles the page holds: the chosen one, then those that traded most."""
    counts = {group.name: group.n_trades + group.n_open for group in found.figures.by_symbol}
    ordered = sorted(panel.symbols, key=lambda symbol: (-counts.get(str(symbol), 0), str(symbol)))
    if chosen is not None:
        ordered = [chosen, *(symbol for symbol in ordered if symbol != chosen)]
    return ordered[: 1 + OTHER_SYMBOLS]


def _template(name: str) -> str:
    return resources.files(__package__).joinpath("templates", name).read_text(encoding="utf-8")


def _plotly() -> str:
    """The text of plotly.js, which the package brings with it."""
    from plotly.offline import get_plotlyjs  # noqa: PLC0415 - a large import, needed for pages alone

    text: str = get_plotlyjs()
    return text

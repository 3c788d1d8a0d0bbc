"""Equity curves as pages show them, of accounts and of recorded runs alike."""

from typing import Protocol

from crypto_tracker.app.serving.equity_levels import Curve
from crypto_tracker.core.money import QUOTE_SCALE
from crypto_tracker.desk.views import accounts as views


class Equity(Protocol):
    """The equity of a book since its start; amounts in 1e-8 quote."""

    @property
    def capital_e8(self) -> int:
        """What it began with."""
        ...

    @property
    def max_drawdown(self) -> float:
        """The deepest fall from the highest point until then, a fraction."""
        ...

    @property
    def bar_ms(self) -> int:
        """The finest stretch that it has."""
        ...

    def curve(self, points: int, start_ms: int | None = None, end_ms: int | None = None) -> Curve | None:
        """The equity of bars that open in [start_ms, end_ms), in at most `points` stretches."""
        ...

    def peak_before(self, start_ms: int | None) -> int:
        """The highest equity before a time, the capital included."""
        ...


def curve_view(
    account: str,
    equity: Equity,
    points: int,
    start_ms: int | None,
    end_ms: int | None,
    *,
    empty: str,
    note: str | None = None,
    marked: bool = True,
) -> views.EquityCurve:
    """The equity of a span in at most so many stretches; `empty` says why there are none."""
    curve = equity.curve(points, start_ms, end_ms)
    return views.EquityCurve(
        account=account,
        capital_quote=equity.capital_e8 / QUOTE_SCALE,
        resolution_ms=equity.bar_ms if curve is None else curve.resolution_ms,
        time_ms=[] if curve is None else curve.close_ms.tolist(),
        equity_quote=[] if curve is None else (curve.rows.equity_e8 / QUOTE_SCALE).tolist(),
        low_quote=[] if curve is None else (curve.rows.low_e8 / QUOTE_SCALE).tolist(),
        high_quote=[] if curve is None else (curve.rows.high_e8 / QUOTE_SCALE).tolist(),
        drawdown=[] if curve is None else curve.drawdown.tolist(),
        peak_before_quote=equity.peak_before(start_ms) / QUOTE_SCALE,
        max_drawdown=equity.max_drawdown,
        marked=marked,
        note=empty if curve is None else note,
    )

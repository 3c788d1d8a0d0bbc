"""The bars and entries that all engines get: random walks with width, drawn from one seed."""

from datetime import UTC, datetime

import numpy as np

from peers.protocol import MINUTE_MS, Bars

MINUTES_OF_DAY = 1440
START_MS = int(datetime(2024, 1, 1, tzinfo=UTC).timestamp()) * 1000
WILD = 0.002  # share of the bars that move ten times as much: target and stop meet in one bar now and then
GAPS = 0.1  # share of the bars that do not open at the last close
SIGNAL_MINUTES = 5  # entries are decided at the closes of such bars
# Prices have this many decimals, which every engine can hold exactly enough.
DECIMALS = 8


def drawn_bars(*, symbols: int, days: int, spacing_minutes: int, seed: int = 1) -> Bars:
    """Minutes of random walks, and entries that are more than `spacing_minutes` apart within a symbol."""
    rng = np.random.default_rng(seed)
    rows = days * MINUTES_OF_DAY
    shape = (rows, symbols)
    scale = np.where(rng.random(shape) < WILD, 10.0, 1.0)
    gap = rng.normal(0.0, 0.0003, shape) * scale * (rng.random(shape) < GAPS)
    move = rng.normal(0.0, 0.001, shape) * scale
    gap[0] = 0.0
    path = np.cumsum(gap + move, axis=0)
    close = (100.0 * np.exp(path)).round(DECIMALS)
    opened = (100.0 * np.exp(path - move)).round(DECIMALS)
    above, below = np.abs(rng.normal(0.0, 0.0005, (2, *shape))) * scale
    signal_row, signal_symbol = _spaced(rng, rows, symbols, spacing_minutes)
    return Bars(
        open_time_ms=START_MS + np.arange(rows, dtype=np.int64) * MINUTE_MS,
        open=opened,
        high=(np.maximum(opened, close) * (1.0 + above)).round(DECIMALS),
        low=(np.minimum(opened, close) * (1.0 - below)).round(DECIMALS),
        close=close,
        volume=rng.lognormal(8.0, 1.0, shape).round(2),
        signal_row=signal_row,
        signal_symbol=signal_symbol,
    )


def crowded_entries(bars: Bars, *, every_minutes: int, seed: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Rows and symbols of entries that come whether or not a position is held, in order of time."""
    rows, symbols = bars.close.shape
    return _spaced(np.random.default_rng(seed), rows, symbols, every_minutes)


def _spaced(
    rng: np.random.Generator, rows: int, symbols: int, spacing_minutes: int
) -> tuple[np.ndarray, np.ndarray]:
    """Rows and symbols of entries, in order of time."""
    at, of = [], []
    for symbol in range(symbols):
        drawn = rng.exponential(spacing_minutes / 3.0, rows // spacing_minutes + 1)
        waits = spacing_minutes + 2 * SIGNAL_MINUTES + drawn
        own = np.cumsum(waits.astype(np.int64)) - spacing_minutes
        own = own // SIGNAL_MINUTES * SIGNAL_MINUTES + SIGNAL_MINUTES - 1
        own = own[own < rows - 1]
        at.append(own)
        of.append(np.full(len(own), symbol))
    row, symbol_of = np.concatenate(at), np.concatenate(of)
    order = np.lexsort((symbol_of, row))
    return row[order].astype(np.int64), symbol_of[order].astype(np.int64)

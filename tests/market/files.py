"""Makes small files in the forms in which other programs leave them."""

import gzip
import io
import json
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl

from crypto_tracker.core.timeframes import to_ms

START_MS = to_ms(datetime(2025, 3, 1, 12, tzinfo=UTC))
Row = tuple[int, float, float, float, float, float]


def rows(count: int = 5, *, step_ms: int = 60_000, start_ms: int = START_MS) -> list[Row]:
    """Bars whose close is 100, 101, 102, ... and whose volume counts from 1."""
    return [
        (start_ms + step_ms * i, 100.0 + i, 101.5 + i, 99.0 + i, 100.0 + i, 1.0 + i) for i in range(count)
    ]


def frame(bars: list[Row], time_name: str = "date") -> pl.DataFrame:
    names = (time_name, "open", "high", "low", "close", "volume")
    columns = dict(zip(names, map(list, zip(*bars, strict=True)), strict=True))
    return pl.DataFrame(columns).with_columns(pl.col(time_name).cast(pl.Datetime("ms", "UTC")))


def freqtrade_feather(path: Path, bars: list[Row]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    frame(bars).write_ipc(path, compression="lz4")
    return path


def freqtrade_parquet(path: Path, bars: list[Row]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    frame(bars).write_parquet(path)
    return path


def freqtrade_json(path: Path, bars: list[Row]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    content = json.dumps([list(row) for row in bars]).encode()
    path.write_bytes(gzip.compress(content) if path.name.endswith(".gz") else content)
    return path


BINANCE_HEADER = (
    "open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,"
    "taker_buy_quote_volume,ignore"
)


def binance_text(bars: list[Row], *, unit: int = 1_000, header: bool = False) -> str:
    """Klines; `unit` is 1 for milliseconds, 1,000 for the microseconds that Binance writes since 2025.

    The quote volume makes a VWAP of close + 0.25; each bar has 7 trades.
    """
    lines = [BINANCE_HEADER] if header else []
    for time, open_, high, low, close, volume in bars:
        end = (time + 60_000) * unit - 1
        lines.append(
            f"{time * unit},{open_:.8f},{high:.8f},{low:.8f},{close:.8f},{volume:.8f},{end},"
            f"{volume * (close + 0.25):.8f},7,0.1,10.0,0"
        )
    return "\n".join(lines) + "\n"


def zipped(path: Path, members: dict[str, str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    path.write_bytes(buffer.getvalue())
    return path


def kraken_text(bars: list[Row]) -> str:
    """OHLCVT: seconds, no header, the count of trades last."""
    return "".join(f"{row[0] // 1000},{row[1]},{row[2]},{row[3]},{row[4]},{row[5]},4\n" for row in bars)


def written(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def plain_text(bars: list[Row], *, header: str = "time,open,high,low,close,volume") -> str:
    return header + "\n" + "".join(",".join(str(value) for value in row) + "\n" for row in bars)


def damaged(path: Path, content: bytes, *, seed: int) -> Path:
    """The content with a few bytes changed."""
    changed = bytearray(content)
    rng = np.random.default_rng(seed)
    for position in rng.integers(0, len(changed), 8):
        changed[position] ^= int(rng.integers(1, 256))
    path.write_bytes(bytes(changed))
    return path

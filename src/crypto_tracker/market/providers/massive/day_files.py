"""Massive's day files: all minutes of all pairs of one day in one compressed table."""

import asyncio
import gzip
import io
import zlib
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np
import polars as pl
from pydantic import SecretStr

from crypto_tracker.config.market_data import Fetching, Massive
from crypto_tracker.core.errors import NotEntitled, ProviderUnavailable, UsageError
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import DAY_MS, MINUTE_MS, from_ms
from crypto_tracker.core.validate import MISSING_TIME_MS
from crypto_tracker.market.providers.base import FetchedBars, RawBar
from crypto_tracker.market.providers.massive.pairs import symbol_of
from crypto_tracker.net.retry import Transient, repeat
from crypto_tracker.store.batch import BarBatch

if TYPE_CHECKING:
    from pyarrow.fs import S3FileSystem

KEY_VARIABLES = "MASSIVE_S3_ACCESS_KEY and MASSIVE_S3_SECRET_KEY"

_BUCKET = "flatfiles"
_FOLDER = "global_crypto/minute_aggs_v1"
_NUMBERS = ("open", "high", "low", "close", "volume", "transactions")
_COLUMNS = ("ticker", "window_start", *_NUMBERS)
_NS_PER_MS = 1_000_000


class DayFileMissing(ProviderUnavailable):
    """There is no file of a day: it appears on the next day, and old days may have none."""


class DayFiles:
    """Reads day files.

    Parameters
    ----------
    settings : where they are
    access_key, secret_key : the pair of keys of the account's flat files; they appear in no text
    fetching : how often a file is tried
    now_ms : the present moment, to say whether a missing file may still come
    """

    def __init__(
        self,
        settings: Massive,
        access_key: SecretStr,
        secret_key: SecretStr,
        *,
        fetching: Fetching,
        now_ms: Callable[[], int],
    ) -> None:
        self._url = settings.files_url
        self._keys = access_key, secret_key
        self._fetching = fetching
        self._now_ms = now_ms
        self._opened: S3FileSystem | None = None

    async def fetch_day(
        self, day_ms: int, symbols: Collection[Symbol] | None = None
    ) -> Mapping[Symbol, FetchedBars]:
        """The minutes of the UTC day that starts at `day_ms`, of every pair in its file that has a symbol.

        With `symbols` only theirs. A symbol that is not in the file was not traded on that day, or not
        listed: the file does not tell which.

        Raises DayFileMissing where there is no file of the day, NotEntitled where the keys are not given
        it, ProviderUnavailable when all attempts have failed.
        """
        if day_ms % DAY_MS:
            raise UsageError(
                f"{from_ms(day_ms).isoformat()} is no start of a UTC day: day files hold whole days"
            )

        async def once() -> dict[Symbol, FetchedBars]:
            return await asyncio.to_thread(self._read, day_ms, symbols)

        return await repeat(once, self._fetching)

    def _read(self, day_ms: int, symbols: Collection[Symbol] | None) -> dict[Symbol, FetchedBars]:
        date = from_ms(day_ms).date()
        path = f"{_BUCKET}/{_FOLDER}/{date:%Y/%m}/{date.isoformat()}.csv.gz"
        try:
            with self._files().open_input_file(path) as file:
                packed = file.read()
        except FileNotFoundError:
            raise DayFileMissing(self._missing(day_ms)) from None
        except OSError as error:
            raise self._failure(date.isoformat(), error) from None
        try:
            table = _table(gzip.decompress(packed))
        except (OSError, EOFError, zlib.error, pl.exceptions.PolarsError) as error:
            raise Transient(f"the day file of {date} cannot be read ({error})") from None
        return _by_symbol(table, day_ms, symbols)

    def _files(self) -> "S3FileSystem":
        if self._opened is None:
            from pyarrow.fs import AwsStandardS3RetryStrategy, S3FileSystem  # noqa: PLC0415 - loads the S3 library

            parts = urlsplit(self._url)
            self._opened = S3FileSystem(
                access_key=self._keys[0].get_secret_value(),
                secret_key=self._keys[1].get_secret_value(),
                endpoint_override=parts.netloc,
                scheme=parts.scheme,
                region="us-east-1",  # else the library asks the machine it runs on
                connect_timeout=self._fetching.timeout_seconds,
                request_timeout=self._fetching.timeout_seconds,
                retry_strategy=AwsStandardS3RetryStrategy(max_attempts=1),  # `net` repeats
            )
        return self._opened

    def _missing(self, day_ms: int) -> str:
        date = from_ms(day_ms).date().isoformat()
        if self._now_ms() < day_ms + 3 * DAY_MS:
            return (
                f"massive has no day file of {date} yet: it appears about 11:00 in New York on the next day; "
                "fetch it by request until then"
            )
        return f"massive has no day file of {date}: fetch that day by request"

    def _failure(self, date: str, error: OSError) -> Exception:
        text = " ".join(str(error).split())
        for key in self._keys:
            text = text.replace(key.get_secret_value(), "***")
        refusals = ("ACCESS_DENIED", "INVALID_ACCESS_KEY_ID", "SIGNATURE_DOES_NOT_MATCH", "HTTP status 401")
        if isinstance(error, PermissionError) or any(word in text for word in refusals):
            return NotEntitled(
                f"massive does not give the day file of {date} to the keys in {KEY_VARIABLES}: check them, "
                "and whether the plan has flat files; without them fetch by request"
            )
        return Transient(f"the day file of {date} did not come ({text})")


def _table(content: bytes) -> pl.DataFrame:
    """The rows of a file, every field as it stands there."""
    table = pl.read_csv(io.BytesIO(content), infer_schema=False)
    absent = [name for name in _COLUMNS if name not in table.columns]
    if absent:
        raise Transient(f"massive sent a day file without the columns {', '.join(absent)}")
    return table


def _by_symbol(
    table: pl.DataFrame, day_ms: int, symbols: Collection[Symbol] | None
) -> dict[Symbol, FetchedBars]:
    covered = _covered(table, day_ms)
    wanted = None if symbols is None else set(symbols)
    found = {}
    for (ticker,), rows in table.partition_by("ticker", as_dict=True, maintain_order=True).items():
        symbol = None if ticker is None else symbol_of(ticker)
        if symbol is None or (wanted is not None and symbol not in wanted):
            continue
        found[symbol] = FetchedBars(bars=_batch(rows), covered=(covered,), raw=_raw(rows))
    return found


def _covered(table: pl.DataFrame, day_ms: int) -> tuple[int, int]:
    """The day; or, should the provider cut its days elsewhere, what all minutes of the file span."""
    times = _times_ms(table)
    times = times[times != MISSING_TIME_MS]
    if not len(times) or (times.min() >= day_ms and times.max() < day_ms + DAY_MS):
        return day_ms, day_ms + DAY_MS
    first, last = int(times.min()), int(times.max())
    return -(-first // MINUTE_MS) * MINUTE_MS, last // MINUTE_MS * MINUTE_MS + MINUTE_MS


def _times_ms(rows: pl.DataFrame) -> np.ndarray[Any, np.dtype[np.int64]]:
    starts = rows["window_start"].cast(pl.Int64, strict=False)
    exact = pl.select(
        pl.when(starts % _NS_PER_MS == 0)
        .then(starts // _NS_PER_MS)
        .otherwise(None)
        .fill_null(MISSING_TIME_MS)
    )
    return exact.to_series().to_numpy()


def _batch(rows: pl.DataFrame) -> BarBatch:
    open_, high, low, close, volume, transactions = (
        rows[name].cast(pl.Float64, strict=False).fill_null(np.nan).to_numpy() for name in _NUMBERS
    )
    return BarBatch(
        open_time_ms=_times_ms(rows),
        open=open_,
        high=high,
        low=low,
        close=close,
        volume=volume,
        n_trades=transactions,
    )


def _raw(rows: pl.DataFrame) -> RawBar:
    return lambda index: rows.row(index, named=True)

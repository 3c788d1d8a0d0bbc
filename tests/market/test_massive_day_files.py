import asyncio
import gzip
import logging
import traceback
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow.fs
import pytest
from pydantic import SecretStr

from crypto_tracker.core.errors import NotEntitled, ProviderUnavailable, UsageError
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import DAY_MS, HOUR_MS, MINUTE_MS
from crypto_tracker.core.validate import MISSING_TIME_MS
from crypto_tracker.market.providers.base import FetchedBars
from crypto_tracker.market.providers.massive.day_files import DayFileMissing, DayFiles
from tests.market.massive_market import BTC, ETH, START, TETHER, settings, small_market
from tests.net.patience import quick
from tests.servers.massive_rest import day_file
from tests.servers.s3 import S3, s3

MARKET = small_market()
DAY = START + DAY_MS
KEY = "global_crypto/minute_aggs_v1/2024/01/2024-01-02.csv.gz"
ACCESS, SECRET, OTHER_ACCESS = "an-access-key-0123456789", "a-secret-key-0123456789", "another-access-key"


def packed(text: str) -> bytes:
    return gzip.compress(text.encode(), mtime=0)


def files(text: str | None = None) -> dict[str, bytes]:
    return {KEY: packed(day_file(MARKET, DAY) if text is None else text)}


def fetch(
    server: S3,
    day_ms: int = DAY,
    *,
    now_ms: int = DAY + 2 * DAY_MS,
    symbols: Any = None,
    access: str = ACCESS,
) -> Mapping[Symbol, FetchedBars]:
    source = DayFiles(
        settings(server.url),
        SecretStr(access),
        SecretStr(SECRET),
        fetching=quick(attempts=3),
        now_ms=lambda: now_ms,
    )
    return asyncio.run(source.fetch_day(day_ms, symbols))


def test_a_day_file_holds_the_minutes_of_every_pair_exactly():
    with s3(files(), access_key=ACCESS) as server:
        fetched = fetch(server)
    assert set(fetched) == {BTC, ETH, TETHER}
    for symbol, answer in fetched.items():
        source = MARKET[symbol]
        rows = (source.open_time_ms >= DAY) & (source.open_time_ms < DAY + DAY_MS)
        np.testing.assert_array_equal(answer.bars.open_time_ms, source.open_time_ms[rows])
        for name in ("open", "high", "low", "close", "volume", "n_trades"):
            np.testing.assert_array_equal(getattr(answer.bars, name), getattr(source, name)[rows])
        assert answer.bars.vwap is None
        assert (answer.covered, answer.lacking) == (((DAY, DAY + DAY_MS),), ())


def test_only_the_symbols_that_are_wanted_are_given_and_foreign_pairs_are_left_out():
    text = day_file(MARKET, DAY) + f"X:$WEIRD-USD,1,2,2,2,2,{DAY}000000,1\n,1,2,2,2,2,{DAY}000000,1\n"
    with s3(files(text)) as server:
        assert set(fetch(server)) == {BTC, ETH, TETHER}
        assert set(fetch(server, symbols=[BTC, Symbol.parse("NOPE/USD")])) == {BTC}


def test_a_day_that_is_not_there_yet_is_said():
    with s3({}) as server:
        with pytest.raises(DayFileMissing) as early:
            fetch(server, now_ms=DAY + DAY_MS + HOUR_MS)
        with pytest.raises(DayFileMissing) as late:
            fetch(server, now_ms=DAY + 100 * DAY_MS)
        asked = [path for method, path in server.requests]
    assert str(early.value) == (
        "massive has no day file of 2024-01-02 yet: it appears about 11:00 in New York on the next day; "
        "fetch it by request until then"
    )
    assert str(late.value) == "massive has no day file of 2024-01-02: fetch that day by request"
    assert asked == [f"/flatfiles/{KEY}"] * 2  # a file that is not there is not asked for again and again


def test_a_time_within_a_day_is_refused():
    with (
        s3({}) as server,
        pytest.raises(UsageError, match=r"2024-01-02T00:01:00\S* is no start of a UTC day"),
    ):
        fetch(server, DAY + MINUTE_MS)


@pytest.mark.parametrize("fault", ["503", "broken", "truncated"])
def test_a_file_that_does_not_come_whole_is_fetched_again(fault):
    with s3(files(), faults=[fault]) as server:
        fetched = fetch(server)
        assert sum(method == "GET" for method, _ in server.requests) == 2
    assert len(fetched[BTC].bars) == 1440


@pytest.mark.parametrize(
    ("fault", "clause"),
    [
        ("503", "the day file of 2024-01-02 did not come"),
        ("broken", "the day file of 2024-01-02 did not come"),
        ("truncated", "the day file of 2024-01-02 cannot be read"),
    ],
)
def test_a_file_that_never_comes_whole_is_said(fault, clause):
    with s3(files(), faults=[fault] * 9) as server, pytest.raises(ProviderUnavailable) as caught:
        fetch(server)
    assert str(caught.value).startswith(clause)
    assert "all 3 attempts failed, try again later" in str(caught.value)


def test_a_file_with_other_columns_is_none():
    with s3(files("ticker,price\nX:BTC-USD,1\n")) as server, pytest.raises(ProviderUnavailable) as caught:
        fetch(server)
    assert "without the columns window_start, open, high, low, close, volume, transactions" in str(
        caught.value
    )


def test_a_wrong_key_is_said_with_the_variables_and_without_the_key(caplog, capfd):
    caplog.set_level(logging.DEBUG)
    with s3(files(), access_key=ACCESS) as server, pytest.raises(NotEntitled) as caught:
        fetch(server, access=OTHER_ACCESS)
    assert str(caught.value) == (
        "massive does not give the day file of 2024-01-02 to the keys in MASSIVE_S3_ACCESS_KEY and "
        "MASSIVE_S3_SECRET_KEY: check them, and whether the plan has flat files; without them fetch by request"
    )
    printed = capfd.readouterr()
    text = "".join(traceback.format_exception(caught.value)) + caplog.text + printed.out + printed.err
    assert SECRET not in text
    assert OTHER_ACCESS not in text


def test_fields_that_are_no_number_are_missing_and_kept_as_they_came():
    text = (
        "ticker,volume,open,close,high,low,window_start,transactions\n"
        f"X:BTC-USD,,100,101,102,99,{DAY}000000,\n"
        f"X:BTC-USD,1.5,n/a,NaN,102,99,{DAY + MINUTE_MS}000000,3\n"
        f"X:BTC-USD,1.5,100,101,102,99,{DAY + 2 * MINUTE_MS}000001,3\n"
        "X:BTC-USD,1.5,100,101,102,99,soon,3\n"
    )
    with s3(files(text)) as server:
        bars, raw = fetch(server)[BTC].bars, fetch(server)[BTC].raw
    assert bars.open_time_ms.tolist() == [DAY, DAY + MINUTE_MS, MISSING_TIME_MS, MISSING_TIME_MS]
    np.testing.assert_array_equal(bars.volume, [np.nan, 1.5, 1.5, 1.5])
    np.testing.assert_array_equal(bars.open, [100.0, np.nan, 100.0, 100.0])
    np.testing.assert_array_equal(bars.close, [101.0, np.nan, 101.0, 101.0])
    np.testing.assert_array_equal(bars.n_trades, [np.nan, 3.0, 3.0, 3.0])
    assert raw is not None
    assert (raw(1)["open"], raw(3)["window_start"]) == ("n/a", "soon")


def test_days_that_are_cut_elsewhere_cover_what_their_minutes_span():
    text = "ticker,volume,open,close,high,low,window_start,transactions\n" + "".join(
        f"X:{pair},1,100,100,100,100,{DAY + 5 * HOUR_MS + minute * MINUTE_MS}000000,1\n"
        for pair, minute in (("BTC-USD", 0), ("BTC-USD", 1439), ("ETH-USD", 7))
    )
    with s3(files(text)) as server:
        fetched = fetch(server)
    span = (DAY + 5 * HOUR_MS, DAY + DAY_MS + 5 * HOUR_MS)
    assert {answer.covered for answer in fetched.values()} == {(span,)}


def test_the_local_server_lists_and_reads_parts_as_the_library_expects():
    with s3({"a/b/one.txt": b"0123456789", "a/two.txt": b"", "other": b"x"}, bucket="things") as server:
        system = pyarrow.fs.S3FileSystem(
            access_key=ACCESS,
            secret_key=SECRET,
            endpoint_override=server.url.removeprefix("http://"),
            scheme="http",
            region="us-east-1",
        )
        found = system.get_file_info(pyarrow.fs.FileSelector("things/a", recursive=True))
        assert {(each.path, each.size) for each in found if each.is_file} == {
            ("things/a/b/one.txt", 10),
            ("things/a/two.txt", 0),
        }
        with system.open_input_file("things/a/b/one.txt") as file:
            assert file.read_at(4, 3) == b"3456"
        with pytest.raises(FileNotFoundError):
            system.open_input_file("things/none")

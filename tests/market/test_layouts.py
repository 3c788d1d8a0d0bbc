"""Every layout ends as the same bars."""

import numpy as np
import polars as pl
import pytest

from crypto_tracker.core.errors import DataError
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import Timeframe
from crypto_tracker.core.validate import MISSING_TIME_MS
from crypto_tracker.market.providers.files.parse import FileOptions, ParsedFile, parse_file
from crypto_tracker.market.providers.files.sources import BarFile, PassedOver, find_files
from crypto_tracker.market.providers.files.tables import Layout, NotBarsError
from tests.market import files
from tests.market.files import START_MS


def parsed(path, **options) -> ParsedFile:
    (file,) = list(find_files(path))
    assert isinstance(file, BarFile)
    return parse_file(file, file.content(), FileOptions(**options))


def identity(found: ParsedFile) -> tuple[str, str, str, str]:
    return found.layout.value, found.provider, str(found.symbol), str(found.timeframe)


def assert_bars(found: ParsedFile, bars: list[files.Row]) -> None:
    expected = list(zip(*bars, strict=True))
    assert found.bars.open_time_ms.tolist() == list(expected[0])
    for name, values in zip(("open", "high", "low", "close", "volume"), expected[1:], strict=True):
        np.testing.assert_array_equal(getattr(found.bars, name), values, err_msg=name)


def test_freqtrade_feather(tmp_path):
    bars = files.rows()
    path = files.freqtrade_feather(tmp_path / "binance" / "BTC_USDT-1m.feather", bars)
    found = parsed(path)
    assert identity(found) == ("freqtrade", "binance", "BTC/USDT", "1m")
    assert_bars(found, bars)


def test_freqtrade_feather_of_a_perpetual(tmp_path):
    path = files.freqtrade_feather(
        tmp_path / "okx" / "futures" / "BTC_USDT_USDT-1h-futures.feather", files.rows(step_ms=3_600_000)
    )
    assert identity(parsed(path)) == ("freqtrade", "okx", "BTC/USDT:USDT", "1h")


def test_freqtrade_parquet(tmp_path):
    bars = files.rows()
    found = parsed(files.freqtrade_parquet(tmp_path / "BTC_USDT-1m.parquet", bars))
    assert identity(found) == ("freqtrade", "file", "BTC/USDT", "1m")
    assert_bars(found, bars)


@pytest.mark.parametrize("ending", ["json", "json.gz"])
def test_freqtrade_json(tmp_path, ending):
    bars = files.rows()
    found = parsed(files.freqtrade_json(tmp_path / f"BTC_USDT-1m.{ending}", bars))
    assert identity(found) == ("freqtrade", "file", "BTC/USDT", "1m")
    assert_bars(found, bars)


def test_a_value_that_freqtrade_does_not_know_is_missing(tmp_path):
    row = [START_MS, 100.0, None, 99.0, 100.0, 1.0]
    path = files.written(tmp_path / "BTC_USDT-1m.json", str([row, row]).replace("None", "null"))
    assert np.isnan(parsed(path).bars.high).all()


@pytest.mark.parametrize("header", [False, True])
@pytest.mark.parametrize("unit", [1, 1_000])
def test_binance_klines(tmp_path, header, unit):
    bars = files.rows()
    path = files.written(
        tmp_path / "BTCUSDT-1m-2025-03.csv", files.binance_text(bars, unit=unit, header=header)
    )
    found = parsed(path)
    assert identity(found) == ("binance", "binance", "BTC/USDT", "1m")
    assert_bars(found, bars)
    np.testing.assert_allclose(found.bars.vwap, [row[4] + 0.25 for row in bars])
    assert found.bars.n_trades.tolist() == [7.0] * 5
    assert found.bars.line.tolist() == [2, 3, 4, 5, 6] if header else [1, 2, 3, 4, 5]


def test_a_minute_without_trades_has_no_vwap(tmp_path):
    text = files.binance_text([(START_MS, 100.0, 100.0, 100.0, 100.0, 0.0)] * 2)
    found = parsed(files.written(tmp_path / "BTCUSDT-1m-2025-03.csv", text))
    assert np.isnan(found.bars.vwap).all()


def test_binance_klines_in_a_zip(tmp_path):
    bars = files.rows()
    path = files.zipped(
        tmp_path / "futures" / "um" / "BTCUSDT-1m-2025-03.zip",
        {"BTCUSDT-1m-2025-03.csv": files.binance_text(bars)},
    )
    found = parsed(path)
    assert identity(found) == ("binance", "binance", "BTC/USDT:USDT", "1m")
    assert_bars(found, bars)


def test_kraken_ohlcvt(tmp_path):
    bars = files.rows(step_ms=3_600_000)
    found = parsed(files.written(tmp_path / "XXBTZUSD_60.csv", files.kraken_text(bars)))
    assert identity(found) == ("kraken", "kraken", "BTC/USD", "1h")
    assert_bars(found, bars)
    assert found.bars.n_trades.tolist() == [4.0] * 5


def test_all_of_kraken_in_one_zip(tmp_path):
    path = files.zipped(
        tmp_path / "Kraken_OHLCVT.zip",
        {
            "XBTUSD_1.csv": files.kraken_text(files.rows()),
            "XDGUSD_1.csv": files.kraken_text(files.rows()),
            "a.txt": "x",
        },
    )
    found = list(find_files(path))
    symbols = [
        str(parse_file(file, file.content(), FileOptions()).symbol)
        for file in found
        if isinstance(file, BarFile)
    ]
    assert symbols == ["BTC/USD", "DOGE/USD"]
    assert [file.reason for file in found if isinstance(file, PassedOver)] == ["no file of bars by its name"]


@pytest.mark.parametrize(
    "name", ["ts", "time", "timestamp", "date", "open_time", "datetime", "Time", "Timestamp"]
)
def test_plain_text_with_any_usual_name_for_the_time(tmp_path, name):
    bars = files.rows()
    header = f"{name},Open,High,Low,Close,Volume"
    found = parsed(files.written(tmp_path / "1m" / "BTC-USD.csv", files.plain_text(bars, header=header)))
    assert identity(found) == ("plain", "file", "BTC/USD", "1m")
    assert_bars(found, bars)


@pytest.mark.parametrize("separator", [";", "\t", "|"])
def test_plain_text_with_other_separators(tmp_path, separator):
    text = files.plain_text(files.rows()).replace(",", separator)
    assert_bars(parsed(files.written(tmp_path / "BTC-USD-1m.csv", text)), files.rows())


def test_plain_text_with_windows_habits(tmp_path):
    text = "\ufeff" + files.plain_text(files.rows()).replace("\n", "\r\n")
    assert_bars(parsed(files.written(tmp_path / "BTC-USD-1m.csv", text)), files.rows())


def test_plain_parquet_with_vwap_and_trades(tmp_path):
    bars = files.rows()
    table = files.frame(bars, "ts").with_columns(pl.lit(100.5).alias("vwap"), pl.lit(9).alias("trades"))
    table.write_parquet(tmp_path / "SUIUSDT.parquet")
    found = parsed(tmp_path / "SUIUSDT.parquet")
    assert identity(found) == (
        "plain",
        "file",
        "SUI/USDT",
        "1m",
    )  # the timeframe from the spacing of the rows
    assert_bars(found, bars)
    assert (found.bars.vwap.tolist(), found.bars.n_trades.tolist()) == ([100.5] * 5, [9.0] * 5)


def test_columns_can_tell_whose_bars_they_are(tmp_path):
    header = "time,open,high,low,close,volume,exchange,symbol,interval"
    rows = [(*row, "Kraken", "ETH/EUR", "1m") for row in files.rows()]
    found = parsed(files.written(tmp_path / "export.csv", files.plain_text(rows, header=header)))
    assert identity(found) == ("plain", "kraken", "ETH/EUR", "1m")


def test_options_are_stronger_than_names(tmp_path):
    path = files.written(tmp_path / "kraken" / "BTC-USD-1m.csv", files.plain_text(files.rows()))
    found = parsed(path, provider="bybit", symbol=Symbol.parse("X/Y:Y"), timeframe=Timeframe.M1)
    assert identity(found) == ("plain", "bybit", "X/Y:Y", "1m")


def test_the_layout_can_be_said(tmp_path):
    text = files.kraken_text(files.rows())
    found = parsed(files.written(tmp_path / "BTC-USD-1m.csv", text), layout=Layout.KRAKEN)
    assert identity(found) == ("kraken", "kraken", "BTC/USD", "1m")


def test_what_is_no_number_is_missing_and_its_text_is_kept(tmp_path):
    lines = files.plain_text(files.rows(3)).splitlines()
    lines[2] = f"{START_MS + 60_000},100,n/a,99,100,1"
    lines.insert(3, "yesterday,1,2,1,2,1")
    lines.append(f"{START_MS + 240_000},104")  # the file was cut off here
    found = parsed(files.written(tmp_path / "BTC-USD-1m.csv", "\n".join(lines) + "\n"))
    assert np.isnan(found.bars.high).tolist() == [False, True, False, False, True]
    assert found.bars.open_time_ms[2] == MISSING_TIME_MS
    assert found.bars.line.tolist() == [2, 3, 4, 5, 6]
    assert found.raw(1)["high"] == "n/a"
    assert found.raw(2)["time"] == "yesterday"


def test_a_file_without_volume_is_read_and_says_so(tmp_path):
    text = "time,open,high,low,close\n" + "".join(f"{START_MS + 60_000 * i},1,1,1,1\n" for i in range(3))
    found = parsed(files.written(tmp_path / "BTC-USD-1m.csv", text))
    assert np.isnan(found.bars.volume).all()
    assert found.notes == ("no column of volume: it counts as unknown",)


def test_an_empty_volume_is_unknown_and_never_zero(tmp_path):
    text = f"time,open,high,low,close,volume\n{START_MS},1,1,1,1,\n{START_MS + 60_000},1,1,1,1,0\n"
    volume = parsed(files.written(tmp_path / "BTC-USD-1m.csv", text)).bars.volume
    assert np.isnan(volume[0])
    assert volume[1] == 0


def test_a_name_that_the_rows_contradict_is_refused(tmp_path):
    path = files.written(tmp_path / "BTC-USD-1m.csv", files.plain_text(files.rows(30, step_ms=900_000)))
    with pytest.raises(DataError, match="all 30 rows lie on the 15m grid"):
        parsed(path)


def test_sparse_minutes_are_still_minutes(tmp_path):
    sparse = [row for index, row in enumerate(files.rows(200)) if index % 7 in {0, 3}]
    assert (
        parsed(files.written(tmp_path / "XDGEUR_1.csv", files.kraken_text(sparse))).timeframe is Timeframe.M1
    )


@pytest.mark.parametrize(
    ("name", "text", "error", "reason"),
    [
        ("BTC-USD-1m.csv", "", DataError, "empty"),
        ("BTC-USD-1m.csv", "hello world\n", NotBarsError, "line 1: 1 columns are too few"),
        ("BTC-USD-1m.csv", "time,open,high,low,close,volume\n", DataError, "no rows"),
        ("BTC-USD-1m.csv", "a,b,c,d,e,f\n1,2,3,4,5,6\n", NotBarsError, "no column of times"),
        ("BTC-USD-1m.csv", "time,open,high,low,last,volume\n1,2,3,4,5,6\n", NotBarsError, "no column close"),
        ("BTC-USD-1m.csv", "1740830400,1,1,1,1,1\n", NotBarsError, "6 columns without names"),
        ("BTC-USD-1m.json", "[[1, 2, 3", NotBarsError, None),
        ("BTC_USDT-1m.json", "[[1, 2, 3", DataError, "no intact JSON"),
        ("BTC_USDT-1m.json", '{"data": []}', NotBarsError, "freqtrade's form"),
        ("index.json", "[[1740830400000, 1, 1, 1, 1, 1]]", NotBarsError, "freqtrade's form"),
        ("BTC_USDT_USDT-1h-funding_rate.json", "[]", NotBarsError, "funding_rate"),
        ("SOLUSD_30.csv", "1740830400,1,1,1,1,1,1\n", NotBarsError, "30m"),
        ("prices.csv", "time,open,high,low,close,volume\n1740830400,1,1,1,1,1\n", DataError, "--timeframe"),
        (
            "1m.csv",
            "time,open,high,low,close,volume\n1740830400,1,1,1,1,1\n1740830460,1,1,1,1,1\n",
            DataError,
            "--symbol",
        ),
        ("BTC-USD-1m.parquet", "time,open\n", DataError, "damaged or not what its name says"),
        ("BTC-USD-1m.feather", "time,open\n", DataError, "damaged or not what its name says"),
        ("BTC-USD-1m.csv.gz", "time,open\n", DataError, "no intact gzip"),
    ],
)
def test_nonsense_is_refused_with_its_reason(tmp_path, name, text, error, reason):
    if reason is None:  # JSON of another name is not even looked at as bars
        error, reason = DataError, "JSON"
    with pytest.raises(error, match=reason):
        parsed(files.written(tmp_path / name, text))


def test_several_symbols_in_one_file_are_refused(tmp_path):
    header = "time,open,high,low,close,volume,symbol"
    rows = [(*row, symbol) for row in files.rows() for symbol in ("A/B", "C/D")]
    with pytest.raises(DataError, match="split the file by symbol"):
        parsed(files.written(tmp_path / "export-1m.csv", files.plain_text(rows, header=header)))


def test_a_column_of_the_wrong_kind_is_refused(tmp_path):
    files.frame(files.rows()).with_columns(pl.lit(value=True).alias("high")).write_parquet(
        tmp_path / "BTC-USD-1m.parquet"
    )
    with pytest.raises(NotBarsError, match="high holds Boolean"):
        parsed(tmp_path / "BTC-USD-1m.parquet")


@pytest.mark.parametrize("ending", ["parquet", "feather"])
def test_a_damaged_or_cut_off_file_never_ends_the_program(tmp_path, ending):
    write = files.freqtrade_parquet if ending == "parquet" else files.freqtrade_feather
    content = write(tmp_path / f"whole.{ending}", files.rows(300)).read_bytes()
    path = tmp_path / f"BTC_USDT-1m.{ending}"
    refused = 0
    for seed in range(60):
        files.damaged(path, content if seed else content[: len(content) // 2], seed=seed)
        try:
            parsed(path)
        except DataError:
            refused += 1
    assert refused > 10


def test_a_broken_archive_is_said_to_be_broken(tmp_path):
    (found,) = find_files(files.written(tmp_path / "BTCUSDT-1m-2025-03.zip", "PK and no more"))
    assert isinstance(found, PassedOver)
    assert found.broken

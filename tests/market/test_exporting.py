"""Bars as files: whole, exact, nothing invented, and imported again to the same bars."""

from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.feather as pyarrow_feather
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto_tracker.core.errors import DataError, UsageError
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import Timeframe
from crypto_tracker.market.exporting import (
    Exported,
    Format,
    Wanted,
    export,
    plan_export,
    refuse_to_overwrite,
    unknown_names,
)
from crypto_tracker.market.import_files import import_files, plan_import
from crypto_tracker.market.providers.files.parse import FileOptions
from crypto_tracker.store.bars import BarStore
from crypto_tracker.store.batch import BarBatch
from tests.store.shelf import (
    BTC,
    ETH,
    MINUTE,
    NAN,
    assert_same_bars,
    at,
    drawn,
    market_data,
    part,
    run_of_minutes,
    store,
)

PERPETUAL = Symbol("BTC", "USDT", "USDT")
FORMS = pytest.mark.parametrize("form", list(Format), ids=lambda form: form.value)


def exported(
    opened: BarStore,
    folder: Path,
    form: Format,
    *,
    timeframe: Timeframe | None = None,
    start_ms: int | None = None,
    end_ms: int | None = None,
) -> list[Exported]:
    wanted = plan_export(
        opened.reader.series(),
        provider=None,
        symbols=(),
        timeframe=timeframe,
        start_ms=start_ms,
        end_ms=end_ms,
    )
    return list(export(wanted, opened.reader, folder, form, watch=lambda _wanted, _rows: None))


def imported(home: Path, folder: Path, provider: str | None = None) -> None:
    with store(home) as opened:
        options = FileOptions(provider=provider)
        files = plan_import(folder)
        for outcome in import_files(
            files, opened, options, market_data().files, now_ms=at("2025-06-01 00:00")
        ):
            assert outcome.status == "imported", outcome.reason
            assert outcome.quarantined == 0


def newest_values(
    opened: BarStore, symbol: Symbol, timeframe: Timeframe, provider: str
) -> tuple[list[int], np.ndarray]:
    rows = opened.reader.rows(
        symbol, timeframe, at("2025-01-01 00:00"), at("2025-06-01 00:00"), provider=provider
    )
    return rows.newest().open_time_ms.tolist(), rows.newest().values


def full_bars(start: str, count: int) -> BarBatch:
    """Bars with odd numbers in every field; of some the volume or the count of trades is not known."""
    bars = run_of_minutes(start, count, price=0.1)
    volume = bars.volume / 3.0
    volume[::7] = NAN
    trades = np.arange(count, dtype=np.float64)
    trades[::5] = NAN
    return BarBatch(
        open_time_ms=bars.open_time_ms, open=bars.open, high=bars.high, low=bars.low, close=bars.close,
        volume=volume, vwap=bars.close * 1.0001, n_trades=trades,
    )  # fmt: skip


# ----------------------------------------------------------------------------------------------- round trips


@FORMS
def test_what_was_exported_is_imported_again_to_the_same_bars(tmp_path: Path, form: Format):
    span = at("2025-01-30 00:00"), at("2025-03-02 00:00")
    with store(tmp_path / "home") as opened:
        month = full_bars("2025-01-31 23:00", 29 * 1440)  # of three months: cold files and hot rows
        holes = np.ones(len(month), dtype=bool)
        holes[100:110] = False  # nobody traded
        for symbol in (BTC, PERPETUAL):
            kept = BarBatch(
                **{
                    name: getattr(month, name)[holes]
                    for name in ("open_time_ms", "open", "high", "low", "close", "volume", "vwap", "n_trades")
                }
            )
            whole = (int(month.open_time_ms[0]), int(month.open_time_ms[-1]) + MINUTE)
            opened.write("binance", symbol, Timeframe.M1, kept, [whole])
        opened.write("kraken", ETH, Timeframe.H1, run_of_minutes("2025-02-01 00:00", 30, step=60 * MINUTE))
        outcomes = exported(opened, tmp_path / "files", form)
        imported(tmp_path / "again", tmp_path / "files")
        with store(tmp_path / "again") as again:
            for symbol, timeframe, provider in (
                (BTC, Timeframe.M1, "binance"),
                (PERPETUAL, Timeframe.M1, "binance"),
                (ETH, Timeframe.H1, "kraken"),
            ):
                assert_same_bars(
                    again.reader.panel([symbol], timeframe, *span, provider=provider),
                    opened.reader.panel([symbol], timeframe, *span, provider=provider),
                )
                before, after = (newest_values(each, symbol, timeframe, provider) for each in (opened, again))
                assert before[0] == after[0]
                fields = 5 if form is Format.FEATHER else 7
                np.testing.assert_array_equal(before[1][:fields], after[1][:fields])
    assert [(str(each.wanted.symbol), each.rows, each.suspects) for each in outcomes] == [
        ("BTC/USDT", 29 * 1440 - 10, 0),
        ("BTC/USDT:USDT", 29 * 1440 - 10, 0),
        ("ETH/USDT", 30, 0),
    ]


@FORMS
@settings(max_examples=12, deadline=None)
@given(data=st.data())
def test_any_price_survives_to_the_last_bit(
    form: Format, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
):
    prices = data.draw(st.lists(st.floats(1e-12, 1e12, allow_subnormal=False), min_size=3, max_size=12))
    folder = tmp_path_factory.mktemp("bits")
    close = np.array(prices)
    bars = BarBatch(
        open_time_ms=at("2025-03-01 12:00") + 60 * MINUTE * np.arange(len(close), dtype=np.int64),
        open=close, high=close * 1.5, low=close / 3.0, close=close, volume=close / 7.0,
    )  # fmt: skip
    with store(folder / "home") as opened:
        opened.write("kraken", BTC, Timeframe.H1, bars)
        exported(opened, folder / "files", form)
        imported(folder / "again", folder / "files")
        with store(folder / "again") as again:
            before, after = (newest_values(each, BTC, Timeframe.H1, "kraken") for each in (opened, again))
    assert before[0] == after[0]
    np.testing.assert_array_equal(before[1], after[1])


@FORMS
@pytest.mark.parametrize("timeframe", [Timeframe.M5, Timeframe.H1, Timeframe.D1])
def test_coarser_bars_are_made_of_finer_ones_as_everywhere_else(
    tmp_path: Path, form: Format, timeframe: Timeframe
):
    span = at("2025-03-01 00:00"), at("2025-03-05 00:00")
    with store(tmp_path / "home") as opened:
        opened.write("kraken", BTC, Timeframe.M1, run_of_minutes("2025-03-01 00:30", 3 * 1440))
        [outcome] = exported(opened, tmp_path / "files", form, timeframe=timeframe)
        imported(tmp_path / "again", tmp_path / "files")
        expected = opened.reader.panel([BTC], timeframe, *span, provider="kraken")
        with store(tmp_path / "again") as again:
            found = again.reader.panel([BTC], timeframe, *span, provider="kraken")
    np.testing.assert_array_equal(found.close, expected.close)
    np.testing.assert_array_equal(found.volume, expected.volume)
    assert outcome.rows == int(expected.present.sum())
    assert outcome.rows == {Timeframe.M5: 864, Timeframe.H1: 71, Timeframe.D1: 2}[timeframe]


# -------------------------------------------------------------------------------------------- what is in them


def test_the_newest_revision_is_written_and_suspects_are_left_out(tmp_path: Path):
    with store(tmp_path / "home") as opened:
        opened.write(
            "kraken", BTC, Timeframe.M1, drawn("12:00 100\n12:01 101\n12:02 102\n12:03 250\n12:04 103")
        )
        opened.write("kraken", BTC, Timeframe.M1, drawn("12:01 100.5"))
        [outcome] = exported(opened, tmp_path, Format.CSV)
    lines = (tmp_path / "kraken" / "BTC_USDT-1m.csv").read_text().splitlines()
    assert lines == [
        "open_time,open,high,low,close,volume,vwap,n_trades",
        "2025-03-01T12:00:00Z,100.0,100.0,100.0,100.0,1.0,,",
        "2025-03-01T12:01:00Z,100.5,100.5,100.5,100.5,1.0,,",
        "2025-03-01T12:02:00Z,102.0,102.0,102.0,102.0,1.0,,",
        "2025-03-01T12:04:00Z,103.0,103.0,103.0,103.0,1.0,,",
    ]
    assert (outcome.rows, outcome.suspects) == (4, 1)
    assert (outcome.first_ms, outcome.last_ms) == (at("12:00"), at("12:04"))


def test_where_a_correction_is_suspect_the_value_before_it_is_written(tmp_path: Path):
    with store(tmp_path / "home") as opened:
        opened.write("kraken", BTC, Timeframe.M1, drawn("12:00 100\n12:01 101\n12:02 102\n12:03 103"))
        opened.write("kraken", BTC, Timeframe.M1, drawn("12:02 300"))
        [outcome] = exported(opened, tmp_path, Format.PARQUET)
    frame = pl.read_parquet(tmp_path / "kraken" / "BTC_USDT-1m.parquet")
    assert frame["close"].to_list() == [100.0, 101.0, 102.0, 103.0]
    assert outcome.suspects == 1


def test_parquet_has_times_in_utc_and_an_unknown_volume_is_null(tmp_path: Path):
    with store(tmp_path / "home") as opened:
        opened.write("kraken", BTC, Timeframe.M1, drawn("12:00 1 2 0.5 1.5 -"))
        exported(opened, tmp_path, Format.PARQUET)
    frame = pl.read_parquet(tmp_path / "kraken" / "BTC_USDT-1m.parquet")
    assert frame.schema["open_time"] == pl.Datetime("ms", "UTC")
    assert frame.columns == ["open_time", "open", "high", "low", "close", "volume", "vwap", "n_trades"]
    assert frame.drop("open_time").rows() == [(1.0, 2.0, 0.5, 1.5, None, None, None)]


def test_feather_is_what_freqtrade_reads(tmp_path: Path):
    with store(tmp_path / "home") as opened:
        for symbol in (BTC, PERPETUAL):
            opened.write("binance", symbol, Timeframe.M1, run_of_minutes("2025-02-28 23:00", 120))
        exported(opened, tmp_path, Format.FEATHER)
    spot = tmp_path / "binance" / "BTC_USDT-1m.feather"
    assert (tmp_path / "binance" / "futures" / "BTC_USDT_USDT-1m-futures.feather").is_file()
    table = pyarrow_feather.read_table(spot)  # as pandas.read_feather does, which freqtrade calls
    assert table.column_names == ["date", "open", "high", "low", "close", "volume"]
    assert table.schema.field("date").type == pa.timestamp("ms", tz="UTC")
    assert {str(table.schema.field(name).type) for name in table.column_names[1:]} == {"double"}
    assert table.num_rows == 120
    assert table["date"][0].as_py().isoformat() == "2025-02-28T23:00:00+00:00"


def test_only_bars_that_open_in_the_span_are_written(tmp_path: Path):
    with store(tmp_path / "home") as opened:
        opened.write("kraken", BTC, Timeframe.M1, run_of_minutes("2025-03-01 00:00", 600))
        opened.write("kraken", ETH, Timeframe.M1, run_of_minutes("2025-03-02 00:00", 600))
        span = at("2025-03-01 00:30"), at("2025-03-01 05:00")
        outcomes = exported(
            opened, tmp_path, Format.CSV, timeframe=Timeframe.H1, start_ms=span[0], end_ms=span[1]
        )
    assert [(str(each.wanted.symbol), each.first_ms, each.last_ms) for each in outcomes] == [
        ("BTC/USDT", at("2025-03-01 01:00"), at("2025-03-01 04:00"))
    ]


# --------------------------------------------------------------------------------------------- how they appear


@FORMS
def test_a_file_appears_only_once_it_is_whole_and_an_interruption_leaves_the_old_one(
    tmp_path: Path, form: Format
):
    class Interrupted(Exception):
        pass

    with store(tmp_path / "home") as opened:
        opened.write("kraken", BTC, Timeframe.M1, run_of_minutes("2025-01-15 00:00", 60 * 1440))
        [outcome] = exported(opened, tmp_path / "files", form)
        assert outcome.path is not None
        before = outcome.path.read_bytes()
        seen: list[list[str]] = []

        def watch(_wanted: Wanted, _rows: int) -> None:
            seen.append(sorted(path.name for path in (tmp_path / "files" / "kraken").iterdir()))
            if len(seen) == 2:
                raise Interrupted

        with pytest.raises(Interrupted):
            list(export([outcome.wanted], opened.reader, tmp_path / "files", form, watch=watch))
    assert all(len(names) == 2 and names[0].endswith(".part") for names in seen)
    assert [path.name for path in (tmp_path / "files" / "kraken").iterdir()] == [outcome.path.name]
    assert outcome.path.read_bytes() == before


def test_a_file_that_is_there_is_not_overwritten_unasked(tmp_path: Path):
    wanted = [
        Wanted(provider="kraken", symbol=symbol, timeframe=Timeframe.M1, start_ms=0, end_ms=1)
        for symbol in (BTC, ETH)
    ]
    refuse_to_overwrite(wanted, tmp_path, Format.CSV)
    (tmp_path / "kraken").mkdir()
    for name in ("BTC_USDT-1m.csv", "ETH_USDT-1m.csv"):
        (tmp_path / "kraken" / name).touch()
    with pytest.raises(UsageError, match=r"BTC_USDT-1m\.csv and 1 more would be overwritten"):
        refuse_to_overwrite(wanted, tmp_path, Format.CSV)
    refuse_to_overwrite(wanted, tmp_path, Format.PARQUET)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path):
    (tmp_path / "kraken").write_text("a file in the way")
    with store(tmp_path / "home") as opened:
        opened.write("kraken", BTC, Timeframe.M1, drawn("12:00 100"))
        with pytest.raises(DataError, match="cannot be written"):
            exported(opened, tmp_path, Format.CSV)


def test_a_span_without_a_bar_leaves_no_file(tmp_path: Path):
    with store(tmp_path / "home") as opened:
        bars = run_of_minutes("2025-03-01 00:00", 600)
        minutes = np.arange(600)
        opened.write("kraken", BTC, Timeframe.M1, part(bars, (minutes < 60) | (minutes > 300)))
        [outcome] = exported(
            opened, tmp_path, Format.CSV, start_ms=at("2025-03-01 02:00"), end_ms=at("2025-03-01 03:00")
        )
    assert (outcome.path, outcome.rows) == (None, 0)
    assert list((tmp_path / "kraken").iterdir()) == []


# ------------------------------------------------------------------------------------------------- the plan


def test_what_is_not_stored_is_told(tmp_path: Path):
    with store(tmp_path) as opened:
        opened.write("kraken", BTC, Timeframe.H1, drawn("12:00 100"))
        series = opened.reader.series()

    def planned(**changed: object) -> list[Wanted]:
        asked: dict[str, object] = {
            "provider": None, "symbols": (), "timeframe": None, "start_ms": None, "end_ms": None,
        }  # fmt: skip
        return plan_export(series, **(asked | changed))  # type: ignore[arg-type]

    assert [str(each.timeframe) for each in planned()] == ["1h"]
    assert [str(each.timeframe) for each in planned(timeframe=Timeframe.D1)] == ["1d"]
    with pytest.raises(DataError, match="no bars that 15m bars can be made of"):
        planned(timeframe=Timeframe.M15)
    with pytest.raises(DataError, match="no bars of ETH/USDT"):
        planned(symbols=[BTC, ETH])
    with pytest.raises(DataError, match="no bars from binance"):
        planned(provider="binance")
    with pytest.raises(DataError, match="no bar lies in --timerange"):
        planned(start_ms=at("2025-04-01 00:00"))


def test_providers_that_an_import_would_not_know_are_named():
    wanted = [
        Wanted(provider=name, symbol=BTC, timeframe=Timeframe.M1, start_ms=0, end_ms=1)
        for name in ("synthetic", "kraken", "massive", "file")
    ]
    assert unknown_names(wanted) == ["file", "synthetic"]

"""A backtest month by month is the backtest of the whole, and bars made of minutes are those of the store."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import numpy as np
import pytest

from crypto_tracker.core.bars import BAR_FIELDS, Panel
from crypto_tracker.core.errors import DataError
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import DAY_MS, HOUR_MS, MINUTE_MS, Timeframe, to_ms
from crypto_tracker.features.blocks import PanelsOnDemand, anchor_ms
from crypto_tracker.research.backtest import Backtest, run_backtest
from crypto_tracker.research.chunks import run_in_months
from crypto_tracker.research.market import Market, gather
from crypto_tracker.store.batch import BarBatch
from crypto_tracker.store.choice import choose
from crypto_tracker.store.reader import BarReader
from crypto_tracker.store.sources import StoredBars
from tests.research.worlds import configuration, entries
from tests.store.shelf import assert_same_bars, store

BTC, ETH, SOL = (Symbol(coin, "USD") for coin in ("BTC", "ETH", "SOL"))
COINS = (BTC, ETH, SOL)
FIRST_MS = to_ms(datetime(2024, 12, 20, tzinfo=UTC))
START_MS = to_ms(datetime(2025, 1, 20, 7, 3, tzinfo=UTC))  # no bar of five minutes begins then
END_MS = to_ms(datetime(2025, 4, 9, 14, 31, tzinfo=UTC))
RECORDS = ("fills", "trades", "open_trades", "decisions", "equity_e8", "cash_e8", "reserved_e8", "regime")


def walk(seed: int, timeframe: Timeframe = Timeframe.M1) -> BarBatch:
    """A wild coin that falls and rises by several per cent within hours."""
    rng = np.random.default_rng(seed)
    times = np.arange(FIRST_MS, END_MS + DAY_MS, timeframe.ms, dtype=np.int64)
    close = 100.0 * np.exp(np.cumsum(rng.normal(0.0, 0.0012, len(times))))
    opened = np.concatenate([[100.0], close[:-1]])
    return BarBatch(
        open_time_ms=times,
        open=opened,
        high=np.maximum(opened, close) * 1.0005,
        low=np.minimum(opened, close) * 0.9995,
        close=close,
        volume=rng.lognormal(8.0, 1.0, len(times)),
    )


def without(bars: BarBatch, *gone: tuple[str, str]) -> BarBatch:
    """The bars less those that open within some stretches."""
    kept = np.ones(len(bars), dtype=np.bool_)
    for first, last in gone:
        kept &= (bars.open_time_ms < at(first)) | (bars.open_time_ms >= at(last))
    return BarBatch(
        open_time_ms=bars.open_time_ms[kept], **{name: getattr(bars, name)[kept] for name in BAR_FIELDS}
    )


def at(text: str) -> int:
    return to_ms(datetime.fromisoformat(text).replace(tzinfo=UTC))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three coins: whole, with outages that coarser bars bridge, and with minutes without a trade."""
    folder = tmp_path_factory.mktemp("home")
    with store(folder, now=datetime(2026, 1, 1, tzinfo=UTC)) as opened:
        opened.write("file", BTC, Timeframe.M1, walk(1))
        outages = ("2025-02-03 04:00", "2025-02-03 09:07"), ("2025-02-28 20:00", "2025-03-01 03:30")
        opened.write("file", ETH, Timeframe.M1, without(walk(2), *outages))
        opened.write("file", ETH, Timeframe.M15, walk(4, Timeframe.M15))
        opened.write("file", ETH, Timeframe.H1, walk(5, Timeframe.H1))
        quiet = ("2025-01-25 01:10", "2025-01-25 01:14"), ("2025-03-31 23:00", "2025-04-01 00:30")
        everything = [(FIRST_MS, END_MS + DAY_MS)]
        opened.write("file", SOL, Timeframe.M1, without(walk(3), *quiet), everything)
        # A correction of a month that is a file already, and a close that nothing confirms.
        corrected = walk(3)
        rows = np.flatnonzero(corrected.open_time_ms == at("2025-02-10 10:00"))
        one = BarBatch(
            open_time_ms=corrected.open_time_ms[rows],
            **{name: getattr(corrected, name)[rows] * 1.001 for name in BAR_FIELDS},
        )
        opened.write("file", SOL, Timeframe.M1, one)
    return folder


@dataclass
class Both:
    whole: Backtest
    months: Backtest


def both(
    reader: BarReader,
    *,
    settings: Sequence[str] = (),
    timeframe: str | None = None,
    keep_blocks: bool = False,
    close_at_end: bool = False,
) -> Both:
    """The same backtest as a whole and month by month."""
    tree = configuration(*settings)
    choice = choose(
        reader.series(),
        tree,
        pairs=[str(coin) for coin in COINS],
        timeframe=timeframe,
        provider=None,
        start_ms=START_MS,
        end_ms=END_MS,
    )
    ticks = count()
    whole, months = (
        run(
            StoredBars(reader, choice.provider_of),
            tree,
            entries(tree),
            choice,
            version="v",
            keep_blocks=keep_blocks,
            close_at_end=close_at_end,
            progress=lambda _words, _share: None,
            stopwatch=lambda: float(next(ticks)),
        )
        for run in (run_backtest, run_in_months)
    )
    return Both(whole, months)


def assert_equal_records(found: Both) -> None:
    for name in RECORDS:
        left, right = (getattr(run.result, name) for run in (found.whole, found.months))
        assert left.dtype == right.dtype
        for field in left.dtype.names or [None]:
            a, b = (left, right) if field is None else (left[field], right[field])
            np.testing.assert_array_equal(a, b, err_msg=f"{name} {field}")
    setups = [run.scenario.setups for run in (found.whole, found.months)]
    for field in setups[0].dtype.names:
        np.testing.assert_array_equal(setups[0][field], setups[1][field], err_msg=field)
    assert found.whole.detected.scans == found.months.detected.scans
    assert found.whole.detected.n_near == found.months.detected.n_near
    assert found.whole.figures == found.months.figures


@pytest.fixture
def reader(home: Path) -> Iterator[BarReader]:
    with BarReader.open(home) as opened:
        yield opened


# ------------------------------------------------------------------------------------------ month by month


def test_months_one_by_one_bring_every_record_of_the_whole(reader: BarReader):
    found = both(reader, keep_blocks=True)
    assert_equal_records(found)
    trades = found.whole.result.trades
    assert len(trades) > 20
    # Some trades are held from one month into the next.
    months = [
        trades[name].astype("datetime64[ms]").astype("datetime64[M]") for name in ("entry_ms", "exit_ms")
    ]
    assert (months[0] != months[1]).any()
    assert found.whole.detected.near == found.months.detected.near
    assert found.whole.detected.blocks == found.months.detected.blocks
    assert found.whole.detected.near


def test_what_is_open_is_closed_at_the_end_of_the_last_month_and_of_no_other(reader: BarReader):
    found = both(reader, close_at_end=True)
    assert_equal_records(found)
    assert not len(found.months.result.open_trades)
    assert found.months.result.equity_e8[-1] == found.months.result.cash_e8[-1]


def test_the_bars_have_the_same_name_however_they_are_read(reader: BarReader):
    found = both(reader)
    assert found.whole.data_hash == found.months.data_hash


def test_days_of_history_that_are_fewer_than_the_warm_up_change_nothing(reader: BarReader):
    # One day of minutes before the span: quarters of an hour reach further back, and are read as such.
    found = both(reader, settings=("fills.trailing_range_days=1",))
    assert_equal_records(found)
    assert found.whole.data_hash == found.months.data_hash


def test_a_coarse_base_is_simulated_month_by_month_too(reader: BarReader):
    found = both(reader, timeframe="15m")
    assert_equal_records(found)
    assert found.whole.data_hash == found.months.data_hash


def test_adaptive_sizes_follow_the_slow_regime_of_the_whole(reader: BarReader):
    assert_equal_records(both(reader, settings=("sizing.mode=adaptive",)))


def test_the_panel_of_the_result_holds_the_closes_alone(reader: BarReader):
    found = both(reader)
    whole, months = found.whole.scenario.panel, found.months.scenario.panel
    np.testing.assert_array_equal(months.close, whole.close)
    np.testing.assert_array_equal(months.covered, whole.covered)
    np.testing.assert_array_equal(months.high, whole.close)
    assert not months.volume.any()


def test_a_span_without_a_single_bar_is_refused_month_by_month_too(reader: BarReader):
    tree = configuration()
    choice = choose(
        reader.series(), tree, pairs=["ETH/USD"], timeframe="1m", provider=None, start_ms=None, end_ms=None
    )
    empty = type(choice)(
        symbols=choice.symbols,
        base=choice.base,
        start_ms=at("2025-02-28 21:00"),
        end_ms=at("2025-03-01 02:00"),
        provider_of=choice.provider_of,
        reference_symbol=None,
        notes=(),
    )
    with pytest.raises(DataError, match="there is no 1m bar of ETH/USD in the span"):
        run_in_months(
            StoredBars(reader, choice.provider_of),
            tree,
            entries(tree),
            empty,
            version="v",
            keep_blocks=False,
            close_at_end=False,
            progress=lambda _words, _share: None,
            stopwatch=lambda: 0.0,
        )


# ------------------------------------------------------------------------------------ bars made of minutes


def market_of(reader: BarReader, *settings: str) -> Market:
    tree = configuration(*settings)
    return gather(
        StoredBars(reader, dict.fromkeys(COINS, "file")),
        tree,
        entries(tree),
        COINS,
        reference_symbol=BTC,
        base=Timeframe.M1,
        start_ms=START_MS,
        end_ms=END_MS,
    )


@pytest.mark.parametrize("settings", [(), ("fills.trailing_range_days=1",)])
def test_bars_made_of_minutes_are_those_that_the_store_makes(reader: BarReader, settings: tuple[str, ...]):
    market = market_of(reader, *settings)
    compared = set()
    for view in market.views.values():
        assert isinstance(view.panels, PanelsOnDemand)
        for timeframe, panel in view.panels.items():
            start_ms = int(panel.open_time_ms[0])
            stored = reader.panel(COINS, timeframe, start_ms, END_MS)
            assert_same_bars(panel, stored)
            # Where minutes are unknown, ETH has quarters of an hour, and nothing that five minutes are made of.
            row = (timeframe.floor(at("2025-02-03 06:00")) - start_ms) // timeframe.ms
            assert panel.covered[row].tolist() == [True, timeframe is not Timeframe.M5, True]
            compared.add(timeframe)
    assert compared == {Timeframe.M5, Timeframe.M15, Timeframe.H4}


@pytest.mark.parametrize("timeframe", [Timeframe.M5, Timeframe.M15, Timeframe.H4])
def test_a_block_of_bars_made_of_minutes_is_cut_as_the_whole_is(reader: BarReader, timeframe: Timeframe):
    view = next(view for view in market_of(reader).views.values() if timeframe in view.panels)
    panels = view.panels
    assert isinstance(panels, PanelsOnDemand)
    for from_ms, by_ms in [
        (anchor_ms(timeframe, 48, at("2025-03-01 00:00")), at("2025-04-01 00:00")),
        (START_MS, END_MS),
        (START_MS + HOUR_MS, START_MS + HOUR_MS + MINUTE_MS),
        (0, START_MS),
        (END_MS - HOUR_MS, END_MS + DAY_MS),
    ]:
        block = panels.closing_by(timeframe, from_ms, by_ms)
        whole: Panel = panels[timeframe]
        inside = (whole.open_time_ms >= from_ms) & (whole.close_time_ms <= by_ms)
        assert len(block) == inside.sum()
        np.testing.assert_array_equal(block.close, whole.close[inside])
        np.testing.assert_array_equal(block.volume, whole.volume[inside])
        np.testing.assert_array_equal(block.covered, whole.covered[inside])

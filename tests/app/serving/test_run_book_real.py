"""BTC, ETH and SUI in August 2025, real minutes: what the pages say of a run is what its backtest said."""

import json
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from crypto_tracker.app.plugins import all_strategies
from crypto_tracker.app.serving.home_bars import HomeBars
from crypto_tracker.app.serving.run_book import RunBook
from crypto_tracker.app.serving.runs_kept import KeptRuns
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import DAY_MS, MINUTE_MS
from crypto_tracker.desk.source import TradeFilter
from crypto_tracker.store.run_views import RunViews
from tests.app.conftest import backtest, run_command

pytestmark = [pytest.mark.market_data, pytest.mark.nightly]


def test_august_on_the_pages_is_august_in_the_backtest(market_data: Path, tmp_path: Path):
    code, out, err = run_command(tmp_path, "import-data", str(market_data / "bars" / "1m"), "--json")
    assert code == 0, err
    assert json.loads(out)["symbols"] == 3
    told = backtest(
        tmp_path,
        "--timerange", "20250801-20250901",
        "--pairs", "BTC/USDT,ETH/USDT,SUI/USDT",
        "--record-scans",
    )  # fmt: skip
    bars = HomeBars(tmp_path)
    runs = KeptRuns(bars, lambda: 1_760_000_000_000)
    book = RunBook(runs.of(told["run_id"], all_strategies(tmp_path)), lambda: 1_760_000_000_000)
    status, ratios = book.status(), book.ratios()
    assert status.equity_quote == pytest.approx(told["equity_final"], abs=1e-8)
    assert status.max_drawdown == pytest.approx(told["max_drawdown"])
    assert ratios.sharpe == pytest.approx(told["sharpe"])
    assert ratios.days == 31
    with RunViews.open(tmp_path) as views:
        closed = [trade for trade in views.trades(told["run_id"]) if trade.exit_time is not None]
    assert book.profit(TradeFilter()).pnl_quote == float(
        sum((trade.pnl_quote for trade in closed), Decimal(0))
    )
    start_ms, end_ms = status.start_ms, status.until_ms
    random = np.random.default_rng(2)
    for minute in random.integers(1, (end_ms - start_ms) // MINUTE_MS, 40).tolist():
        for name in ("BTC", "ETH", "SUI"):
            symbol = Symbol(name, "USDT")
            for scan in book.explain(symbol, start_ms + minute * MINUTE_MS, ()).strategies:
                kept = book.scans(symbol, scan.strategy, scan.time_ms, scan.time_ms + 1, 1)
                if kept.time_ms and scan.portfolio is None:
                    assert (scan.verdict, scan.reason) == (kept.verdict[0], kept.reason[0])
    drawn = book.levels(Symbol("SUI", "USDT"), end_ms - 10 * DAY_MS, end_ms, ())
    assert all(line.price for each in drawn.strategies for line in each.lines)
    runs.close()
    bars.close()

"""freqtrade: its `Backtesting` over all pairs, with a stop, a minimal return and an end to every hold.

The backtester asks an exchange for its markets; here they are made up, so that nothing is fetched. A return
of -1 after the longest hold is freqtrade's own way to leave at the open. Its returns are net of fees, so the
target is handed over as the return that this price brings.
"""

import logging
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from freqtrade.data.history import get_timerange
from freqtrade.enums import CandleType, RunMode
from freqtrade.exchange import Exchange
from freqtrade.optimize.backtesting import Backtesting

from peers.market import SIGNAL_MINUTES
from peers.protocol import MINUTE_MS, QUOTE, Answer, Bars, Exits, Task, Trades, answer_task

STAKE = "USDT"
REASONS = {"roi": "take_profit", "stop_loss": "stop_loss"}
# Bar by bar, and as it is told to be quicker: bars of the signals, and minutes only while something is held.
VARIANTS = {
    "1m": {"timeframe": "1m"},
    "5m and 1m": {"timeframe": f"{SIGNAL_MINUTES}m", "timeframe_detail": "1m"},
}
STRATEGIES = Path(__file__).parent / "strategies"


class Offline(Exchange):
    """An exchange whose markets are known without asking."""

    def __init__(self, config: dict[str, Any], pairs: list[str]) -> None:
        super().__init__(config, validate=False)
        self._markets = {pair: _market(pair) for pair in pairs}

    def reload_markets(self, force: bool = False, *, load_leverage_tiers: bool = True) -> None:
        del force, load_leverage_tiers


def _market(pair: str) -> dict[str, Any]:
    base, quote = pair.split("/")
    unbounded = {"min": None, "max": None}
    return {
        "id": pair.replace("/", ""),
        "symbol": pair,
        "base": base,
        "quote": quote,
        "active": True,
        "spot": True,
        "swap": False,
        "linear": None,
        "type": "spot",
        "contractSize": None,
        "precision": {"price": 1e-8, "amount": 1e-8},
        "limits": {"amount": unbounded, "price": unbounded, "cost": unbounded, "leverage": unbounded},
        "info": {},
    }


def target_as_return(exits: Exits, fee: float) -> float:
    """The return after fees of leaving at the target."""
    return (1.0 + exits.take_profit) * (1.0 - fee) / (1.0 + fee) - 1.0


def configuration(
    pairs: list[str], fee: float, exits: Exits, folder: Path, timeframes: dict[str, str]
) -> dict[str, Any]:
    """What freqtrade would read from its file."""
    return {
        **timeframes,
        "runmode": RunMode.BACKTEST,
        "dry_run": True,
        "dry_run_wallet": 1e9,
        "stake_currency": STAKE,
        "stake_amount": QUOTE,
        "tradable_balance_ratio": 1.0,
        "max_open_trades": len(pairs),
        "fee": fee,
        "strategy": "Drawn",
        "strategy_path": str(STRATEGIES),
        "stoploss": -exits.stop_loss,
        "minimal_roi": {"0": target_as_return(exits, fee), str(exits.bars): -1},
        "order_types": {
            "entry": "market",
            "exit": "market",
            "stoploss": "market",
            "stoploss_on_exchange": False,
        },
        "user_data_dir": folder,
        "datadir": folder,
        "exportdirectory": folder,
        "export": "none",
        "exchange": {"name": "binance", "pair_whitelist": pairs, "pair_blacklist": []},
        "pairlists": [{"method": "StaticPairList"}],
        "entry_pricing": {"price_side": "other", "use_order_book": False},
        "exit_pricing": {"price_side": "other", "use_order_book": False},
        "unfilledtimeout": {"entry": 10, "exit": 10, "unit": "minutes"},
        "dataformat_ohlcv": "feather",
        "candle_type_def": CandleType.SPOT,
        "trading_mode": "spot",
        "margin_mode": "",
        "internals": {},
        "original_config": {},
    }


def frames_of(bars: Bars, pairs: list[str]) -> dict[str, pd.DataFrame]:
    """One frame for each pair, as freqtrade reads them from its files."""
    frames = {}
    for symbol, pair in enumerate(pairs):
        drawn = np.zeros(len(bars.close), dtype=np.int64)
        drawn[bars.signals_of(symbol)] = 1
        frames[pair] = pd.DataFrame(
            {
                "date": pd.to_datetime(bars.open_time_ms, unit="ms", utc=True),
                "open": bars.open[:, symbol],
                "high": bars.high[:, symbol],
                "low": bars.low[:, symbol],
                "close": bars.close[:, symbol],
                "volume": bars.volume[:, symbol],
                "drawn": drawn,
            }
        )
    return frames


def engine_of(
    pairs: list[str], task: Task, exits: Exits, folder: Path, timeframes: dict[str, str]
) -> Backtesting:
    """The backtester with one set of exits."""
    config = configuration(pairs, task.fee, exits, folder, timeframes)
    engine = Backtesting(config, exchange=Offline(config, pairs))
    engine._set_strategy(engine.strategylist[0])  # noqa: SLF001 - `backtest_one_strategy` begins with it
    return engine


def trades_of(results: pd.DataFrame, pairs: list[str], bars: Bars, exits: Exits) -> Trades:
    """The closed trades; freqtrade calls the target and the end of the hold alike a return that was met."""
    trades = Trades()
    start = bars.open_time_ms[0]
    for row in results.itertuples():
        if row.exit_reason not in REASONS:
            continue  # what is still open at the end of the bars is closed by force
        entry_row = (int(row.open_date.timestamp() * 1000) - start) // MINUTE_MS
        exit_row = (int(row.close_date.timestamp() * 1000) - start) // MINUTE_MS
        symbol = pairs.index(row.pair)
        reason = REASONS[row.exit_reason]
        if reason == "take_profit" and exit_row - entry_row >= exits.bars:
            reason = "time_exit"
        fees = row.fee_open + row.fee_close * row.close_rate / row.open_rate
        trades.append(symbol, entry_row, exit_row, row.open_rate, row.close_rate, reason, fees)
    return trades


def coarse(frames: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """The same minutes as bars of the signals, each with the entry that its close decides."""
    columns = {
        "open": "first",
        "high": "max",
        "low": "min",
        "close": "last",
        "volume": "sum",
        "drawn": "last",
    }
    return {
        pair: frame.resample(f"{SIGNAL_MINUTES}min", on="date").agg(columns).reset_index()
        for pair, frame in frames.items()
    }


def work(task: Task, bars: Bars, answer: Answer) -> None:
    """Every repetition over all pairs, in both ways."""
    logging.disable(logging.WARNING)
    pairs = [f"COIN{symbol:02d}/{STAKE}" for symbol in range(task.symbols)]
    with tempfile.TemporaryDirectory() as folder, answer.stage("prepare"):
        minutes = frames_of(bars, pairs)
        frames = {"1m": minutes, "5m and 1m": coarse(minutes)}
        engines = {
            (variant, exits): engine_of(pairs, task, exits, Path(folder), timeframes)
            for variant, timeframes in VARIANTS.items()
            for exits in task.exits
        }
    for _ in range(task.rounds):
        for number, exits in enumerate(task.exits):
            for variant in VARIANTS:
                engine = engines[variant, exits]
                engine.detail_data = minutes if engine.timeframe_detail else {}
                own = {pair: frame.copy() for pair, frame in frames[variant].items()}
                span = get_timerange(own)
                results = answer.take(
                    variant,
                    lambda job=engine, own=own, span=span: job.backtest(own, *span),
                    repetition=number,
                )
                answer.keep(variant, trades_of(results["results"], pairs, bars, exits), repetition=number)


if __name__ == "__main__":
    names = ("freqtrade", "pandas", "numpy")
    answer_task("freqtrade", {name: version(name) for name in names}, work)

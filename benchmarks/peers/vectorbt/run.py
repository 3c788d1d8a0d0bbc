"""vectorbt: `Portfolio.from_signals` with stops, time exits as signals, all symbols as columns of one call.

A time exit depends on the entry that was taken, which arrays of signals can not say; it can be an array here
because entries are further apart than the longest hold, so that none is ever turned down.
"""

from importlib.metadata import version

import numpy as np
import vectorbt as vbt
from vectorbt.portfolio.enums import SizeType, StopEntryPrice, StopExitPrice

from peers.protocol import COINS, Answer, Bars, Exits, Task, Trades, answer_task

ENGINES = ("numba", "rust")
DAY = 1440


def signal_arrays(bars: Bars, exits: Exits) -> tuple[np.ndarray, np.ndarray]:
    """Entries in the bar after the signal, and exits once the position was held long enough."""
    entries = np.zeros(bars.close.shape, dtype=np.bool_)
    leaves = np.zeros(bars.close.shape, dtype=np.bool_)
    entries[bars.signal_row + 1, bars.signal_symbol] = True
    last = bars.signal_row + 1 + exits.bars
    inside = last < len(bars.close)
    leaves[last[inside], bars.signal_symbol[inside]] = True
    return entries, leaves


def simulate(
    bars: Bars,
    entries: np.ndarray,
    leaves: np.ndarray,
    *,
    take_profit: float | np.ndarray,
    stop_loss: float | np.ndarray,
    fee: float,
    engine: str,
) -> vbt.Portfolio:
    """One call for all columns, and its trades."""
    portfolio = vbt.Portfolio.from_signals(
        bars.close,
        entries,
        leaves,
        open=bars.open,
        high=bars.high,
        low=bars.low,
        price=-np.inf,  # the open
        size=COINS,
        size_type=SizeType.Amount,
        fees=fee,
        sl_stop=stop_loss,
        tp_stop=take_profit,
        stop_entry_price=StopEntryPrice.FillPrice,
        stop_exit_price=StopExitPrice.StopMarket,
        accumulate=False,
        init_cash=1e9,
        max_orders=2 * max(len(bars.signal_row) * np.size(take_profit), 1) + 2,
        freq="1min",
        engine=engine,
    )
    _ = portfolio.exit_trades.values  # trades are made of orders when they are asked for
    return portfolio


def trades_of(portfolio: vbt.Portfolio, bars: Bars, exits: Exits) -> Trades:
    """The closed trades. A stop is no signal to vectorbt, and what ended a trade is not kept: prices tell."""
    records = portfolio.exit_trades.values
    records = records[records["status"] == 1]
    entry, left = records["entry_price"], records["exit_price"]
    timed = (records["exit_idx"] == records["entry_idx"] + exits.bars) & (
        left == bars.open[records["exit_idx"], records["col"]]
    )
    beyond_stop = left <= entry * (1.0 - exits.stop_loss) * (1.0 + 1e-12)
    beyond_target = left >= entry * (1.0 + exits.take_profit) * (1.0 - 1e-12)
    return Trades.from_columns(
        symbol=records["col"],
        entry_row=records["entry_idx"],
        exit_row=records["exit_idx"],
        entry_price=entry,
        exit_price=left,
        reason=np.select(
            [beyond_stop, beyond_target, timed], ["stop_loss", "take_profit", "time_exit"], default="unknown"
        ),
        fees=(records["entry_fees"] + records["exit_fees"]) / (entry * records["size"]),
    )


def many_sets(bars: Bars, entries: np.ndarray, leaves: np.ndarray, task: Task, engine: str) -> int:
    """All parameter sets of a symbol as columns of one call, which shares its bars without copying them."""
    targets = np.array([[exits.take_profit for exits in task.many]])
    stops = np.array([[exits.stop_loss for exits in task.many]])
    trades = 0
    for symbol in range(bars.close.shape[1]):
        column = slice(symbol, symbol + 1)
        own = Bars(
            open_time_ms=bars.open_time_ms,
            open=bars.open[:, column],
            high=bars.high[:, column],
            low=bars.low[:, column],
            close=bars.close[:, column],
            volume=bars.volume[:, column],
            signal_row=bars.signals_of(symbol),
            signal_symbol=np.zeros(len(bars.signals_of(symbol)), dtype=np.int64),
        )
        portfolio = simulate(
            own,
            entries[:, column],
            leaves[:, column],
            take_profit=targets,
            stop_loss=stops,
            fee=task.fee,
            engine=engine,
        )
        trades += len(portfolio.exit_trades.values)
    return trades


def work(task: Task, bars: Bars, answer: Answer) -> None:
    """Both engines."""
    with answer.stage("prepare"):
        signals = [signal_arrays(bars, exits) for exits in task.exits]
        together = signal_arrays(bars, task.many[0]) if task.many else None
    with answer.stage("compile"):
        head = bars.first(rows=DAY, symbols=bars.close.shape[1])
        for engine in ENGINES:
            exits = task.exits[0]
            simulate(
                head,
                *signal_arrays(head, exits),
                take_profit=exits.take_profit,
                stop_loss=exits.stop_loss,
                fee=task.fee,
                engine=engine,
            )
            if task.many:
                many_sets(head, *signal_arrays(head, task.many[0]), task, engine)
    for _ in range(task.rounds):
        for number, exits in enumerate(task.exits):
            for engine in ENGINES:
                portfolio = answer.take(
                    engine,
                    lambda which=engine, chosen=exits, arrays=signals[number]: simulate(
                        bars,
                        *arrays,
                        take_profit=chosen.take_profit,
                        stop_loss=chosen.stop_loss,
                        fee=task.fee,
                        engine=which,
                    ),
                    repetition=number,
                )
                answer.keep(engine, trades_of(portfolio, bars, exits), repetition=number)
    if together is not None:
        for engine in ENGINES:
            answer.take(
                f"many sets, {engine}",
                lambda which=engine: many_sets(bars, *together, task, which),
                repetition=0,
                sets=len(task.many),
            )


if __name__ == "__main__":
    names = ("vectorbt", "vectorbt-rust", "numba", "numpy")
    answer_task("vectorbt", {name: version(name) for name in names}, work)

"""backtrader: one `Cerebro` for each symbol, preloaded bars, stop and target as orders that end each other.

Both are placed once the entry is filled, so they act from the bar after it. Its bracket orders do the same.
"""

from importlib.metadata import version
from time import process_time
from typing import Any

import backtrader as bt
import numpy as np

from peers.protocol import COINS, Answer, Bars, Exits, Task, Trades, answer_task

Columns = tuple[list[float], ...]

CASH = 1e9
EPOCH_DAY = 719_163.0  # 1970-01-01 as backtrader counts days
DAY_MS = 86_400_000


class Feed(bt.feed.DataBase):
    """Bars of one symbol out of arrays, with the drawn entries as a line."""

    lines = ("signal",)
    params = (("columns", None), ("timeframe", bt.TimeFrame.Minutes))
    loading = 0.0  # CPU seconds of all feeds, which are none of the simulation's

    def start(self) -> None:
        super().start()
        self.at = 0

    def preload(self) -> None:
        began = process_time()
        super().preload()
        Feed.loading += process_time() - began

    def _load(self) -> bool:
        columns = self.p.columns
        if self.at == len(columns[0]):
            return False
        lines = self.lines
        at = self.at
        lines.datetime[0] = columns[0][at]
        lines.open[0] = columns[1][at]
        lines.high[0] = columns[2][at]
        lines.low[0] = columns[3][at]
        lines.close[0] = columns[4][at]
        lines.signal[0] = columns[5][at]
        self.at = at + 1
        return True


class Drawn(bt.Strategy):
    """Buys where it was told to."""

    params = (("symbol", 0), ("exits", None), ("trades", None))

    def __init__(self) -> None:
        self.signal = self.data.signal
        self.entry: Any = None
        self.entry_row = 0
        self.entry_fee = 0.0
        self.stop_order: Any = None
        self.target_order: Any = None
        self.timed = False

    def notify_order(self, order: Any) -> None:
        if order.status in {order.Margin, order.Rejected}:
            raise AssertionError("backtrader refused an order that it has the cash for")
        if order.status != order.Completed:
            return
        exits = self.p.exits
        row = len(self) - 1
        done = order.executed
        if order.isbuy():
            self.entry, self.entry_row = done.price, row
            self.entry_fee = done.comm
            self.stop_order = self.sell(
                size=COINS, exectype=bt.Order.Stop, price=done.price * (1.0 - exits.stop_loss)
            )
            self.target_order = self.sell(
                size=COINS,
                exectype=bt.Order.Limit,
                price=done.price * (1.0 + exits.take_profit),
                oco=self.stop_order,
            )
            return
        if order.ref == self.stop_order.ref:  # what is told is a copy of the order
            reason = "stop_loss"
        elif order.ref == self.target_order.ref:
            reason = "take_profit"
        else:
            reason = "time_exit"
        fees = (self.entry_fee + done.comm) / (self.entry * COINS)
        self.p.trades.append(self.p.symbol, self.entry_row, row, self.entry, done.price, reason, fees)
        self.entry = None
        self.timed = False

    def next(self) -> None:
        if self.entry is not None:
            if len(self) - self.entry_row >= self.p.exits.bars and not self.timed:
                self.timed = True
                self.cancel(self.stop_order)
                self.sell(size=COINS)
        elif self.signal[0]:
            self.buy(size=COINS)


def columns_of(bars: Bars, symbol: int) -> Columns:
    """Lists, which are quicker to read one by one than arrays."""
    signal = np.zeros(len(bars.close))
    signal[bars.signals_of(symbol)] = 1.0
    days = EPOCH_DAY + bars.open_time_ms / DAY_MS
    sides = (bars.open, bars.high, bars.low, bars.close)
    return (days.tolist(), *(side[:, symbol].tolist() for side in sides), signal.tolist())


def cerebro_of(columns: Columns, symbol: int, exits: Exits, fee: float, trades: Trades) -> Any:
    """The engine over one symbol, without the observers that only draw."""
    cerebro = bt.Cerebro(stdstats=False, preload=True, runonce=True)
    cerebro.adddata(Feed(columns=columns))
    cerebro.addstrategy(Drawn, symbol=symbol, exits=exits, trades=trades)
    cerebro.broker.setcash(CASH)
    cerebro.broker.setcommission(commission=fee)
    return cerebro


def work(task: Task, bars: Bars, answer: Answer) -> None:
    """Every repetition over every symbol; what the feeds took is moved from the take to `prepare`."""
    with answer.stage("prepare"):
        columns = [columns_of(bars, symbol) for symbol in range(task.symbols)]
    for _ in range(task.rounds):
        for number, exits in enumerate(task.exits):
            trades = Trades()
            engines = [cerebro_of(own, at, exits, task.fee, trades) for at, own in enumerate(columns)]
            Feed.loading = 0.0
            answer.take("next", lambda jobs=engines: [job.run() for job in jobs], repetition=number)
            answer.takes["next"][-1]["cpu"] -= Feed.loading
            answer.stages["prepare"] += Feed.loading
            answer.keep("next", trades, repetition=number)


if __name__ == "__main__":
    answer_task("backtrader", {name: version(name) for name in ("backtrader", "numpy")}, work)

"""backtesting.py: one `Backtest` for each symbol, an order with stop and target, the time exit in `next`.

A stop and a target are given with the order, before its fill is known, so from the last close; in the bar
after the entry they are moved to where the fill was.
"""

import warnings
from importlib.metadata import version

import pandas as pd
from backtesting import Backtest, Strategy

from peers.protocol import COINS, Answer, Bars, Exits, Task, Trades, answer_task

NO_MARK = 0


class Drawn(Strategy):
    """Buys where it was told to."""

    signals: bytes = b""  # one byte for each bar, not 0 where a bar's close decides an entry
    take_profit: float = 0.0
    stop_loss: float = 0.0
    hold: int = 0

    def init(self) -> None:
        self.entered = NO_MARK

    def next(self) -> None:
        row = len(self.data) - 1
        if self.trades:
            trade = self.trades[0]
            if self.entered != trade.entry_bar:
                self.entered = trade.entry_bar
                trade.sl = trade.entry_price * (1.0 - self.stop_loss)
                trade.tp = trade.entry_price * (1.0 + self.take_profit)
            if row + 1 - trade.entry_bar >= self.hold:
                trade.close()
        elif self.signals[row]:
            close = self.data.Close[-1]
            self.buy(size=COINS, sl=close * (1.0 - self.stop_loss), tp=close * (1.0 + self.take_profit))


def backtest_of(bars: Bars, symbol: int, fee: float) -> Backtest:
    """The engine over one symbol."""
    frame = pd.DataFrame(
        {
            "Open": bars.open[:, symbol],
            "High": bars.high[:, symbol],
            "Low": bars.low[:, symbol],
            "Close": bars.close[:, symbol],
            "Volume": bars.volume[:, symbol],
        },
        index=pd.to_datetime(bars.open_time_ms, unit="ms"),
    )
    return Backtest(frame, Drawn, cash=1e9, commission=fee)


def marks(bars: Bars, symbol: int) -> bytes:
    """One byte for each bar."""
    row = bytearray(len(bars.close))
    for at in bars.signals_of(symbol):
        row[at] = 1
    return bytes(row)


def trades_of(frames: list[pd.DataFrame], exits: Exits) -> Trades:
    """The closed trades; what ended one is told by its prices."""
    trades = Trades()
    for symbol, frame in enumerate(frames):
        for row in frame.itertuples():
            if row.ExitPrice <= row.EntryPrice * (1.0 - exits.stop_loss) * (1.0 + 1e-12):
                reason = "stop_loss"
            elif row.ExitPrice >= row.EntryPrice * (1.0 + exits.take_profit) * (1.0 - 1e-12):
                reason = "take_profit"
            else:
                # Left at a level that was still measured from the close: no other exit is at such a price.
                timed = row.ExitBar == row.EntryBar + exits.bars
                reason = "time_exit" if timed else _nearest(row.EntryPrice, row.ExitPrice)
            trades.append(
                symbol,
                row.EntryBar,
                row.ExitBar,
                row.EntryPrice,
                row.ExitPrice,
                reason,
                row.Commission / (row.EntryPrice * row.Size),
            )
    return trades


def _nearest(entry_price: float, exit_price: float) -> str:
    return "take_profit" if exit_price > entry_price else "stop_loss"


def simulate(engines: list[Backtest], signals: list[bytes], exits: Exits) -> list[pd.DataFrame]:
    """Every symbol, one after the other."""
    frames = []
    for engine, own in zip(engines, signals, strict=True):
        statistics = engine.run(
            signals=own, take_profit=exits.take_profit, stop_loss=exits.stop_loss, hold=exits.bars
        )
        frames.append(statistics["_trades"])
    return frames


def work(task: Task, bars: Bars, answer: Answer) -> None:
    """Every repetition over every symbol."""
    warnings.simplefilter("ignore", UserWarning)  # about positions that stay open at the end
    with answer.stage("prepare"):
        engines = [backtest_of(bars, symbol, task.fee) for symbol in range(task.symbols)]
        signals = [marks(bars, symbol) for symbol in range(task.symbols)]
    for _ in range(task.rounds):
        for number, exits in enumerate(task.exits):
            frames = answer.take(
                "next", lambda chosen=exits: simulate(engines, signals, chosen), repetition=number
            )
            answer.keep("next", trades_of(frames, exits), repetition=number)


if __name__ == "__main__":
    names = ("backtesting", "pandas", "numpy")
    answer_task("backtesting.py", {name: version(name) for name in names}, work)

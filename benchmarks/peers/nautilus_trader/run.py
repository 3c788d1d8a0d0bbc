"""nautilus_trader: one `BacktestEngine` over all symbols, a strategy on bars, stop and target at the venue.

Its venue fills a market order when it comes, at the last price, which for an order from `on_bar` is the close
of the signal's bar and not the next open; in bars it lets the high come before the low unless told otherwise.
"""

from decimal import Decimal
from importlib.metadata import version
from typing import Any

import pandas as pd
from nautilus_trader.backtest.engine import BacktestEngine, BacktestEngineConfig
from nautilus_trader.config import LoggingConfig, RiskEngineConfig
from nautilus_trader.model.currencies import USDT
from nautilus_trader.model.data import Bar, BarType
from nautilus_trader.model.enums import AccountType, CurrencyType, OmsType, OrderSide, OrderType, TimeInForce
from nautilus_trader.model.events import OrderFilled
from nautilus_trader.model.identifiers import InstrumentId, Symbol, Venue
from nautilus_trader.model.instruments import CurrencyPair
from nautilus_trader.model.objects import Currency, Money, Price, Quantity
from nautilus_trader.persistence.wranglers import BarDataWrangler
from nautilus_trader.trading.strategy import Strategy

from peers.protocol import COINS, MINUTE_MS, Answer, Bars, Exits, Task, Trades, answer_task

VENUE = Venue("SIM")
DECIMALS = 8
MINUTE_NS = MINUTE_MS * 1_000_000


class Drawn(Strategy):
    """Buys where it was told to."""

    def __init__(self, kinds: list[BarType], signals: list[set[int]], exits: Exits, start_ns: int) -> None:
        super().__init__()
        self.kinds = kinds
        self.signals = dict(zip(kinds, signals, strict=True))  # close times of the bars that decide entries
        self.number = {kind.instrument_id: symbol for symbol, kind in enumerate(kinds)}
        self.exits = exits
        self.hold_ns = exits.bars * MINUTE_NS
        self.start_ns = start_ns
        self.size = Quantity(COINS, DECIMALS)
        self.entries: dict[InstrumentId, Any] = {}  # the entry fills of what is held
        self.leaving: set[InstrumentId] = set()
        self.done = Trades()

    def on_start(self) -> None:
        for kind in self.kinds:
            self.subscribe_bars(kind)

    def on_bar(self, bar: Bar) -> None:
        kind = bar.bar_type
        entry = self.entries.get(kind.instrument_id)
        if entry is None:
            if bar.ts_event in self.signals[kind]:
                self._market(kind.instrument_id, OrderSide.BUY)
        elif bar.ts_event - entry.ts_event >= self.hold_ns and kind.instrument_id not in self.leaving:
            self.leaving.add(kind.instrument_id)
            self.cancel_all_orders(kind.instrument_id)
            self._market(kind.instrument_id, OrderSide.SELL)

    def _market(self, instrument: InstrumentId, side: OrderSide) -> None:
        self.submit_order(self.order_factory.market(instrument, side, self.size))

    def on_order_filled(self, event: OrderFilled) -> None:
        instrument = event.instrument_id
        if event.order_side == OrderSide.BUY:
            self.entries[instrument] = event
            price = event.last_px.as_double()
            self.submit_order(
                self.order_factory.stop_market(
                    instrument,
                    OrderSide.SELL,
                    self.size,
                    Price(price * (1.0 - self.exits.stop_loss), DECIMALS),
                    time_in_force=TimeInForce.GTC,
                    reduce_only=True,
                )
            )
            self.submit_order(
                self.order_factory.limit(
                    instrument,
                    OrderSide.SELL,
                    self.size,
                    Price(price * (1.0 + self.exits.take_profit), DECIMALS),
                    time_in_force=TimeInForce.GTC,
                    reduce_only=True,
                )
            )
            return
        self._close(event)

    def _close(self, event: OrderFilled) -> None:
        entry = self.entries.pop(event.instrument_id)
        self.leaving.discard(event.instrument_id)
        self.cancel_all_orders(event.instrument_id)
        entered, left = entry.last_px.as_double(), event.last_px.as_double()
        reason = {
            OrderType.STOP_MARKET: "stop_loss",
            OrderType.LIMIT: "take_profit",
            OrderType.MARKET: "time_exit",
        }[event.order_type]
        # A bar's time is its close: what filled within it belongs to the row before the one that opens then.
        within = reason != "time_exit"
        self.done.append(
            self.number[event.instrument_id],
            (entry.ts_event - self.start_ns) // MINUTE_NS,
            (event.ts_event - self.start_ns) // MINUTE_NS - int(within),
            entered,
            left,
            reason,
            (entry.commission.as_double() + event.commission.as_double()) / (entered * COINS),
        )


def instrument_of(symbol: int, fee: float) -> CurrencyPair:
    """One pair, with eight decimals and the same fee for every fill."""
    base = Currency(f"COIN{symbol:02d}", DECIMALS, 0, f"COIN{symbol:02d}", CurrencyType.CRYPTO)
    name = Symbol(f"COIN{symbol:02d}USDT")
    return CurrencyPair(
        instrument_id=InstrumentId(name, VENUE),
        raw_symbol=name,
        base_currency=base,
        quote_currency=USDT,
        price_precision=DECIMALS,
        size_precision=DECIMALS,
        price_increment=Price(10**-DECIMALS, DECIMALS),
        size_increment=Quantity(10**-DECIMALS, DECIMALS),
        ts_event=0,
        ts_init=0,
        maker_fee=Decimal(str(fee)),
        taker_fee=Decimal(str(fee)),
    )


def engine_of(instruments: list[CurrencyPair]) -> BacktestEngine:
    """The engine without logs, checks of risk and statistics afterwards."""
    engine = BacktestEngine(
        BacktestEngineConfig(
            logging=LoggingConfig(bypass_logging=True),
            risk_engine=RiskEngineConfig(bypass=True),
            run_analysis=False,
        )
    )
    engine.add_venue(
        venue=VENUE,
        oms_type=OmsType.NETTING,
        account_type=AccountType.CASH,
        starting_balances=[Money(1_000_000_000, USDT)],
    )
    for instrument in instruments:
        engine.add_instrument(instrument)
    return engine


def bars_of(bars: Bars, symbol: int, kind: BarType, instrument: CurrencyPair) -> list[Bar]:
    """The engine's own bars, stamped with their closes."""
    frame = pd.DataFrame(
        {name: getattr(bars, name)[:, symbol] for name in ("open", "high", "low", "close", "volume")},
        index=pd.to_datetime(bars.open_time_ms + MINUTE_MS, unit="ms", utc=True),
    )
    own: list[Bar] = BarDataWrangler(kind, instrument).process(frame)
    return own


def simulate(engine: BacktestEngine) -> None:
    """One run over all that was added."""
    engine.run()


def work(task: Task, bars: Bars, answer: Answer) -> None:
    """Every repetition over all symbols."""
    with answer.stage("prepare"):
        instruments = [instrument_of(symbol, task.fee) for symbol in range(task.symbols)]
        kinds = [BarType.from_str(f"{instrument.id}-1-MINUTE-LAST-EXTERNAL") for instrument in instruments]
        engine = engine_of(instruments)
        for symbol, (kind, instrument) in enumerate(zip(kinds, instruments, strict=True)):
            engine.add_data(bars_of(bars, symbol, kind, instrument))
        signals = [
            {int(bars.open_time_ms[row] + MINUTE_MS) * 1_000_000 for row in bars.signals_of(symbol)}
            for symbol in range(task.symbols)
        ]
        start_ns = int(bars.open_time_ms[0]) * 1_000_000
    for _ in range(task.rounds):
        for number, exits in enumerate(task.exits):
            strategy = Drawn(kinds, signals, exits, start_ns)
            with answer.stage("prepare"):
                engine.reset()
                engine.clear_strategies()
                engine.add_strategy(strategy)
            answer.take("bars", lambda: simulate(engine), repetition=number)
            answer.keep("bars", strategy.done, repetition=number)


if __name__ == "__main__":
    names = ("nautilus_trader", "pandas", "numpy")
    answer_task("nautilus_trader", {name: version(name) for name in names}, work)

"""Watches a simulation while it runs, and takes snapshots of it for the view."""

import math
from collections import deque
from dataclasses import dataclass

import numpy as np

from crypto_tracker.app.demo.world import Scans, World
from crypto_tracker.app.screen import words
from crypto_tracker.app.screen.snapshot import (
    DecisionFacts,
    Heading,
    Kind,
    MarketFacts,
    Notice,
    PositionFacts,
    ReadinessFacts,
    Snapshot,
    StrategyFacts,
    Tone,
    TradeFacts,
)
from crypto_tracker.core.arrays import FloatArray
from crypto_tracker.core.decisions import Condition, Reason, Regime
from crypto_tracker.core.orders import ExitReason
from crypto_tracker.core.timeframes import DAY_MS, HOUR_MS
from crypto_tracker.simulation.backtest import Simulator
from crypto_tracker.simulation.kernel import QUOTE
from crypto_tracker.simulation.records import SimulationResult
from crypto_tracker.strategies.base import EVENT_RESET, EVENT_SETUP

SYNTHETIC = "SYNTHETIC MARKET"
CURVE_POINTS = 480
LOG_LINES = 60
NEAREST = 12
SHARED_LINE_MS = 3 * HOUR_MS  # refusals of one kind within this time share a line
_SAID_ONCE = (Reason.SYMBOL_LIMIT, Reason.SAME_EPISODE)  # after a buy they say what everybody sees


@dataclass(frozen=True, slots=True, kw_only=True)
class _Refused:
    """The last refusal of one strategy for one reason."""

    coins: frozenset[str]
    line: DecisionFacts


class Observer:
    """Follows one simulator. `look` is called after each step with growing rows."""

    def __init__(self, world: World, simulator: Simulator, near_miss_readiness: float) -> None:
        self._world = world
        self._simulator = simulator
        self._near_miss_readiness = near_miss_readiness
        self._log: deque[DecisionFacts] = deque(maxlen=LOG_LINES)
        self._said: dict[tuple[int, int], Reason] = {}
        self._pending: list[int] = []  # accepted setups whose order has not filled yet
        self._setup_row = 0
        self._near_row = 0
        self._regime = Regime.NORMAL
        self._market_row = 0
        self._refused: dict[tuple[str, Reason], _Refused] = {}
        self._near_until: dict[tuple[str, str], int] = {}

    def look(self, *, speed: float) -> Snapshot:
        """What there is to see after the last bar that was stepped."""
        world, simulator = self._world, self._simulator
        scenario, row = world.scenario, simulator.row
        last = row - 1
        time_ms = int(scenario.panel.close_time_ms[last])
        result = simulator.result()
        self._follow_market(last)
        self._follow_setups(result, time_ms)
        self._follow_near_misses(time_ms)
        newest_first = sorted(self._log, key=lambda told: -told.time_ms)
        self._log = deque(newest_first, maxlen=LOG_LINES)
        equity = result.equity_e8 / QUOTE
        start = scenario.rules.capital_quote
        closed = result.trades
        return Snapshot(
            heading=_heading(world.seed),
            quote=scenario.panel.symbols[0].quote,
            time_ms=time_ms,
            start_ms=world.market.start_ms,
            end_ms=world.market.end_ms,
            speed=speed,
            equity_start=start,
            equity=float(equity[-1]),
            cash=float(result.cash_e8[-1]) / QUOTE,
            reserved=float(result.reserved_e8[-1]) / QUOTE,
            drawdown=1.0 - float(equity[-1]) / max(float(equity.max()), start),
            equity_curve=equity_points(equity, len(scenario.panel)),
            curve_base=start,
            market=self._market(last, time_ms),
            positions=self._positions(time_ms),
            strategies=tuple(self._readiness(number, last, time_ms) for number in range(len(world.scans))),
            decisions=tuple(self._log),
            trades=tuple(self._trade(trade) for trade in closed[: -LOG_LINES - 1 : -1]),
            n_trades=len(closed),
            n_wins=int((closed["pnl_e8"] > 0).sum()),
            fees_quote=float(result.fills["fee_e8"].sum()) / QUOTE,
            slippage_quote=float(result.fills["slippage_e8"].sum()) / QUOTE,
        )

    def _coin(self, column: int) -> str:
        return self._world.scenario.panel.symbols[column].base

    def _say(self, time_ms: int, kind: Kind, coin: str, strategy: str, text: str) -> None:
        self._log.appendleft(
            DecisionFacts(time_ms=time_ms, kind=kind, coin=coin, strategy=strategy, words=text)
        )

    # ------------------------------------------------------------------------------------------ the log

    def _follow_market(self, last: int) -> None:
        """Changes of the fast regime since the last look."""
        regimes = self._simulator.market.regime
        for row in np.flatnonzero(np.diff(regimes[max(self._market_row - 1, 0) : last + 1])):
            at = max(self._market_row - 1, 0) + int(row) + 1
            regime = Regime(int(regimes[at]))
            time_ms = int(self._world.scenario.panel.close_time_ms[at])
            self._say(time_ms, Kind.MARKET, "", "", words.REGIME_WORDS[regime])
        self._market_row = last + 1

    def _follow_setups(self, result: SimulationResult, time_ms: int) -> None:
        """Setups decided since the last look, and orders that ended without a fill."""
        setups, decisions = self._world.scenario.setups, result.decisions
        stop = int(np.searchsorted(setups["time_ms"], time_ms, side="right"))
        for index in [*self._pending]:
            end = Reason(int(decisions["end"][index]))
            if end is not Reason.ACCEPTED:
                self._refuse(index, end, math.nan, math.nan, time_ms)
            if end is not Reason.ACCEPTED or time_ms - int(setups["time_ms"][index]) > DAY_MS:
                self._pending.remove(index)
        for index in range(self._setup_row, stop):
            setup = setups[index]
            key = (int(setup["strategy"]), int(setup["symbol"]))
            if setup["kind"] == EVENT_RESET:
                self._said.pop(key, None)
                continue
            if setup["kind"] != EVENT_SETUP or decisions["reason"][index] < 0:
                continue
            reason = Reason(int(decisions["reason"][index]))
            before = self._said.get(key)
            self._said[key] = reason
            if reason is before or (reason in _SAID_ONCE and self._is_ours(*key, before)):
                continue
            if reason is Reason.ACCEPTED:
                self._pending.append(index)
                self._take(index)
            else:
                measured, limit = float(decisions["measured"][index]), float(decisions["limit"][index])
                self._refuse(index, reason, measured, limit, int(setup["time_ms"]))
        self._setup_row = stop

    def _is_ours(self, strategy: int, symbol: int, before: Reason | None) -> bool:
        """Whether the strategy itself holds or has just bought the coin."""
        slot = self._simulator.state.slots[symbol]
        return before is Reason.ACCEPTED or (slot["phase"] != 0 and int(slot["strategy"]) == strategy)

    def _take(self, index: int) -> None:
        setup = self._world.scenario.setups[index]
        scans = self._world.scans[int(setup["strategy"])]
        time_ms, column = int(setup["time_ms"]), int(setup["symbol"])
        found = scans.at(time_ms)
        seen: dict[str, float] = {}
        if found is not None:
            _, detection, row = found
            seen = {name: float(values[row, column]) for name, values in detection.measurements.items()}
        name = scans.strategy.name
        text = words.entry(name, seen, float(setup["confidence"]))
        self._say(time_ms, Kind.TAKEN, self._coin(column), name, text)

    def _refuse(self, index: int, reason: Reason, measured: float, limit: float, time_ms: int) -> None:
        """Tell a refusal; coins that a strategy is refused for one reason share a line."""
        setup = self._world.scenario.setups[index]
        name = self._world.strategies[int(setup["strategy"])]
        coin = self._coin(int(setup["symbol"]))
        text = words.refusal(reason, name, measured, limit, time_ms)
        told = self._refused.get((name, reason))
        coins = frozenset({coin})
        if told is not None and told.line in self._log and time_ms - told.line.time_ms <= SHARED_LINE_MS:
            coins |= told.coins
            self._log.remove(told.line)
        shown = coin if len(coins) == 1 else f"{len(coins)} coins"
        self._say(time_ms, Kind.REFUSED, shown, name, text)
        self._refused[name, reason] = _Refused(coins=coins, line=self._log[0])

    def _follow_near_misses(self, time_ms: int) -> None:
        """Of each strategy the nearest scan that has just come near, with the gate that stopped it."""
        for scans in self._world.scans:
            found = scans.at(time_ms)
            if found is None:
                continue
            features, detection, row = found
            readiness = np.where(detection.setup[row], np.nan, detection.readiness[row])
            near = [
                int(column)
                for column in np.flatnonzero(readiness >= self._near_miss_readiness)
                if self._is_news(scans.strategy.name, int(column), time_ms)
                and self._simulator.state.slots[column]["phase"] == 0
            ]
            if not near:
                continue
            column = max(near, key=lambda each: float(readiness[each]))
            self._near_until[scans.strategy.name, self._coin(column)] = time_ms
            gates = scans.strategy.explain(detection, features, scans.entry.parameters, row, column)
            failed = next((gate for gate in gates if not gate.passed), None)
            if failed is not None:
                moment = int(detection.panel.close_time_ms[row])
                self._say(
                    moment,
                    Kind.NEAR_MISS,
                    self._coin(column),
                    scans.strategy.name,
                    words.nearly(failed.sentence),
                )

    def _is_news(self, strategy: str, column: int, time_ms: int) -> bool:
        """A near miss is told again only after half a day."""
        said = self._near_until.get((strategy, self._coin(column)))
        return said is None or time_ms - said >= DAY_MS // 2

    # ------------------------------------------------------------------------------------------ the moment

    def _market(self, last: int, time_ms: int) -> MarketFacts:
        world, market = self._world, self._simulator.market
        history = world.market.history
        now = int(np.searchsorted(history.close_time_ms, time_ms))
        before = max(now - DAY_MS // history.timeframe.ms, 0)
        with np.errstate(invalid="ignore"):
            rising = int((world.closes[now] > world.closes[before]).sum())
        reference = world.market.reference_symbol
        price = math.nan
        if reference is not None and reference in history.symbols:
            price = float(world.closes[now, history.symbols.index(reference)])
        preferred = int(market.preferred[last])
        return MarketFacts(
            regime=Regime(int(market.regime[last])),
            condition=Condition(int(market.condition[last])),
            favoured=world.strategies[preferred] if preferred >= 0 else "",
            volatility=float(market.volatility[last]),
            reference=reference.base if reference is not None else "no reference",
            reference_price=price,
            reference_change=float(market.returns[last, 2]),
            rising=rising,
            symbols=int((~np.isnan(world.closes[now])).sum()),
        )

    def _positions(self, time_ms: int) -> tuple[PositionFacts, ...]:
        scenario, coins = self._world.scenario, self._simulator.state.coins
        held = self._simulator.positions()
        newest_first = sorted(held, key=lambda trade: (-int(trade["entry_ms"]), int(trade["symbol"])))
        return tuple(
            PositionFacts(
                coin=self._coin(int(trade["symbol"])),
                strategy=scenario.strategies[int(trade["strategy"])],
                fills=int(trade["entry_fills"]),
                levels=max(int(scenario.setups["levels"][trade["setup"]]), int(trade["entry_fills"])),
                entry_price=float(trade["entry_price"]),
                price=float(coins["last_close"][trade["symbol"]]),
                stop_price=float(trade["stop_price"]),
                target_price=float(trade["target_price"]),
                pnl_quote=float(trade["pnl_e8"]) / QUOTE,
                return_net=float(trade["pnl_e8"]) / float(trade["invested_e8"]),
                age_ms=time_ms - int(trade["entry_ms"]),
            )
            for trade in newest_first
        )

    def _trade(self, trade: np.void) -> TradeFacts:
        return TradeFacts(
            time_ms=int(trade["exit_ms"]),
            coin=self._coin(int(trade["symbol"])),
            strategy=self._world.strategies[int(trade["strategy"])],
            exit_reason=ExitReason(int(trade["exit_reason"])).code,
            pnl_quote=float(trade["pnl_e8"]) / QUOTE,
            return_net=float(trade["pnl_e8"]) / float(trade["invested_e8"]),
            age_ms=int(trade["exit_ms"]) - int(trade["entry_ms"]),
        )

    def _readiness(self, number: int, last: int, time_ms: int) -> StrategyFacts:
        scans: Scans = self._world.scans[number]
        found = scans.at(time_ms)
        nearest: list[ReadinessFacts] = []
        if found is not None:
            _, detection, row = found
            values = detection.readiness[row]
            known = np.flatnonzero(~np.isnan(values))
            for column in sorted(known, key=lambda each: (-float(values[each]), self._coin(int(each))))[
                :NEAREST
            ]:
                slot = self._simulator.state.slots[column]
                reason = Reason(int(detection.reason[row, column]))
                nearest.append(
                    ReadinessFacts(
                        coin=self._coin(int(column)),
                        readiness=float(values[column]),
                        words="is held" if slot["phase"] != 0 else words.lacks(reason),
                    )
                )
        return StrategyFacts(
            name=scans.strategy.name,
            off="" if self._simulator.market.switched_on[last, number] else "volatility",
            nearest=tuple(nearest),
        )


def _heading(seed: int) -> Heading:
    """What this is, and that nothing in it is real."""
    return Heading(
        program="crypto-tracker demo",
        badge=Notice(tone=Tone.WARNING, title=SYNTHETIC),
        note=f"made-up prices, seed {seed}",
        hint="Ctrl-C: summary",
    )


def equity_points(equity: FloatArray, length: int) -> FloatArray:
    """Equity at evenly spaced moments of the whole run, NaN for those that have not come."""
    rows = np.rint((np.arange(CURVE_POINTS) + 1) * length / CURVE_POINTS).astype(np.int64) - 1
    curve = np.full(CURVE_POINTS, np.nan)
    reached = (rows >= 0) & (rows < len(equity))
    curve[reached] = equity[rows[reached]]
    if not reached.any():
        curve[0] = equity[-1]
    return curve

"""A paper account of a year as the API meets it in bad times, written straight into the tables.

A hundred symbols, 500,000 minutes, 100,000 closed trades with their orders and fills, 500,000 setups and near
misses, and 5,000,000 decisions in 50,000 blocks; sixty positions with whole ladders; commands, their answers
and their audit. Beside it bars of all symbols for the last days, and of two of them for some months. Nothing
of it was traded: amounts are drawn, so that they look like those of an account but do not add up like one.

    large_account.py FOLDER [--trades 100000] [--minutes 500000] [--blocks 50000]

The same folder is taken as it is the next time.
"""

import argparse
import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np

from crypto_tracker.config.tree import load_configuration
from crypto_tracker.core.arrays import IntArray
from crypto_tracker.core.clock import ManualClock
from crypto_tracker.core.decisions import Reason, Regime
from crypto_tracker.core.money import QUOTE_SCALE
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import DAY_MS, HOUR_MS, MINUTE_MS, Timeframe, from_ms, to_ms
from crypto_tracker.portfolio.regime import NO_FORCE, MarketCarry
from crypto_tracker.simulation.ledger import trade_group_id
from crypto_tracker.simulation.state import EMPTY, PENDING, PortfolioState
from crypto_tracker.store import control_tables, trading_tables
from crypto_tracker.store.bars import BarStore
from crypto_tracker.store.batch import BarBatch
from crypto_tracker.store.control import FILE_NAME as CONTROL_FILE
from crypto_tracker.store.database import CONTROL, TRADING, open_engine, upgrade
from crypto_tracker.store.trading_journal import FILE_NAME as TRADING_FILE
from crypto_tracker.store.trading_records import Account
from crypto_tracker.store.trading_rows import account_values, plain
from crypto_tracker.strategies.decisions import ScanBlock, encode_block
from crypto_tracker.strategies.registry import builtin
from crypto_tracker.trading.seen import encode_revisions
from crypto_tracker.trading.setting import configuration_row
from crypto_tracker.trading.state import TraderState

ACCOUNT = "large"
PROVIDER = "made"
SYMBOLS = tuple(
    Symbol(coin, "USD") for coin in ("BTC", "ETH", "SOL", "DOGE", *(f"C{number:02}" for number in range(96)))
)
STRATEGIES = ("DCA", "SWING", "CHANNEL")
EVERY = {"DCA": Timeframe.M5, "SWING": Timeframe.M15, "CHANNEL": Timeframe.M15}
UNTIL_MS = to_ms(datetime(2025, 9, 1, tzinfo=UTC))
CAPITAL = 1_000_000
HELD = 60
RUNGS = 19
COMMANDS = 300
BAR_DAYS = 4  # of minutes, for every symbol
LONG_DAYS = 130  # of 15m bars, for every symbol; SWING looks far back
MEASURED = {
    "DCA": ("high_4h", "drop", "volume_ratio", "slow_regime"),
    "SWING": (
        "resistance", "breakout", "volume_ratio", "rsi", "macd_hist", "ema_20_4h", "ema_50_4h",
        "bull_flag", "cup_and_handle", "ascending_triangle",
    ),
    "CHANNEL": (
        "upper", "lower", "slope", "direction", "strength", "touches_upper", "touches_lower", "width",
        "place", "target",
    ),
}  # fmt: skip
REFUSED = (Reason.SHARE_USED, Reason.SYMBOL_LIMIT, Reason.COOLDOWN, Reason.CONFIDENCE_LOW)
NEAR = {"DCA": Reason.DROP_TOO_SMALL, "SWING": Reason.VOLUME_LOW, "CHANNEL": Reason.NOT_IN_BUY_ZONE}
EXITS = ("take_profit", "stop_loss", "trailing_stop", "time_exit")
EXIT_SHARES = (0.52, 0.27, 0.15, 0.06)


@dataclass(frozen=True, slots=True, kw_only=True)
class Large:
    """What was made: the account, its symbols, its present, one of its trades, how many rows there are."""

    account: str
    symbols: tuple[str, ...]
    until_ms: int
    trade_group_id: str
    trades: int
    setups: int
    decisions: int
    minutes: int


def make_large_home(
    home: Path, *, trades: int = 100_000, minutes: int = 500_000, blocks: int = 50_000, seed: int = 7
) -> Large:
    """The home with the account, made where it is not there yet."""
    about = home / "large.json"
    if about.is_file():
        known = json.loads(about.read_text(encoding="utf-8"))
        return Large(**{**known, "symbols": tuple(known["symbols"])})
    home.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    _write_bars(home, rng)
    found = _write_account(home / "accounts" / ACCOUNT, rng, trades=trades, minutes=minutes, blocks=blocks)
    about.write_text(json.dumps(asdict(found)), encoding="utf-8")
    return found


# --- bars ----------------------------------------------------------------------------------------


def _write_bars(home: Path, rng: np.random.Generator) -> None:
    models = {name: strategy.parameters_model for name, strategy in builtin().items()}
    settings = load_configuration(models, file=None, environment={}, assignments=()).tree.market_data
    clock = ManualClock(datetime(2025, 9, 2, tzinfo=UTC))
    with BarStore.open(home, market_data=settings, clock=clock) as store:
        for place, symbol in enumerate(SYMBOLS):
            price = 100_000.0 / (1 + place) ** 1.5
            for timeframe, days in ((Timeframe.M15, LONG_DAYS), (Timeframe.M1, BAR_DAYS)):
                start_ms = UNTIL_MS - days * DAY_MS
                bars = _walk(rng, price, timeframe, start_ms, UNTIL_MS)
                store.write(PROVIDER, symbol, timeframe, bars, [(start_ms, UNTIL_MS)])


def _walk(
    rng: np.random.Generator, price: float, timeframe: Timeframe, start_ms: int, end_ms: int
) -> BarBatch:
    """A random walk that ends near `price`."""
    times = np.arange(start_ms, end_ms, timeframe.ms, dtype=np.int64)
    moves = rng.normal(0.0, 0.0005 * (timeframe.ms / MINUTE_MS) ** 0.5, len(times))
    close = price * np.exp(np.cumsum(moves) - moves.sum())
    opened = np.concatenate([close[:1], close[:-1]])
    wick = 1.0 + np.abs(rng.normal(0.0, 0.0003, len(times)))
    return BarBatch(
        open_time_ms=times,
        open=opened,
        high=np.maximum(opened, close) * wick,
        low=np.minimum(opened, close) / wick,
        close=close,
        volume=rng.gamma(2.0, 50.0, len(times)),
    )


# --- the account ---------------------------------------------------------------------------------


def _write_account(
    folder: Path, rng: np.random.Generator, *, trades: int, minutes: int, blocks: int
) -> Large:
    folder.mkdir(parents=True)
    models = {name: strategy.parameters_model for name, strategy in builtin().items()}
    symbols = json.dumps([str(symbol) for symbol in SYMBOLS])
    tree = load_configuration(
        models,
        file=None,
        environment={},
        assignments=[f"universe.symbols={symbols}", f"trading.capital_quote={CAPITAL}"],
    ).tree
    row = configuration_row(tree)
    start_ms = UNTIL_MS - minutes * MINUTE_MS
    account = Account(
        kind="paper",
        symbols=tuple(sorted(SYMBOLS)),
        reference=SYMBOLS[0],
        providers=dict.fromkeys(SYMBOLS, PROVIDER),
        strategies=STRATEGIES,
        capital_quote=Decimal(CAPITAL),
        start_ms=start_ms,
        end_ms=None,
        created_at_ms=start_ms,
        code_version="benchmark",
    )
    path = folder / TRADING_FILE
    engine = open_engine(path)
    upgrade(engine, TRADING)
    engine.dispose()
    made = _Rows(rng, account, row.version, trades=trades, minutes=minutes)
    with _writing(path) as write:
        first = {"version": row.version, "canonical": row.canonical, "document": row.document}
        write("configurations", [plain(trading_tables.configurations, first | {"first_ms": start_ms})])
        write("account", [plain(trading_tables.account, account_values(account))])
        write("minutes", made.minute_rows())
        write("decision_blocks", made.block_rows(blocks))
        setups = write("setups", made.setup_rows())
        write("trades", made.trade_rows())
        write("orders", made.order_rows())
        write("fills", made.fill_rows())
        write("positions", made.position_rows())
        write("command_results", made.answer_rows())
        write(
            "sessions",
            [(1, start_ms, UNTIL_MS, 4_242, "benchmark", "benchmark", start_ms)],
        )
        write("trader", [(1, UNTIL_MS, row.version, made.state().to_bytes())])
    _write_control(folder / CONTROL_FILE, start_ms)
    return Large(
        account=ACCOUNT,
        symbols=tuple(map(str, SYMBOLS)),
        until_ms=UNTIL_MS,
        trade_group_id=_group(*made.groups[-1]),
        trades=trades,
        setups=setups,
        decisions=blocks * len(SYMBOLS),
        minutes=minutes,
    )


def _group(symbol: str, strategy: str, decided_ms: int) -> str:
    return trade_group_id(Symbol.parse(symbol), strategy, from_ms(decided_ms))


class _Rows:
    """The rows of every table, in the order of its columns, as SQLite keeps them."""

    def __init__(
        self, rng: np.random.Generator, account: Account, version: str, *, trades: int, minutes: int
    ) -> None:
        self._rng = rng
        self._account = account
        self._version = version
        self._minutes = minutes
        self._names = [str(symbol) for symbol in account.symbols]
        self._prices = {str(symbol): 100_000.0 / (1 + place) ** 1.5 for place, symbol in enumerate(SYMBOLS)}
        start_ms, held_max = account.start_ms, 2 * DAY_MS
        # Closes of 15m on which every strategy scans: no symbol is decided on twice at one.
        closes = (UNTIL_MS - held_max - start_ms) // Timeframe.M15.ms - 1
        cells = rng.choice(closes * len(self._names), size=trades, replace=False)
        decided = start_ms + (cells // len(self._names) + 1) * Timeframe.M15.ms
        held = rng.integers(5, held_max // MINUTE_MS, trades) * MINUTE_MS
        order = np.argsort(decided + held, kind="stable")
        self._decided, self._exits = decided[order], (decided + held)[order]
        self._symbol = (cells % len(self._names))[order]
        self._strategy = rng.choice(len(STRATEGIES), trades, p=(0.6, 0.25, 0.15))
        self._reason = rng.choice(len(EXITS), trades, p=EXIT_SHARES)
        self._invested = rng.integers(50, 2_000, trades) * QUOTE_SCALE
        won = np.isin(self._reason, (0, 2))
        self._return = np.where(won, rng.gamma(2.0, 0.006, trades), -rng.gamma(2.0, 0.008, trades))
        self._equity = self._walked_equity()
        self.groups = [
            (self._names[symbol], STRATEGIES[strategy], decided_ms)
            for symbol, strategy, decided_ms in zip(
                self._symbol.tolist(), self._strategy.tolist(), self._decided.tolist(), strict=True
            )
        ]
        self._held = self._positions()

    def _walked_equity(self) -> IntArray:
        moves = self._rng.normal(0.0000004, 0.00012, self._minutes)
        equity: IntArray = np.rint(CAPITAL * np.exp(np.cumsum(moves)) * QUOTE_SCALE).astype(np.int64)
        return equity

    def _positions(self) -> list[tuple[str, str, str, int, float]]:
        """Group, symbol, strategy, decision and price of what is held."""
        decided = UNTIL_MS - HOUR_MS * self._rng.integers(1, 40, HELD)
        return [
            (_group(name, strategy, int(decided_ms)), name, strategy, int(decided_ms), self._prices[name])
            for name, strategy, decided_ms in zip(
                self._names[:HELD], (STRATEGIES * HELD)[:HELD], decided.tolist(), strict=True
            )
        ]

    def minute_rows(self) -> Iterator[tuple[Any, ...]]:
        """500,000 minutes; now and then the market is not NORMAL."""
        regimes = [regime.name.lower() for regime in (Regime.NORMAL, Regime.CAUTION, Regime.EUPHORIA)]
        which = np.repeat(self._rng.choice(3, -(-self._minutes // 360), p=(0.9, 0.07, 0.03)), 360)
        digest, seen = bytes(16), encode_revisions(np.zeros(len(self._account.watched), dtype=np.int32))
        for number, equity in enumerate(self._equity.tolist()):
            time_ms = self._account.start_ms + number * MINUTE_MS
            yield (
                time_ms, self._version, seen, digest, equity, equity // 2, equity // 20,
                regimes[which[number]], 0.03, time_ms + MINUTE_MS + 2_000, digest,
            )  # fmt: skip

    def block_rows(self, blocks: int) -> Iterator[tuple[int, str, bytes]]:
        """The last blocks of all strategies, each over all symbols."""
        symbols = self._account.symbols
        per_day = sum(DAY_MS // timeframe.ms for timeframe in EVERY.values())
        closes: list[tuple[int, str]] = []
        for strategy, timeframe in EVERY.items():
            count = -(-blocks * (DAY_MS // timeframe.ms) // per_day)
            closes += [(UNTIL_MS - place * timeframe.ms, strategy) for place in range(count)]
        prices = np.array([self._prices[name] for name in self._names])
        for time_ms, strategy in sorted(sorted(closes)[-blocks:]):
            readiness = self._rng.gamma(3.0, 12.0, len(symbols)).clip(0.0, 99.0)
            measured = {name: self._rng.normal(0.0, 1.0, len(symbols)) for name in MEASURED[strategy]}
            for name in {"high_4h", "resistance", "upper", "lower"} & set(measured):
                measured[name] = prices * self._rng.normal(1.01, 0.005, len(symbols))
            block = ScanBlock(
                strategy=strategy,
                time_ms=time_ms,
                version=self._version,
                symbols=symbols,
                reason=np.full(len(symbols), int(NEAR[strategy]), dtype=np.int8),
                readiness=readiness,
                confidence=self._rng.uniform(0.1, 0.9, len(symbols)),
                measurements=measured,
            )
            yield time_ms, strategy, encode_block(block)

    def setup_rows(self) -> Iterator[tuple[Any, ...]]:
        """One that was taken for each trade and position, one refused, and three near misses."""
        number = 0
        refusals = self._rng.integers(0, len(REFUSED), len(self.groups)).tolist()
        for (symbol, strategy, time_ms), refusal in zip(self.groups, refusals, strict=True):
            refused, missed = (name for name in STRATEGIES if name != strategy)
            yield (
                time_ms, symbol, strategy, number, "TAKE", "accepted", 100.0, 0.7, 1, 0, None, None,
                self._version,
            )  # fmt: skip
            yield (
                time_ms, symbol, refused, number + 1, "SKIP", REFUSED[refusal].code, 100.0,
                0.6, 2, 0, 900.0, 800.0, self._version,
            )  # fmt: skip
            for later_ms, name in ((0, missed), (5 * MINUTE_MS, "DCA"), (10 * MINUTE_MS, "DCA")):
                yield (
                    time_ms + later_ms, symbol, name, None, "NEAR_MISS", NEAR[name].code,
                    85.0, 0.5, None, 0, None, None, self._version,
                )  # fmt: skip
            number += 2
        for group, symbol, strategy, decided_ms, _ in self._held:
            del group
            yield (
                decided_ms, symbol, strategy, number, "TAKE", "accepted", 100.0, 0.7, 1, 0, None, None,
                self._version,
            )  # fmt: skip
            number += 1
        self._next_setup = number

    def trade_rows(self) -> Iterator[tuple[Any, ...]]:
        """Closed trades in the order in which they closed."""
        for number, (symbol, strategy, decided) in enumerate(self.groups):
            group = _group(symbol, strategy, decided)
            invested, fraction = int(self._invested[number]), float(self._return[number])
            price = self._prices[symbol]
            yield (
                number, group, symbol, strategy, decided, decided, int(self._exits[number]),
                f"{price:.6f}", f"{price * (1 + fraction):.6f}", f"{invested / QUOTE_SCALE / price:.8f}",
                invested, invested // 500, invested // 1_000, round(invested * fraction), fraction,
                EXITS[self._reason[number]], 1 + number % 3, 0, 0, self._version,
            )  # fmt: skip

    def order_rows(self) -> Iterator[tuple[Any, ...]]:
        """A filled market entry and a cancelled rung of each trade; the whole ladders of what is held."""
        for number, (symbol, strategy, decided) in enumerate(self.groups):
            group = _group(symbol, strategy, decided)
            ended_ms, quote = int(self._exits[number]) + MINUTE_MS, int(self._invested[number])
            head = (group, symbol, strategy)
            yield (
                f"{group}/0", *head, "market", 0, quote, None, "filled", decided,
                decided + MINUTE_MS, None, self._version,
            )  # fmt: skip
            yield (
                f"{group}/1", *head, "rung", 1, quote, f"{self._prices[symbol] * 0.99:.6f}", "cancelled",
                decided, ended_ms, "cancelled", self._version,
            )  # fmt: skip
        for group, symbol, strategy, decided_ms, price in self._held:
            yield (
                f"{group}/0", group, symbol, strategy, "market", 0, 100 * QUOTE_SCALE, None, "filled",
                decided_ms, decided_ms + MINUTE_MS, None, self._version,
            )  # fmt: skip
            for rung in range(1, RUNGS + 1):
                yield (
                    f"{group}/{rung}", group, symbol, strategy, "rung", rung, 100 * QUOTE_SCALE,
                    f"{price * (1 - 0.01 * rung):.6f}", "open", decided_ms, None, None, self._version,
                )  # fmt: skip

    def fill_rows(self) -> Iterator[tuple[Any, ...]]:
        """An entry and an exit of each trade; an entry of what is held."""
        sequence = 0
        for number, (symbol, strategy, decided) in enumerate(self.groups):
            group = _group(symbol, strategy, decided)
            invested = int(self._invested[number])
            price = self._prices[symbol]
            quantity = f"{invested / QUOTE_SCALE / price:.8f}"
            for kind, bar_ms, reason in (
                ("entry", decided, "none"),
                ("exit", int(self._exits[number]), EXITS[self._reason[number]]),
            ):
                yield (
                    sequence, group, symbol, strategy, kind, 0, bar_ms, f"{price:.6f}", quantity, invested,
                    invested // 1_000, invested // 2_000, reason, 0,
                )  # fmt: skip
                sequence += 1
        for group, symbol, strategy, decided_ms, price in self._held:
            yield (
                sequence, group, symbol, strategy, "entry", 0, decided_ms, f"{price:.6f}",
                f"{100 / price:.8f}", 100 * QUOTE_SCALE, QUOTE_SCALE // 10, QUOTE_SCALE // 20, "none", 0,
            )  # fmt: skip
            sequence += 1
        self._next_fill = sequence

    def position_rows(self) -> Iterator[tuple[Any, ...]]:
        """What is held, each a little above or below its entry."""
        for place, (group, symbol, strategy, decided_ms, price) in enumerate(self._held):
            moved = 0.02 * (place % 7 - 3) / 3
            quantity, pnl = f"{100 / price:.8f}", round(100 * moved * QUOTE_SCALE)
            yield (
                symbol, group, strategy, decided_ms, decided_ms, f"{price:.6f}", None, quantity, quantity,
                100 * QUOTE_SCALE, QUOTE_SCALE // 10, QUOTE_SCALE // 20, pnl, moved, "none", 1, 0, 0,
                price * (1 + moved), price * 0.95, price * 1.03, 0, UNTIL_MS + DAY_MS, None, self._version,
            )  # fmt: skip

    def answer_rows(self) -> Iterator[tuple[Any, ...]]:
        """The trader's answers to all commands but the last two."""
        for number in range(COMMANDS - 2):
            time_ms = self._account.start_ms + (number + 1) * HOUR_MS
            status, sentence = ("applied", "SOL/USD may be bought again") if number % 7 else (
                "refused", "SOL/USD is not blocked",
            )  # fmt: skip
            yield f"command-{number:05}", "unblock", status, time_ms, sentence, time_ms

    def state(self) -> TraderState:
        """A state in which the positions and their rungs are held."""
        symbols = len(self._names)
        portfolio = PortfolioState.fresh(symbols, len(STRATEGIES), CAPITAL * QUOTE_SCALE)
        equity = int(self._equity[-1])
        portfolio.book["equity"], portfolio.book["peak"] = equity, int(self._equity.max())
        portfolio.book["cash"], portfolio.book["reserved"] = equity // 2, HELD * RUNGS * 100 * QUOTE_SCALE
        portfolio.book["day_base"] = int(self._equity[-1_440])
        portfolio.coins["last_close"] = [self._prices[name] for name in self._names]
        portfolio.coins["last_close_ms"] = UNTIL_MS
        portfolio.coins["stops"][HELD : HELD + 5] = 2
        portfolio.coins["cooldown_ms"][HELD : HELD + 3] = UNTIL_MS + 2 * HOUR_MS
        portfolio.slots["phase"][:HELD] = next(
            phase for phase in range(8) if phase not in {int(EMPTY), int(PENDING)}
        )
        portfolio.slots["strategy"][:HELD] = [STRATEGIES.index(each[2]) for each in self._held]
        portfolio.parts["open"][:HELD, 1 : RUNGS + 1] = True
        portfolio.parts["reserve"][:HELD, 1 : RUNGS + 1] = 100 * QUOTE_SCALE
        return TraderState(
            cursor_ms=UNTIL_MS,
            version=self._version,
            portfolio=portfolio,
            carry=MarketCarry(
                regime=Regime.NORMAL, switched_on=(True,) * len(STRATEGIES), first_ms=UNTIL_MS - 4 * DAY_MS
            ),
            was_setup=np.zeros((len(STRATEGIES), symbols), dtype=np.bool_),
            forced=NO_FORCE,
            next_setup=self._next_setup,
            next_fill=self._next_fill,
            next_trade=len(self.groups),
        )


def _write_control(path: Path, start_ms: int) -> None:
    engine = open_engine(path)
    upgrade(engine, CONTROL)
    engine.dispose()
    with _writing(path) as write:
        given = [(number, f"command-{number:05}", start_ms + number * HOUR_MS) for number in range(COMMANDS)]
        arguments = json.dumps({"symbol": "SOL/USD"})
        write(
            control_tables.commands.name,
            [
                (number + 1, name, "unblock", arguments, None, "web:anna", at_ms)
                for number, name, at_ms in given
            ],
        )
        write(
            control_tables.audit.name,
            [
                (number + 1, at_ms, "web:anna", "unblock", json.dumps({"command_id": name}))
                for number, name, at_ms in given
            ],
        )


@contextmanager
def _writing(path: Path) -> "Iterator[Any]":
    """Writes whole rows, in one transaction and without waiting for the disk."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous=OFF")
        connection.execute("BEGIN")

        def write(table: str, rows: Iterable[tuple[Any, ...]]) -> int:
            listed = iter(rows)
            first = next(listed, None)
            if first is None:
                return 0
            marks = ", ".join("?" * len(first))
            statement = f"INSERT INTO {table} VALUES ({marks})"  # noqa: S608 - our own names
            connection.execute(statement, first)
            return 1 + int(connection.executemany(statement, listed).rowcount)

        yield write
        connection.execute("COMMIT")
        connection.execute("ANALYZE")


def main() -> None:
    """Make the home that is named."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("home", type=Path)
    sizes: Mapping[str, int] = {"trades": 100_000, "minutes": 500_000, "blocks": 50_000}
    for name, usual in sizes.items():
        parser.add_argument(f"--{name}", type=int, default=usual)
    options = parser.parse_args()
    found = make_large_home(
        options.home, trades=options.trades, minutes=options.minutes, blocks=options.blocks
    )
    print(
        f"{found.trades:,} trades, {found.setups:,} setups and near misses, {found.decisions:,} decisions, "
        f"{found.minutes:,} minutes, {len(found.symbols)} symbols"
    )


if __name__ == "__main__":
    main()

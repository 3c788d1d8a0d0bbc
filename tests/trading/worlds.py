"""A small market that is never quiet, people who meddle with its trading, and all that an account must keep.

Six coins on 1m over 32 hours and two midnights, with a crash, silent minutes and an outage. A trader that
replays it opens ladders, is stopped, goes through PANIC and obeys commands at exact minutes. The home with the bars
and the undisturbed run are made once for a session of tests; `new_home` gives each test a home of its own.
"""

import json
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from crypto_tracker.app.trading import AT_ONCE, FullSpeed, Session, Wish, trading_session
from crypto_tracker.config.market_data import MarketData
from crypto_tracker.config.tree import Configuration, load_configuration
from crypto_tracker.core.clock import ManualClock
from crypto_tracker.core.resample import resample
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import HOUR_MS, MINUTE_MS, Timeframe, to_ms
from crypto_tracker.market.providers.synthetic import SyntheticMarket
from crypto_tracker.market.providers.synthetic_settings import Crash, SyntheticSettings, default_coins
from crypto_tracker.store.bars import BarStore
from crypto_tracker.store.batch import BarBatch
from crypto_tracker.store.choice import choose
from crypto_tracker.store.control import Command, ControlStore
from crypto_tracker.store.database import open_engine
from crypto_tracker.store.reader import BarReader
from crypto_tracker.store.trading_records import StepRecord
from crypto_tracker.store.trading_tables import metadata
from crypto_tracker.strategies.registry import builtin
from crypto_tracker.trading.setting import configuration_row

PROVIDER = "synthetic"
GENESIS_MS = to_ms(datetime(2024, 10, 1, tzinfo=UTC))
MINUTES_FROM_MS = to_ms(datetime(2025, 2, 25, tzinfo=UTC))
START_MS = to_ms(datetime(2025, 3, 1, 21, 40, tzinfo=UTC))
END_MS = to_ms(datetime(2025, 3, 3, 6, 0, tzinfo=UTC))
NOW = datetime(2025, 5, 1, tzinfo=UTC)
ACCOUNT = "trader"
COINS = ("BTC", "ETH", "SOL", "DOGE", "PEPE", "WIF")
PAIRS = tuple(Symbol(base, "USD") for base in COINS)
CRASH_MS = START_MS + 9 * HOUR_MS
OUTAGE_MS = (START_MS + 6 * HOUR_MS + 11 * MINUTE_MS, START_MS + 6 * HOUR_MS + 24 * MINUTE_MS)

# So that much happens in so short a time.
LIVELY = (
    "strategies.DCA.drop.large_cap=0.008",
    "strategies.DCA.drop.mid_cap=0.012",
    "strategies.DCA.drop.memecoin=0.015",
    "strategies.DCA.spacing=0.004",
    "strategies.DCA.exits.take_profit={large_cap=0.012,mid_cap=0.015,small_cap=0.02,memecoin=0.02}",
    "strategies.DCA.exits.stop_loss={large_cap=0.012,mid_cap=0.015,small_cap=0.02,memecoin=0.02}",
    "strategies.SWING.breakout=1.001",
    "strategies.SWING.volume_factor=0.8",
    "strategies.CHANNEL.strength=0.5",
    "strategies.CHANNEL.bottom_share=0.3",
    "strategies.CHANNEL.width_round_trips=1.5",
    "protection.cooldown_stops=1",
    "protection.cooldown_hours={large_cap=1,mid_cap=1,small_cap=2,memecoin=3}",
    "limits.min_confidence=0.3",
)
# What moves with what is held is refused, after a few hours already.
ALIKE = (
    *LIVELY,
    "limits.correlation_limit=true",
    "limits.max_correlation=0.2",
    "limits.correlation_hours_min=4",
)
CHANGED = (*LIVELY, "limits.reserve=0.1", "strategies.DCA.size_quote=150", "costs.taker_fee=0.002")


def synthetic_market() -> SyntheticMarket:
    """Six coins, an outage of all of them, and a fall of a tenth within an hour."""
    return SyntheticMarket(
        SyntheticSettings(
            seed=23,
            genesis_ms=GENESIS_MS,
            coins=tuple(
                coin.model_copy(update={"trades_per_minute": min(coin.trades_per_minute, 30.0)})
                for coin in default_coins()
                if coin.symbol.base in COINS
            ),
            factor_volatility=0.05,
            news_per_day=1.0,
            outages_per_day=0.0,
            outages_ms=(OUTAGE_MS,),
            crashes=(
                Crash(
                    start_ms=CRASH_MS,
                    depth=0.10,
                    fall_minutes=60,
                    recovery_minutes=600,
                    recovered=0.8,
                    volatility=0.15,
                ),
            ),
        )
    )


def configuration(assignments: Iterable[str] = LIVELY) -> Configuration:
    """The defaults, with some values set."""
    return _configuration(tuple(assignments))


@cache
def _configuration(assignments: tuple[str, ...]) -> Configuration:
    models = {name: strategy.parameters_model for name, strategy in builtin().items()}
    return load_configuration(models, file=None, environment={}, assignments=[*assignments, *TICKS]).tree


TICKS = tuple(
    f'instruments."{coin.symbol}".tick={coin.tick:.10f}'
    for coin in default_coins()
    if coin.symbol.base in COINS
)


def market_data() -> MarketData:
    """What the configuration says of stored bars."""
    return configuration().market_data


def build_home(home: Path, *, until_ms: int = END_MS + 6 * HOUR_MS) -> Path:
    """Write the market's bars before `until_ms` under `home`, and the configuration that trades them."""
    made = synthetic_market()
    with BarStore.open(home, market_data=market_data(), clock=ManualClock(NOW)) as store:
        for symbol in made.symbols:
            earlier = made.panel([symbol], GENESIS_MS, MINUTES_FROM_MS)
            for timeframe in (Timeframe.M15, Timeframe.H4, Timeframe.D1):
                bars = BarBatch.of_column(resample(earlier, timeframe), symbol)
                store.write(PROVIDER, symbol, timeframe, bars, [(GENESIS_MS, MINUTES_FROM_MS)])
            for _, bars, covered in made.batches([symbol], MINUTES_FROM_MS, until_ms, days=31):
                store.write(PROVIDER, symbol, Timeframe.M1, bars, covered)
    (home / "config.toml").write_text("\n".join([*LIVELY, *TICKS]) + "\n", encoding="utf-8")
    return home


_KEPT: list[tempfile.TemporaryDirectory[str]] = []  # removed when the process ends


@cache
def made_home() -> Path:
    """The home with the bars, made once. Nobody trades in it: take `new_home`."""
    folder = tempfile.TemporaryDirectory()
    _KEPT.append(folder)
    return build_home(Path(folder.name) / "home")


def new_home(to: Path, *, wishes: Sequence["Wished"] = ()) -> Path:
    """A home of one's own, with what people wish of its account."""
    copied = Path(shutil.copytree(made_home(), to, ignore=shutil.ignore_patterns("*.lock", "*-wal", "*-shm")))
    if wishes:
        tell(account_folder(copied), wishes)
    return copied


@dataclass(frozen=True, slots=True)
class Wished:
    """One command of a person, due `minute` minutes after the account's start; None for at once."""

    minute: int | None
    kind: str
    arguments: Mapping[str, str | int]


MEDDLED = (
    Wished(None, "block", {"symbol": "SOL/USD"}),
    Wished(95, "pause", {}),
    Wished(170, "resume", {}),
    Wished(170, "unblock", {"symbol": "SOL/USD"}),
    Wished(333, "close_worst", {"count": 2}),
    Wished(400, "strategy_off", {"strategy": "CHANNEL"}),
    Wished(401, "strategy_off", {"strategy": "CHANNEL"}),  # refused: it is off
    Wished(480, "close", {"symbol": "DOGE/USD"}),
    Wished(660, "cooldown_clear", {"symbol": "PEPE/USD"}),
    Wished(700, "strategy_on", {"strategy": "CHANNEL"}),
    Wished(760, "streak_clear", {"strategy": "DCA"}),
    Wished(800, "configure", {"version": "changed"}),
    Wished(900, "regime_force", {"regime": "panic"}),
    Wished(960, "regime_release", {}),
    Wished(1100, "regime_force", {"regime": "caution"}),
    Wished(1440, "close", {"symbol": "BTC/USD"}),
    Wished(1500, "regime_release", {}),
    Wished(1700, "configure", {"version": "first"}),
    Wished(9_999, "pause", {}),  # due after the end: never answered
)


def tell(folder: Path, wishes: Sequence[Wished] = MEDDLED, *, start_ms: int = START_MS) -> None:
    """Store commands for the account of a folder, with ids that are the same every time.

    `first` and `changed` name the configurations LIVELY and CHANGED.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows = {
        "first": configuration_row(configuration()),
        "changed": configuration_row(configuration(CHANGED)),
    }
    with ControlStore.open(folder) as control:
        for row in rows.values():
            control.offer_configuration(row, source="test", actor="test", created_at_ms=0)
        for number, wish in enumerate(wishes):
            arguments = dict(wish.arguments)
            if wish.kind == "configure":
                arguments["version"] = rows[str(arguments["version"])].version
            due_ms = None if wish.minute is None else start_ms + wish.minute * MINUTE_MS
            control.add(
                Command(
                    command_id=f"command-{number:03d}",
                    kind=wish.kind,
                    arguments=arguments,
                    not_before_ms=due_ms,
                    actor="test",
                    created_at_ms=0,
                )
            )


def account_folder(home: Path, name: str = ACCOUNT) -> Path:
    """Where an account of a home lies."""
    return home / "accounts" / name


def span(start_ms: int = START_MS, end_ms: int = END_MS) -> str:
    """A span as `--replay` takes it."""
    return f"{_moment(start_ms)}..{_moment(end_ms)}"


def timerange(start_ms: int = START_MS, end_ms: int = END_MS) -> str:
    """A span as `--timerange` takes it."""
    return f"{_moment(start_ms)}-{_moment(end_ms)}"


def _moment(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1_000, UTC).strftime("%Y%m%dT%H%M")


# ------------------------------------------------------------------------------------------- trading it


class Quiet:
    """A watcher that says nothing, and asks to stop once it has seen enough.

    Parameters
    ----------
    enough : is told each committed minute and says whether to stop after it
    """

    def __init__(self, enough: Callable[[StepRecord], bool] | None = None) -> None:
        self.steps: list[StepRecord] = []
        self.session: Session | None = None
        self._enough = enough

    def stepped(self, record: StepRecord, seconds: float) -> None:
        del seconds
        self.steps.append(record)
        if self._enough is not None and self._enough(record) and self.session is not None:
            self.session.stop.ask()

    @property
    def states(self) -> dict[int, bytes]:
        """The trader's state at every cursor that it came to."""
        return {step.time_ms + MINUTE_MS: step.state for step in self.steps}

    def waiting(self, minute_ms: int, now_ms: int) -> None:
        raise AssertionError(f"the minute {minute_ms} is waited for at {now_ms}, though all bars are there")

    def alarm(self, sentence: str) -> None:
        raise AssertionError(sentence)


def trade(
    home: Path,
    *,
    name: str = ACCOUNT,
    start_ms: int = START_MS,
    end_ms: int = END_MS,
    assignments: Iterable[str] = LIVELY,
    enough: Callable[[StepRecord], bool] | None = None,
    follow: bool = False,
    watcher: Quiet | None = None,
) -> Quiet:
    """Trade the account in this process, from where it stands until the end or until it is enough.

    With `follow` it is opened for the whole span though its bars are not there yet; what then happens while
    nothing is due, says a `watcher` of one's own.
    """
    tree = configuration(assignments)

    def wish() -> Wish:
        with BarReader.open(home) as reader:
            choice = choose(
                reader.series(),
                tree,
                pairs=(),
                timeframe=str(Timeframe.M1),
                provider=None,
                start_ms=None if follow else start_ms,
                end_ms=None if follow else end_ms,
            )
        return Wish(kind="replay", choice=choice, start_ms=start_ms, end_ms=end_ms)

    watcher = Quiet(enough) if watcher is None else watcher
    with trading_session(
        home, account_folder(home, name), builtin(), tree, wish, now=lambda: NOW, wait_ms=0, durable=False
    ) as session:
        watcher.session = session
        session.run(FullSpeed(), AT_ONCE, watcher, now=lambda: NOW)
    return watcher


@cache
def undisturbed_run(end_ms: int = END_MS) -> "tuple[Dump, dict[int, bytes]]":
    """The account traded from START_MS with MEDDLED, which nobody disturbed.

    All its records, and the trader's state at every cursor that it came to.
    """
    with tempfile.TemporaryDirectory() as folder:
        home = new_home(Path(folder) / "home", wishes=MEDDLED)
        watcher = trade(home, end_ms=end_ms)
        return dump(account_folder(home)), watcher.states


def undisturbed(end_ms: int = END_MS) -> "Dump":
    """All records of the account that nobody disturbed."""
    return undisturbed_run(end_ms)[0]


# ---------------------------------------------------------------------------------------- what is compared

_OF_THE_CLOCK = {"recorded_at_ms", "created_at_ms"}
Dump = dict[str, list[dict[str, Any]]]


def dump(folder: Path) -> Dump:
    """All that two runs of the same account must have alike: every table but `sessions`, in order of its key.

    The times of the wall clock are left out. The trader's state is there as its bytes.
    """
    engine = open_engine(folder / "trading.db", read_only=True)
    found: Dump = {}
    try:
        with engine.connect() as connection:
            for table in metadata.sorted_tables:
                if table.name == "sessions":
                    continue
                names = [column.name for column in table.columns if column.name not in _OF_THE_CLOCK]
                key = ", ".join(column.name for column in table.primary_key)
                rows = connection.exec_driver_sql(
                    f"SELECT {', '.join(names)} FROM {table.name} ORDER BY {key}"
                )
                found[table.name] = [dict(zip(names, row, strict=True)) for row in rows]
    finally:
        engine.dispose()
    return found


def differences(expected: Dump, found: Dump) -> list[str]:
    """Where two dumps differ, a sentence for each table; empty where they are equal."""
    told = []
    for name, rows in expected.items():
        others = found[name]
        if rows == others:
            continue
        if len(rows) != len(others):
            told.append(f"{name}: {len(rows)} rows expected, {len(others)} found")
        for index, (row, other) in enumerate(zip(rows, others, strict=False)):
            if row != other:
                cells = {key: (row[key], other[key]) for key in row if row[key] != other[key]}
                told.append(
                    f"{name}, row {index}: expected and found {json.dumps(cells, default=repr)[:600]}"
                )
                break
    return told

"""A home with a small synthetic market in its store, made once for all tests of the commands."""

import io
import json
import shutil
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from datetime import UTC, datetime
from pathlib import Path

import pytest

from crypto_tracker.app.cli.main import main
from crypto_tracker.config.market_data import MarketData
from crypto_tracker.config.tree import load_configuration
from crypto_tracker.core.clock import ManualClock
from crypto_tracker.core.resample import resample
from crypto_tracker.core.timeframes import DAY_MS, Timeframe, to_ms
from crypto_tracker.market.providers.synthetic import SyntheticMarket
from crypto_tracker.market.providers.synthetic_settings import SyntheticSettings, default_coins, flash_crash
from crypto_tracker.store.bars import BarStore
from crypto_tracker.store.batch import BarBatch
from crypto_tracker.strategies.registry import builtin
from tests.app.books import Document

# SWING needs 300 bars of 4 h before the month that is traded.
FIRST_MS = to_ms(datetime(2025, 1, 8, tzinfo=UTC))
MARCH_MS = to_ms(datetime(2025, 3, 1, tzinfo=UTC))
LAST_MS = MARCH_MS + 15 * DAY_MS
MINUTE_COINS = ("BTC", "ETH", "SOL", "PEPE")
HOUR_COIN = "ADA"  # the store has nothing finer than 1h of it


def synthetic_market() -> SyntheticMarket:
    """Five coins with a crash on the ninth of March."""
    return SyntheticMarket(
        SyntheticSettings(
            seed=11,
            genesis_ms=FIRST_MS,
            coins=tuple(coin for coin in default_coins() if coin.symbol.base in {*MINUTE_COINS, HOUR_COIN}),
            crashes=(flash_crash(MARCH_MS + 8 * DAY_MS),),
        )
    )


def default_market_data() -> MarketData:
    """What the configuration says of stored bars."""
    strategies = {name: strategy.parameters_model for name, strategy in builtin().items()}
    return load_configuration(strategies, file=None, environment={}, assignments=()).tree.market_data


@pytest.fixture(scope="session")
def market_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """BTC, ETH, SOL and PEPE on 1m and ADA on 1h, 8 January to 15 March 2025, of the provider `synthetic`."""
    home = tmp_path_factory.mktemp("market") / "home"
    made = synthetic_market()
    clock = ManualClock(datetime(2025, 5, 1, tzinfo=UTC))
    with BarStore.open(home, market_data=default_market_data(), clock=clock) as store:
        for symbol in made.symbols:
            panel = made.panel([symbol], FIRST_MS, LAST_MS)
            if symbol.base == HOUR_COIN:
                panel = resample(panel, Timeframe.H1)
            covered = made.coverage(symbol, FIRST_MS, LAST_MS)
            store.write("synthetic", symbol, panel.timeframe, BarBatch.of_column(panel, symbol), covered)
    return home


@pytest.fixture
def home(market_home: Path, tmp_path: Path) -> Path:
    """A home of one's own with the same bars, in which nothing was recorded yet."""
    return copied(market_home, tmp_path / "home")


def copied(home: Path, to: Path) -> Path:
    """A copy of a home's bars, without what was recorded there."""
    return Path(shutil.copytree(home, to, ignore=shutil.ignore_patterns("runs.db*")))


Command = Callable[..., tuple[int, str, str]]


def run_command(home: Path, *arguments: str) -> tuple[int, str, str]:
    """Run the command line in this process: exit code, standard output, standard error."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as ended:
        main(["--home", str(home), *arguments])
    return int(ended.value.code or 0), out.getvalue(), err.getvalue()


@pytest.fixture(scope="session")
def command() -> Command:
    """Runs the command line: `command(home, "backtest", "--json")`."""
    return run_command


MARCH = ("--timerange", "20250301-20250316")
# So that all three strategies trade in so short a time.
LIVELY = (
    "--set", "strategies.SWING.breakout=1.001",
    "--set", "strategies.SWING.volume_factor=0.8",
    "--set", "strategies.CHANNEL.strength=0.5",
    "--set", "strategies.CHANNEL.bottom_share=0.3",
)  # fmt: skip


def backtest(home: Path, *arguments: str) -> Document:
    """The JSON document of a backtest that works."""
    code, out, err = run_command(home, "backtest", *arguments, "--json")
    assert code == 0, err
    document: Document = json.loads(out)
    return document


@pytest.fixture(scope="session")
def lively(market_home: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Document]:
    """A run of half a month with every scan kept, and the home that it was recorded in."""
    home = copied(market_home, tmp_path_factory.mktemp("lively") / "home")
    return home, backtest(home, *MARCH, *LIVELY, "--record-scans")

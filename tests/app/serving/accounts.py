"""A trading account of the lively market of `tests.trading.worlds`, and the desk that shows it."""

import shutil
from collections.abc import Mapping
from pathlib import Path

from crypto_tracker.app.serving.account_book import AccountBook
from crypto_tracker.app.serving.desk import HomeDesk
from crypto_tracker.config.tree import Configuration, load_configuration
from crypto_tracker.core.timeframes import MINUTE_MS, to_ms
from crypto_tracker.strategies.base import Strategy
from crypto_tracker.strategies.registry import builtin
from tests.trading import worlds

MEDDLED_MINUTES = 540
"""So far the account of the fixture is traded: it holds six positions, some with resting rungs."""
NOW_MS = to_ms(worlds.NOW)


def load() -> tuple[Configuration, Mapping[str, Strategy]]:
    """The defaults and the built-in strategies."""
    models = {name: strategy.parameters_model for name, strategy in builtin().items()}
    tree = load_configuration(models, file=None, environment={}, assignments=()).tree
    return tree, builtin()


def new_desk(home: Path, now_ms: int = NOW_MS) -> HomeDesk:
    """The desk of a home at a time of the clock that stands still."""
    return HomeDesk(home, load, lambda: now_ms, NOW_MS - MINUTE_MS, "test")


def book_of(desk: HomeDesk, name: str = worlds.ACCOUNT) -> AccountBook:
    """The book of an account, not of a run."""
    book = desk.book(name)
    assert isinstance(book, AccountBook)
    return book


def copied(home: Path, to: Path) -> Path:
    """A home of one's own that holds the same."""
    return Path(shutil.copytree(home, to, ignore=shutil.ignore_patterns("*.lock", "*-wal", "*-shm")))


def trade_on(home: Path, minutes: int) -> None:
    """Trade the account until so many minutes after its start."""
    last_ms = worlds.START_MS + (minutes - 1) * MINUTE_MS
    worlds.trade(home, enough=lambda record: record.time_ms >= last_ms)

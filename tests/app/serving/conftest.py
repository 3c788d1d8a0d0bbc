"""One account for all tests of its book: traded for nine hours, with a crash ahead."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from crypto_tracker.app.serving.account_book import AccountBook
from tests.app.serving.accounts import MEDDLED_MINUTES, book_of, copied, new_desk, trade_on
from tests.trading import worlds


@pytest.fixture(scope="session")
def traded_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose account stopped in the middle of its replay. Nobody writes in it: take `home`."""
    home = worlds.new_home(tmp_path_factory.mktemp("traded") / "home", wishes=worlds.MEDDLED)
    trade_on(home, MEDDLED_MINUTES)
    return home


@pytest.fixture(scope="session")
def traded_book(traded_home: Path) -> Iterator[AccountBook]:
    """The book of that account."""
    desk = new_desk(traded_home)
    yield book_of(desk)
    desk.close()


@pytest.fixture
def home(traded_home: Path, tmp_path: Path) -> Path:
    """A home of one's own with that account."""
    return copied(traded_home, tmp_path / "home")

"""Whatever becomes of the files of an account, who asks is told that its records cannot be read now."""

import random
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from crypto_tracker.core.errors import DataError, StoreError
from crypto_tracker.desk.source import Book, DecisionFilter, TradeFilter
from tests.app.serving.accounts import copied, new_desk
from tests.trading import worlds

ASKED: Mapping[str, Callable[[Book], object]] = {
    "status": lambda book: book.status(),
    "equity": lambda book: book.equity(100, None, None),
    "trades": lambda book: book.trades(TradeFilter(), limit=500, cursor=None),
    "decisions": lambda book: book.decisions(DecisionFilter(), limit=500, cursor=None),
    "positions": lambda book: book.positions(),
    "commands": lambda book: book.commands(limit=500, cursor=None),
    "audit": lambda book: book.audit(limit=500, cursor=None),
    "configuration": lambda book: book.configuration(),
    "log": lambda book: book.log(200),
}


def damage(path: Path, dice: random.Random) -> None:
    """Random bytes at random places, behind the name of the format."""
    held = bytearray(path.read_bytes())
    for _ in range(dice.choice([1, 3, 40])):
        start, length = dice.randrange(100, len(held)), dice.choice([1, 16, 200, 4096])
        held[start : start + length] = dice.randbytes(len(held[start : start + length]))
    path.write_bytes(held)


def test_random_bytes_over_its_files_are_never_a_mistake_of_the_server(
    traded_home: Path, tmp_path: Path
) -> None:
    refused = 0
    for seed in (*range(16), 22, 72, 131):
        home = copied(traded_home, tmp_path / str(seed))
        for path in sorted(worlds.account_folder(home).glob("*.db")):
            damage(path, random.Random(seed))
        desk = new_desk(home)
        for ask in ASKED.values():
            try:
                ask(desk.book(worlds.ACCOUNT))
            except (StoreError, DataError):  # any other error fails the test
                refused += 1
        desk.close()
    assert refused > 16


@pytest.mark.parametrize("name", ASKED)
def test_files_that_are_no_databases_are_told_as_such(home: Path, name: str) -> None:
    for path in worlds.account_folder(home).glob("*.db"):
        path.write_bytes(random.Random(1).randbytes(path.stat().st_size))
    desk = new_desk(home)
    with pytest.raises(StoreError, match="cannot be read"):
        ASKED[name](desk.book(worlds.ACCOUNT))
    desk.close()

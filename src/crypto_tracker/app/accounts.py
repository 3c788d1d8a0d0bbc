"""Which trading accounts a home holds, which of them is traded now, and which one a command means."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import func, select

from crypto_tracker.core.errors import DataError, UsageError
from crypto_tracker.store import trading_tables as tables
from crypto_tracker.store.database import current_revision, open_engine
from crypto_tracker.store.trading import is_traded
from crypto_tracker.store.trading_journal import FILE_NAME

ACCOUNTS_FOLDER = "accounts"
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")


@dataclass(frozen=True, slots=True)
class AccountPlace:
    """One account of a home: its name, its folder, and whether a process trades it now."""

    name: str
    folder: Path
    running: bool


def account_place(home: Path, name: str) -> AccountPlace:
    """Where the account `name` is, or would be; raises UsageError for a name that no folder should have."""
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} is no name of an account: use lower case letters, digits, - and _, such as paper"
        )
    folder = home / ACCOUNTS_FOLDER / name
    return AccountPlace(name, folder, is_traded(folder))


def accounts(home: Path) -> list[AccountPlace]:
    """Every account that was opened under a home, the one that was started last at the end.

    An account that was opened and never started counts from its opening.
    """
    folders = home / ACCOUNTS_FOLDER
    if not folders.is_dir():
        return []
    found = []
    for folder in folders.iterdir():
        if _NAME.fullmatch(folder.name):
            started_ms = _last_start_ms(folder)
            if started_ms is not None:
                found.append((started_ms, folder.name))
    return [account_place(home, name) for _, name in sorted(found)]


def read_account(home: Path, name: str | None) -> AccountPlace:
    """The account to read: the named one, else the only one that runs, else the one that was started last.

    Raises DataError where there is none.
    """
    if name is not None:
        return _named(home, name)
    there = _some(home)
    running = [place for place in there if place.running]
    return running[0] if len(running) == 1 else there[-1]


def commanded_account(home: Path, name: str | None) -> AccountPlace:
    """The account that a person's command is for: as `read_account`, but never a guess among running ones.

    Raises DataError where there is none, and UsageError where several run and none is named.
    """
    if name is not None:
        return _named(home, name)
    there = _some(home)
    running = [place for place in there if place.running]
    if len(running) > 1:
        raise UsageError(
            f"{len(running)} accounts are traded now ({_names(running)}): "
            f"say which one is meant, such as --account {running[-1].name}"
        )
    return running[0] if running else there[-1]


def _named(home: Path, name: str) -> AccountPlace:
    place = account_place(home, name)
    if _last_start_ms(place.folder) is None:
        raise DataError(f"there is no account {name} under {home}: there is {_names(_some(home))}")
    return place


def _some(home: Path) -> list[AccountPlace]:
    there = accounts(home)
    if not there:
        raise DataError(f"nothing has been traded yet under {home}: start with `crypto-tracker trade`")
    return there


def _names(places: Sequence[AccountPlace]) -> str:
    return ", ".join(place.name for place in places)


def _last_start_ms(folder: Path) -> int | None:
    """When the account of a folder was last started, or else opened; None where none was opened."""
    path = folder / FILE_NAME
    if not path.is_file():
        return None
    engine = open_engine(path, read_only=True)
    try:
        if current_revision(engine) is None:
            return None
        with engine.connect() as connection:
            opened = connection.execute(select(tables.account.c.created_at_ms)).scalar_one_or_none()
            started = connection.execute(select(func.max(tables.sessions.c.started_at_ms))).scalar_one()
    finally:
        engine.dispose()
    return None if opened is None else int(opened if started is None else started)

"""The files of a home: whether every database opens, how large they are, and whether the disk has room."""

import os
from collections.abc import Iterable
from pathlib import Path

from crypto_tracker.app.accounts import ACCOUNTS_FOLDER
from crypto_tracker.core.errors import StoreError
from crypto_tracker.desk.views.system import FileItem, Part
from crypto_tracker.desk.web.problems import without_paths
from crypto_tracker.store.database import current_revision, open_engine

_LITTLE = 0.10  # of the disk: so little room is told of
_LITTLE_BYTES = 5 * 1024**3
_NONE_BYTES = 512 * 1024**2  # below this nothing can be relied on
_ROOMY_BYTES = 50 * 1024**3  # so much is enough, however small a share of the disk it is


def files_of(home: Path) -> list[FileItem]:
    """What lies in a home, the largest first: files, and folders with all that is in them."""
    items = [
        FileItem(name=entry.name + ("/" if entry.is_dir() else ""), bytes=_bytes_of(Path(entry.path)))
        for entry in os.scandir(home)
        if not entry.is_symlink()
    ]
    return sorted(items, key=lambda item: (-item.bytes, item.name))


def file_parts(home: Path, files: list[FileItem], *, free_bytes: int, used: float | None) -> list[Part]:
    """Every database that does not open, all others together, and the disk."""
    broken, opened = [], 0
    for path in _databases(home):
        problem = _problem_of(path)
        if problem is None:
            opened += 1
            continue
        broken.append(
            Part(
                name=f"file {path.relative_to(home)}",
                state="failing",
                sentence=f"It cannot be read: {problem}.",
                advice="Stop what writes it, and put back a copy of the whole folder",
                since_ms=None,
            )
        )
    size = written_bytes(sum(item.bytes for item in files))
    whole = f"{opened} database{'' if opened == 1 else 's'} open{'s' if opened == 1 else ''}"
    stores = Part(
        name="stores",
        state="ok" if opened else "off",
        sentence=f"{whole}; the home has {size}." if opened else f"Nothing is stored yet: {size}.",
        advice=None if opened else "Bring bars first: `crypto-tracker collect`, or `import-data`",
        since_ms=None,
    )
    return [*broken, stores, _disk(free_bytes, used)]


def written_bytes(count: int) -> str:
    """An amount of memory, for sentences, in powers of 1,000 as the page has them.

    >>> written_bytes(950), written_bytes(24_576), written_bytes(13_676_544), written_bytes(73_014_444_032)
    ('950 B', '25 kB', '13.7 MB', '73.0 GB')
    """
    if count < 1000:
        return f"{count} B"
    if count < 1000**2:
        return f"{count / 1000:.0f} kB"
    return f"{count / 1000**2:.1f} MB" if count < 1000**3 else f"{count / 1000**3:.1f} GB"


def _disk(free_bytes: int, used: float | None) -> Part:
    little = free_bytes < _LITTLE_BYTES or (
        used is not None and used > 1 - _LITTLE and free_bytes < _ROOMY_BYTES
    )
    return Part(
        name="disk",
        state="failing" if free_bytes < _NONE_BYTES else "degraded" if little else "ok",
        sentence=f"{written_bytes(free_bytes)} free.",
        advice="Make room: without it nothing can be recorded, and trading stops" if little else None,
        since_ms=None,
    )


def _databases(home: Path) -> Iterable[Path]:
    return sorted([*home.glob("*.db"), *(home / ACCOUNTS_FOLDER).glob("*/*.db")])


def _problem_of(path: Path) -> str | None:
    """Why a database cannot be read; None where it can."""
    engine = open_engine(path, read_only=True)
    try:
        current_revision(engine)
    except StoreError as error:
        return without_paths(str(error))
    finally:
        engine.dispose()
    return None


def _bytes_of(path: Path) -> int:
    """Of a file, or of all files below a folder; what vanishes meanwhile counts nothing."""
    paths = [path]
    if path.is_dir():
        paths = [Path(folder, name) for folder, _, names in os.walk(path) for name in names]
    total = 0
    for each in paths:
        try:
            total += each.lstat().st_size
        except FileNotFoundError:
            continue  # it was replaced while we looked
    return total

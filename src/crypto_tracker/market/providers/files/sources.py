"""Where files of bars lie: single files, folders, and archives in them."""

import hashlib
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from crypto_tracker.core.errors import DataError

TABLE_SUFFIXES = (".parquet", ".feather", ".json", ".json.gz", ".csv", ".csv.gz")
ARCHIVE_SUFFIX = ".zip"
_MEMBER_BYTES_MAX = 2 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class BarFile:
    """One file that may hold bars: a file of its own, or a member of an archive.

    Attributes
    ----------
    path : the file, or the archive
    member : name inside the archive, None for a file of its own
    size : bytes of the file or of the unpacked member
    modified_ns : time of change of the file or the archive
    """

    path: Path
    member: str | None
    size: int
    modified_ns: int

    @property
    def name(self) -> str:
        """The file name that tells what is in it."""
        return self.path.name if self.member is None else self.member.rpartition("/")[2]

    @property
    def folders(self) -> tuple[str, ...]:
        """The folders around it, nearest first."""
        inside = () if self.member is None else tuple(self.member.split("/")[-2::-1])
        return (*inside, *self.path.parts[-2::-1])

    @property
    def source(self) -> str:
        """What tells it from every other file."""
        path = self.path.resolve().as_posix()
        return path if self.member is None else f"{path}!{self.member}"

    def __str__(self) -> str:
        return str(self.path) if self.member is None else f"{self.path}!{self.member}"

    def content(self) -> bytes:
        """All bytes of it; raises DataError where they cannot be read."""
        try:
            if self.member is None:
                return self.path.read_bytes()
            with zipfile.ZipFile(self.path) as archive:
                return archive.read(self.member)
        except (OSError, zipfile.BadZipFile, RuntimeError, NotImplementedError, EOFError) as error:
            raise DataError(f"{self} cannot be read: {error}") from error


@dataclass(frozen=True, slots=True)
class PassedOver:
    """A file that is not looked into, and why; `broken` where it should have been readable."""

    path: str
    reason: str
    broken: bool = False


def sha256_of(content: bytes) -> str:
    """The fingerprint of a file's content."""
    return hashlib.sha256(content).hexdigest()


def has_table_suffix(name: str) -> bool:
    """Whether a name is one of a table of bars, by its ending."""
    return name.lower().endswith(TABLE_SUFFIXES)


def find_files(path: Path) -> Iterator[BarFile | PassedOver]:
    """Every file under `path` (or `path` itself) that may hold bars, sorted by path; and what is passed over.

    Hidden files and folders are not looked at.
    """
    if not path.is_dir():
        yield from _at(path)
        return
    for found in sorted(path.rglob("*")):
        hidden = any(part.startswith(".") for part in found.relative_to(path).parts)
        if not hidden and found.is_file():
            yield from _at(found)


def _at(path: Path) -> Iterator[BarFile | PassedOver]:
    if path.name.lower().endswith(ARCHIVE_SUFFIX):
        yield from _members(path)
    elif has_table_suffix(path.name):
        status = path.stat()
        yield BarFile(path=path, member=None, size=status.st_size, modified_ns=status.st_mtime_ns)
    else:
        known = ", ".join((*TABLE_SUFFIXES, ARCHIVE_SUFFIX))
        yield PassedOver(str(path), f"no file of bars by its name: known endings are {known}")


def _members(path: Path) -> Iterator[BarFile | PassedOver]:
    try:
        with zipfile.ZipFile(path) as archive:
            infos = sorted(archive.infolist(), key=lambda info: info.filename)
    except (OSError, zipfile.BadZipFile) as error:
        yield PassedOver(str(path), f"no readable archive: {error}", broken=True)
        return
    modified_ns = path.stat().st_mtime_ns
    for info in infos:
        name = f"{path}!{info.filename}"
        if info.is_dir():
            continue
        if not has_table_suffix(info.filename):
            yield PassedOver(name, "no file of bars by its name")
        elif info.file_size > _MEMBER_BYTES_MAX:
            yield PassedOver(
                name, f"{info.file_size:,} bytes are too many for one member: unpack it", broken=True
            )
        else:
            yield BarFile(path=path, member=info.filename, size=info.file_size, modified_ns=modified_ns)

"""Files that a command writes for people: whole, or not at all."""

import os
from pathlib import Path

from crypto_tracker.core.errors import UsageError


def refuse_unwritable(path: Path, option: str) -> None:
    """Say before the work begins that a file can not be written; raises UsageError."""
    folder = path.parent
    if not folder.is_dir():
        raise UsageError(f"{option} {path}: there is no folder {folder}: make it, or name another place")
    if path.is_dir():
        raise UsageError(f"{option} {path} is a folder: name a file in it")
    if not os.access(folder, os.W_OK):
        raise UsageError(f"{option} {path}: nothing may be written in {folder}: name another place")


def write_whole(path: Path, text: str) -> None:
    """Write a file under another name and give it its own when it is complete.

    Whoever looks sees the file that was there before, or the new one; nothing is left behind by an interrupt.
    """
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with unfinished.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error}") from error
    finally:
        unfinished.unlink(missing_ok=True)

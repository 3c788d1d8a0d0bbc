"""Columns that only ever grow: what was seen of one stays as it is, and to add to it costs what is added."""

from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt

ItemT = TypeVar("ItemT", bound=np.generic)

_LEAST_ROOM = 64


class Growing(Generic[ItemT]):
    """One state of a column. `values` is read-only and never changes; `extended` gives the next state.

    States share one buffer with room at its end. Only the newest state of a buffer writes into that room, so
    that two states that grow out of the same one never see each other's rows. One thread at a time extends.
    """

    __slots__ = ("_buffer", "_used", "values")

    def __init__(self, kind: type[ItemT]) -> None:
        self._fill(np.empty(0, dtype=kind), [0], 0)

    def extended(self, rows: npt.ArrayLike) -> "Growing[ItemT]":
        """The column with these rows behind its own."""
        more = np.asarray(rows, dtype=self._buffer.dtype)
        if not len(more):
            return self
        before = len(self.values)
        length = before + len(more)
        buffer, used = self._buffer, self._used
        if used[0] != before or length > len(buffer):
            buffer = np.empty(max(length + length // 2, _LEAST_ROOM), dtype=self._buffer.dtype)
            buffer[:before] = self.values
            used = [0]
        buffer[before:length] = more
        used[0] = length
        grown: Growing[ItemT] = Growing.__new__(Growing)
        grown._fill(buffer, used, length)
        return grown

    def __len__(self) -> int:
        return len(self.values)

    def _fill(self, buffer: npt.NDArray[Any], used: list[int], length: int) -> None:
        self._buffer = buffer
        self._used = used  # rows of the buffer that some state has, shared by all of them
        values: npt.NDArray[ItemT] = buffer[:length]
        values.flags.writeable = False
        self.values = values

"""Reading a stretch of history page by page, and what the pages prove."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from crypto_tracker.core.errors import ProviderUnavailable
from crypto_tracker.core.timeframes import Timeframe

Row = Sequence[Any]
"""[open time in ms, open, high, low, close, volume, the row as the exchange wrote it]."""

Ask = Callable[[int, int], Awaitable[Sequence[Row]]]
"""Asks for `limit` bars from `since_ms` on; gives whatever the exchange answers, obedient or not."""

_MANY_ROWS = 50
"""An answer of so many bars that begins later than asked may have been cut at its old end."""
_DENSE = 0.9


@dataclass(slots=True, kw_only=True)
class Manners:
    """How an exchange answers: what is known beforehand, and what its pages have shown since.

    Attributes
    ----------
    goes_back : whether it begins where it is asked to, however long ago that is; None: not known yet
    whole_rows : an answer of so many bars was not cut at its old end
    """

    goes_back: bool | None = None
    whole_rows: int = 0


@dataclass(slots=True, kw_only=True)
class Pages:
    """What came of reading [start_ms, end_ms).

    Attributes
    ----------
    rows : by open time; a bar that came twice is kept as it came last
    proven_from_ms : from there on a stretch without bars had none; what lies before is beyond the exchange
    newest_ms : of all bars that came, those outside of the stretch too; None where none did
    requests : how many it took
    """

    proven_from_ms: int
    newest_ms: int | None = None
    rows: dict[int, Row] = field(default_factory=dict)
    requests: int = 0


class PageReader:
    """Reads one timeframe of one symbol.

    Parameters
    ----------
    ask : asks the exchange
    page_bars : the most bars that are asked for at once
    now_ms : the present moment, which tells the newest bars from others
    manners : shared by all readers of the exchange and timeframe
    """

    def __init__(
        self, name: str, ask: Ask, timeframe: Timeframe, *, page_bars: int, now_ms: int, manners: Manners
    ) -> None:
        self._name = name
        self._ask = ask
        self._step = timeframe.ms
        self._page_bars = page_bars
        self._now_ms = now_ms
        self._manners = manners
        self._requests = 0

    async def read(self, start_ms: int, end_ms: int) -> Pages:
        """Every bar that opens in [start_ms, end_ms), as far as the exchange has them.

        A page without bars says that its stretch has none, not that the history ends there. A page that
        begins later than asked is looked into, unless the exchange has shown that it can be relied on.
        """
        step = self._step
        pages = Pages(proven_from_ms=start_ms)
        cursor = start_ms
        while cursor < end_ms:
            limit = min(self._page_bars, -(-(end_ms - cursor) // step))
            rows = await self._page(cursor, limit)
            if rows and rows[-1][0] < cursor and rows[0][0] < cursor - 2 * step:
                self._must_be_newest(rows)
                break
            if rows and rows[0][0] > cursor:
                rows = await self._rows_behind_a_hole(rows, cursor, limit, pages)
            elif rows:
                self._learn(rows, cursor)
            kept = [row for row in rows if row[0] >= cursor]
            for row in kept:
                if row[0] < end_ms:
                    pages.rows[row[0]] = row
            if rows:
                pages.newest_ms = max(rows[-1][0], pages.newest_ms or 0)
            # Without bars the whole stretch that was asked for is known to have none.
            cursor = kept[-1][0] + step if kept else cursor + limit * step
        pages.requests = self._requests
        return pages

    async def _page(self, since_ms: int, limit: int) -> list[Row]:
        self._requests += 1
        rows = await self._ask(since_ms, limit)
        return sorted((row for row in rows if row and isinstance(row[0], int)), key=lambda row: row[0])

    async def _rows_behind_a_hole(self, rows: list[Row], cursor: int, limit: int, pages: Pages) -> list[Row]:
        """The page to go on with, where one begins later than it was asked to."""
        step, first, manners = self._step, rows[0][0], self._manners
        if first >= cursor + limit * step:
            # Nothing of what was asked for: nobody traded for so long, or this answers another question.
            again = await self._page(cursor, limit)
            if not again or again[0][0] != first:
                raise ProviderUnavailable(
                    f"{self._name} answers the same question with other bars each time: try again later"
                )
        if manners.goes_back is None and not await self._begins_where_asked(rows, limit):
            manners.goes_back = False
        if manners.goes_back is False or (manners.goes_back is None and self._is_cut_by_age(rows)):
            pages.proven_from_ms = first
            return rows
        if max(manners.whole_rows, _MANY_ROWS - 1) < len(rows) < limit:
            # Fewer bars than asked, and late: cut at the old end, unless the hole is one indeed.
            older = [row for row in await self._page(cursor, (first - cursor) // step) if row[0] < first]
            if older:
                return older
            manners.whole_rows = len(rows)
        return rows

    async def _begins_where_asked(self, rows: list[Row], limit: int) -> bool:
        """Whether a later beginning is obeyed; the newest bars come whatever is asked where it is not."""
        middle = rows[len(rows) // 2][0]
        if middle < rows[0][0] + 3 * self._step:
            return True  # too few bars to tell, and none of them was left out
        again = await self._page(middle, limit)
        return not again or again[0][0] >= middle - 2 * self._step

    def _is_cut_by_age(self, rows: list[Row]) -> bool:
        """Whether this looks like all that the exchange still has: bars without holes up to now."""
        span = (rows[-1][0] - rows[0][0]) // self._step + 1
        return len(rows) >= _MANY_ROWS and len(rows) >= _DENSE * span and self._reaches_now(rows)

    def _reaches_now(self, rows: list[Row]) -> bool:
        return bool(rows[-1][0] + 3 * self._step > self._now_ms)

    def _must_be_newest(self, rows: list[Row]) -> None:
        """Older bars than asked for mean that there are no newer ones, where they are the newest."""
        if not self._reaches_now(rows):
            raise ProviderUnavailable(
                f"{self._name} answers with bars from another time than it was asked for: try again later"
            )

    def _learn(self, rows: list[Row], cursor: int) -> None:
        if rows[0][0] == cursor:
            self._manners.whole_rows = max(self._manners.whole_rows, len(rows))
            if not self._reaches_now(rows):
                self._manners.goes_back = True

"""The book of one symbol as messages change it."""

from bisect import bisect_left, insort
from collections.abc import Iterable

from crypto_tracker.core.errors import DataError

Level = tuple[str, str]  # price and size as the exchange wrote them: checksums are made of the text
Numbers = list[tuple[float, float]]


class Side:
    """Prices with their sizes, the best first."""

    def __init__(self, *, bids: bool) -> None:
        self._sign = -1.0 if bids else 1.0
        self._order: list[float] = []  # prices times the sign, ascending
        self._levels: dict[float, tuple[float, float, Level]] = {}

    def __len__(self) -> int:
        return len(self._order)

    def change(self, levels: Iterable[Level]) -> None:
        """Set each price to its size; a size of 0 takes the price away."""
        for price_text, size_text in levels:
            price, size = float(price_text), float(size_text)
            if not price > 0.0 or not size >= 0.0:
                raise DataError(f"a book message names the price {price_text} with the size {size_text}")
            key = self._sign * price
            if size == 0.0:
                if self._levels.pop(key, None) is not None:
                    del self._order[bisect_left(self._order, key)]
                continue
            if key not in self._levels:
                insort(self._order, key)
            self._levels[key] = (price, size, (price_text, size_text))

    def cut(self, depth: int) -> None:
        """Forget what lies deeper than `depth` levels: the exchange tells nothing of it any more."""
        for key in self._order[depth:]:
            del self._levels[key]
        del self._order[depth:]

    def best(self, count: int) -> Numbers:
        """The best levels as numbers."""
        return [self._levels[key][:2] for key in self._order[:count]]

    def texts(self, count: int) -> list[Level]:
        """The best levels as the exchange wrote them."""
        return [self._levels[key][2] for key in self._order[:count]]


class Ladder:
    """Both sides of a book."""

    def __init__(self) -> None:
        self.bids = Side(bids=True)
        self.asks = Side(bids=False)

    def change(self, bids: Iterable[Level], asks: Iterable[Level]) -> None:
        """Apply the levels of one message."""
        self.bids.change(bids)
        self.asks.change(asks)

    @property
    def two_sided(self) -> bool:
        """Whether there is somebody on either side."""
        return bool(len(self.bids) and len(self.asks))

    @property
    def crossed(self) -> bool:
        """Whether somebody bids at least what somebody else asks, which no market leaves so."""
        return self.two_sided and self.bids.best(1)[0][0] >= self.asks.best(1)[0][0]

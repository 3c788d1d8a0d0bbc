"""Everything that one step of the trader hands to the next, as bytes in the step's own transaction."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import zstandard

from crypto_tracker.core.arrays import BoolArray
from crypto_tracker.core.decisions import Regime
from crypto_tracker.core.errors import StoreError
from crypto_tracker.portfolio.regime import NO_FORCE, MarketCarry
from crypto_tracker.simulation.state import PortfolioState

_MAGIC = b"CTT1"
_LEVEL = 1
_MAX_BYTES = 2**28


@dataclass(slots=True, kw_only=True, eq=False)
class TraderState:
    """What the trader remembers besides the bars that it saw.

    Attributes
    ----------
    cursor_ms : open time of the next minute to step
    version : of the configuration that the next minute is stepped under
    portfolio : all that the simulator remembers
    carry : all that the market rules remember
    forced : the forced `Regime`, or NO_FORCE
    was_setup : bool (strategies, symbols), whether the last scan was a setup
    next_setup, next_fill, next_trade : how many of each there are
    setup_versions : configuration version of the setup of every pending order and held position, by number
    halted : why entries are halted until a person resumes; None where they are not
    """

    cursor_ms: int
    version: str
    portfolio: PortfolioState
    carry: MarketCarry
    was_setup: BoolArray
    forced: int = NO_FORCE
    next_setup: int = 0
    next_fill: int = 0
    next_trade: int = 0
    setup_versions: dict[int, str] = field(default_factory=dict)
    halted: str | None = None

    @property
    def forced_regime(self) -> Regime | None:
        """The regime that a person forces, None where none is forced."""
        return None if self.forced == NO_FORCE else Regime(self.forced)

    def to_bytes(self) -> bytes:
        """The whole state; `from_bytes` gives it back, and equal states give equal bytes."""
        portfolio = self.portfolio.to_bytes()
        header = {
            "cursor_ms": self.cursor_ms,
            "version": self.version,
            "carry": {
                "regime": int(self.carry.regime),
                "switched_on": list(map(bool, self.carry.switched_on)),
                "first_ms": self.carry.first_ms,
            },
            "forced": int(self.forced),
            "next_setup": self.next_setup,
            "next_fill": self.next_fill,
            "next_trade": self.next_trade,
            "setup_versions": {str(number): name for number, name in sorted(self.setup_versions.items())},
            "halted": self.halted,
            "was_setup": list(self.was_setup.shape),
            "portfolio": len(portfolio),
        }
        head = json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
        flags = np.ascontiguousarray(self.was_setup, dtype=np.uint8).tobytes()
        content = b"".join([len(head).to_bytes(4, "little"), head, portfolio, flags])
        return _MAGIC + zstandard.ZstdCompressor(level=_LEVEL, write_content_size=True).compress(content)

    @classmethod
    def from_bytes(cls, data: bytes) -> "TraderState":
        """Read what `to_bytes` wrote; raises StoreError where it is damaged or of another version."""
        if data[: len(_MAGIC)] != _MAGIC:
            raise _damaged("it does not begin with its mark")
        try:
            content = zstandard.ZstdDecompressor().decompress(data[len(_MAGIC) :], max_output_size=_MAX_BYTES)
            place = 4 + int.from_bytes(content[:4], "little")
            header = json.loads(content[4:place])
            portfolio_end = place + header["portfolio"]
            flags = np.frombuffer(content[portfolio_end:], np.uint8).astype(np.bool_)
            return cls(
                cursor_ms=header["cursor_ms"],
                version=header["version"],
                portfolio=PortfolioState.from_bytes(content[place:portfolio_end]),
                carry=_carry(header["carry"]),
                was_setup=flags.reshape(header["was_setup"]),
                forced=header["forced"],
                next_setup=header["next_setup"],
                next_fill=header["next_fill"],
                next_trade=header["next_trade"],
                setup_versions={int(number): name for number, name in header["setup_versions"].items()},
                halted=header["halted"],
            )
        except (zstandard.ZstdError, ValueError, KeyError, TypeError) as error:
            raise _damaged(str(error)) from error


def _carry(document: Mapping[str, object]) -> MarketCarry:
    regime, switched_on, first_ms = document["regime"], document["switched_on"], document["first_ms"]
    if not isinstance(regime, int) or not isinstance(switched_on, list):
        raise TypeError("the carried market is of another shape")
    if not (first_ms is None or isinstance(first_ms, int)):
        raise TypeError("the carried market is of another shape")
    return MarketCarry(regime=Regime(regime), switched_on=tuple(map(bool, switched_on)), first_ms=first_ms)


def _damaged(why: str) -> StoreError:
    return StoreError(
        f"the trader's state can not be read ({why}): restore the account's trading.db from a copy"
    )

"""Who a caller is, and how much each may ask: tokens, this machine, and the limits of both."""

import asyncio
from collections import OrderedDict
from collections.abc import Mapping
from hashlib import sha256

import anyio

from crypto_tracker.config.web import Web
from crypto_tracker.desk.web.guard import Access, Caller
from crypto_tracker.desk.web.limits import Buckets
from crypto_tracker.desk.web.origins import OTHER_PAGE, counted_as, is_our_origin, is_this_machine
from crypto_tracker.desk.web.problems import Refused

WRONG_TOKENS_PER_MINUTE = 10
_TOKEN_LENGTH_MAX = 200
_REMEMBERED = 256
_THREADS = 4  # of their own: whoever is known must not wait for slow answers to others
_SCOPES = {
    "none": frozenset[str](),
    "read": frozenset({"read"}),
    "control": frozenset({"read", "control"}),
}
WHO_IS_ASKING = (
    "this needs a token: send `Authorization: Bearer TOKEN`; `crypto-tracker tokens create NAME` makes one"
)
NOT_KNOWN = "this token is not known, or was revoked: `crypto-tracker tokens list` shows those that are"


class Gatekeeper:
    """Knows callers by their tokens or as this machine, and counts what they ask."""

    def __init__(self, access: Access, settings: Web) -> None:
        self._access = access
        self._settings = settings
        self._requests = Buckets(per_minute=settings.requests_per_minute)
        self._wrong = Buckets(per_minute=WRONG_TOKENS_PER_MINUTE)
        self._good: OrderedDict[bytes, str] = OrderedDict()
        self._threads = anyio.CapacityLimiter(_THREADS)

    async def caller(self, address: str, headers: Mapping[str, str], version: str) -> Caller:
        """Who sends a request with these headers in this version of HTTP; the request is counted.

        Raises Refused where there were too many, of this caller or with wrong tokens from this address.
        """
        foreign = not is_our_origin(headers.get("origin"), headers.get("host", ""), self._settings)
        if "authorization" in headers:
            token = bearer(headers)
            if token is None:
                return self._counted(_unknown(address, WHO_IS_ASKING, foreign=foreign))
            known = self._good.get(_digest(token))
            if known is not None:
                self._count(known)
            caller = await self.holder(token, address, foreign=foreign)
            return caller if caller.key == known else self._counted(caller)
        scopes = _SCOPES[self._settings.open_to_loopback]
        if scopes and is_this_machine(address, headers, version, self._settings):
            return self._counted(Caller(actor="web:local", scopes=scopes, key="this machine"))
        return self._counted(_unknown(address, OTHER_PAGE if foreign else WHO_IS_ASKING, foreign=foreign))

    async def holder(self, token: str, address: str, *, foreign: bool = False) -> Caller:
        """Who holds this token; somebody unknown where there is none such.

        Raises Refused where an address sends too many wrong ones. That is for their sender to know and keeps
        nobody out: nobody guesses 256 bits, and behind a proxy all come from one address.
        """
        held = None
        if len(token) <= _TOKEN_LENGTH_MAX:
            held = await anyio.to_thread.run_sync(self._access.check, token, limiter=self._threads)
        if held is None:
            self._good.pop(_digest(token), None)
            wait = self._wrong.take(counted_as(address), _now())
            if wait:
                raise too_many(wait, "too many wrong tokens came from this address")
            return _unknown(address, NOT_KNOWN, foreign=foreign)
        scopes = held.scopes | ({"read"} if "control" in held.scopes else set())
        caller = Caller(
            actor=f"web:{held.name}", scopes=scopes, key=f"token {held.token_id}", foreign=foreign
        )
        self._remember(_digest(token), caller.key)
        return caller

    def _counted(self, caller: Caller) -> Caller:
        self._count(caller.key)
        return caller

    def _count(self, key: str) -> None:
        """Count one request; raises Refused where there were too many."""
        wait = self._requests.take(key, _now())
        if wait:
            raise too_many(
                wait, f"there were more than {self._settings.requests_per_minute} requests a minute"
            )

    def _remember(self, digest: bytes, key: str) -> None:
        """Keep in mind that this token was good: its next request is counted before it is looked up."""
        self._good[digest] = key
        self._good.move_to_end(digest)
        if len(self._good) > _REMEMBERED:
            self._good.popitem(last=False)


def bearer(headers: Mapping[str, str]) -> str | None:
    """The token in the headers of a request; None where there is none."""
    kind, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() or None if kind.lower() == "bearer" else None


def too_many(wait: int, why: str) -> Refused:
    """The refusal of one request too many."""
    return Refused(429, f"{why}: wait {wait} s", {"Retry-After": str(wait)})


def _unknown(address: str, why_not: str, *, foreign: bool) -> Caller:
    return Caller(
        actor="",
        scopes=frozenset(),
        key=f"{'foreign page at' if foreign else 'address'} {counted_as(address)}",
        why_not=why_not,
        foreign=foreign,
    )


def _digest(token: str) -> bytes:
    return sha256(token.encode()).digest()


def _now() -> float:
    return asyncio.get_running_loop().time()

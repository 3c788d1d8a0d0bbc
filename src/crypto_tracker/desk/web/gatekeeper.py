"""Who a caller is, and how much each may ask: tokens, this machine, and the limits of both."""

import asyncio
from collections import OrderedDict
from collections.abc import Mapping
from hashlib import sha256

from starlette.concurrency import run_in_threadpool

from crypto_tracker.config.web import Web
from crypto_tracker.desk.web.guard import Access, Caller
from crypto_tracker.desk.web.limits import Buckets
from crypto_tracker.desk.web.origins import OTHER_PAGE, counted_as, is_our_origin, is_this_machine
from crypto_tracker.desk.web.problems import Refused

WRONG_TOKENS_PER_MINUTE = 10
_TOKEN_LENGTH_MAX = 200
_REMEMBERED = 256
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
        self._good: OrderedDict[bytes, None] = OrderedDict()

    async def caller(self, address: str, headers: Mapping[str, str]) -> Caller:
        """Who sends a request with these headers.

        Raises Refused where an address has sent too many wrong tokens.
        """
        foreign = not is_our_origin(headers.get("origin"), headers.get("host", ""), self._settings)
        authorization = headers.get("authorization")
        if authorization is not None:
            kind, _, token = authorization.partition(" ")
            if kind.lower() != "bearer" or not token.strip():
                return _unknown(address, WHO_IS_ASKING, foreign=foreign)
            return await self.holder(token.strip(), address, foreign=foreign)
        scopes = _SCOPES[self._settings.open_to_loopback]
        if scopes and is_this_machine(address, headers, self._settings):
            return Caller(actor="web:local", scopes=scopes, key=f"address {counted_as(address)}")
        return _unknown(address, OTHER_PAGE if foreign else WHO_IS_ASKING, foreign=foreign)

    async def holder(self, token: str, address: str, *, foreign: bool = False) -> Caller:
        """Who holds this token; somebody unknown where there is none such.

        An address that sent too many wrong ones is not listened to for a while, but for tokens that were good
        before: who guesses must not shut out those who know. Raises Refused then.
        """
        key, now = counted_as(address), _now()
        digest = sha256(token.encode()).digest()
        if digest not in self._good:
            wait = self._wrong.wait(key, now)
            if wait:
                raise too_many(wait, "too many wrong tokens came from this address")
        held = None
        if len(token) <= _TOKEN_LENGTH_MAX:
            held = await run_in_threadpool(self._access.check, token)
        if held is None:
            self._good.pop(digest, None)
            self._wrong.take(key, now)
            return _unknown(address, NOT_KNOWN, foreign=foreign)
        self._remember(digest)
        scopes = held.scopes | ({"read"} if "control" in held.scopes else set())
        return Caller(actor=f"web:{held.name}", scopes=scopes, key=f"token {held.token_id}", foreign=foreign)

    def count(self, caller: Caller) -> None:
        """Count one request; raises Refused where there were too many."""
        wait = self._requests.take(caller.key, _now())
        if wait:
            raise too_many(
                wait, f"there were more than {self._settings.requests_per_minute} requests a minute"
            )

    def _remember(self, digest: bytes) -> None:
        self._good[digest] = None
        self._good.move_to_end(digest)
        if len(self._good) > _REMEMBERED:
            self._good.popitem(last=False)


def too_many(wait: int, why: str) -> Refused:
    """The refusal of one request too many."""
    return Refused(429, f"{why}: wait {wait} s", {"Retry-After": str(wait)})


def _unknown(address: str, why_not: str, *, foreign: bool) -> Caller:
    return Caller(
        actor="",
        scopes=frozenset(),
        key=f"address {counted_as(address)}",
        why_not=why_not,
        foreign=foreign,
    )


def _now() -> float:
    return asyncio.get_running_loop().time()

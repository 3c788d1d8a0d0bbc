"""Asking over HTTP: limit, retry and breaker joined; every failure becomes one clear sentence."""

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import TypeVar
from urllib.parse import urlsplit

import httpx
from pydantic import SecretStr

from crypto_tracker.config.market_data import Fetching
from crypto_tracker.core.errors import NotEntitled, ProviderRefused, UnknownToProvider, UsageError
from crypto_tracker.net.breaker import Breaker
from crypto_tracker.net.gate import turn_of_request
from crypto_tracker.net.limits import RateLimit
from crypto_tracker.net.retry import Retry, Transient
from crypto_tracker.net.unreachable import why_unreachable

T = TypeVar("T")

Params = Mapping[str, str | int]
Request = tuple[str, Params | None]
"""A path, with or without a query in it, and the parameters of a query; None where the path has them all."""

_MESSAGE_LENGTH = 300
_SECONDS_MAX = 1e9  # of a Retry-After, which may have any number of digits
_ASKED_TOO_EARLY = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS})


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """What came back: a status of success, headers by their names in lower case, the whole body."""

    status: int
    headers: Mapping[str, str]
    content: bytes


class HttpClient:
    """Asks one provider.

    Parameters
    ----------
    base_url : scheme and host; paths are joined to it, and nothing else is ever asked
    limit : how often it may be asked
    fetching : how often a request is tried, and when the provider is left alone
    name : the provider, as it is named in sentences
    headers : sent with each request; a SecretStr never appears in any text
    key_variable : which variables of the environment hold the key, for the sentence about a wrong one
    transport : what stands in for the network, such as a recorder around it
    """

    def __init__(
        self,
        base_url: str,
        *,
        limit: RateLimit,
        fetching: Fetching,
        name: str,
        headers: Mapping[str, str | SecretStr] | None = None,
        key_variable: str = "",
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._base_url = base_url.rstrip("/")
        self._limit = limit
        self._fetching = fetching
        self._name = name
        self._key_variable = key_variable
        self._retry = Retry(fetching)
        self._breaker = Breaker(name, fetching)
        given = dict(headers or {})
        self._secrets = [value for value in given.values() if isinstance(value, SecretStr)]
        for secret in self._secrets:
            # The error of httpx about such a header would show it.
            text = secret.get_secret_value()
            if not (text.isascii() and text.isprintable()):
                where = f" in {key_variable}" if key_variable else f" of {name}"
                raise UsageError(
                    f"the key{where} has a character that no key has, such as a line break: copy it once more"
                )
        self._client = httpx.AsyncClient(
            headers={
                header: value.get_secret_value() if isinstance(value, SecretStr) else value
                for header, value in given.items()
            },
            timeout=fetching.timeout_seconds,
            transport=transport,
            follow_redirects=False,  # a redirect would carry the key to another host
        )

    async def get(self, path: str, params: Params | None = None) -> Answer:
        """The answer to a GET; raises a `core.errors.ProviderError` where there is none."""
        return await self.read(lambda _attempt: (path, params), _as_it_is)

    async def read(self, request: Callable[[int], Request], decode: Callable[[Answer], T]) -> T:
        """What `decode` makes of the answer to a GET.

        Parameters
        ----------
        request : what to ask at the attempt with this number, counted from 1: a later one may ask for less
        decode : raises Transient for an answer that is of no use; that counts as a failed attempt
        """
        attempt = 0

        async def once() -> T:
            nonlocal attempt
            attempt += 1
            path, params = request(attempt)
            async with turn_of_request():
                await self._limit.acquire()
                self._breaker.check()  # meanwhile another one may have been told to leave it alone
                answer = await self._send(path, params)
            return decode(answer)

        return await self._breaker.run(lambda: self._retry.run(once))

    async def close(self) -> None:
        """Let go of all connections."""
        await self._client.aclose()

    async def _send(self, path: str, params: Params | None) -> Answer:
        seconds = self._fetching.timeout_seconds
        try:
            # httpx judges each read by itself: an answer that drips in byte by byte would never time out.
            async with asyncio.timeout(seconds):
                response = await self._client.get(
                    self._base_url + path, params=None if params is None else dict(params)
                )
        except (TimeoutError, httpx.TimeoutException):
            raise Transient(f"{self._name} gave no whole answer within {seconds:g} s") from None
        except httpx.DecodingError as error:
            raise Transient(f"{self._name} sent an answer that cannot be unpacked: {error}") from None
        except httpx.TransportError as error:
            raise Transient(self._not_reached(error)) from None
        if response.is_success:
            return Answer(response.status_code, response.headers, response.content)
        raise self._failure(response)

    def _not_reached(self, error: httpx.TransportError) -> str:
        if (why := why_unreachable(error)) is not None:
            address = urlsplit(self._base_url).netloc.rpartition("@")[2]
            return f"{self._name} cannot be reached at {address}: {why}"
        what = self._without_secrets(str(error) or type(error).__name__)
        return f"the connection to {self._name} failed: {what}"

    def _failure(self, response: httpx.Response) -> Exception:
        status, name = response.status_code, self._name
        said = self._message(response)
        if status == HTTPStatus.UNAUTHORIZED:
            where = f" in {self._key_variable}" if self._key_variable else ""
            return ProviderRefused(f"{name} does not accept the key{where}: put the right one there{said}")
        if status == HTTPStatus.FORBIDDEN:
            return NotEntitled(
                f"{name} does not give this to the plan of the key: ask for less, or change the plan{said}"
            )
        if status == HTTPStatus.NOT_FOUND:
            return UnknownToProvider(f"{name} does not know {response.url.path}{said}")
        if status in _ASKED_TOO_EARLY or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return self._transient(response, said)
        return ProviderRefused(f"{name} refuses {response.url.path} with status {status}{said}")

    def _transient(self, response: httpx.Response, said: str) -> Exception:
        clause = (
            f"{self._name} was asked too often"
            if response.status_code == HTTPStatus.TOO_MANY_REQUESTS
            else f"{self._name} answered with status {response.status_code}"
        )
        seconds = seconds_to_wait(response.headers)
        if seconds is not None:
            clause += f" and wants to be left alone for {seconds:.0f} s"
            if seconds > self._fetching.wait_max_seconds:
                return self._breaker.rest(seconds, clause + said)
            self._limit.pause(seconds)
        return Transient(clause + said, retry_after=seconds)

    def _message(self, response: httpx.Response) -> str:
        """What the provider says about a failure, as the end of a sentence; nothing where it is no JSON."""
        try:
            body = json.loads(response.content)
        except ValueError:
            return ""
        if not isinstance(body, dict):
            return ""
        text = next((body[key] for key in ("message", "error") if isinstance(body.get(key), str)), "")
        words = " ".join(self._without_secrets(text).split())
        return f' (it says: "{words[:_MESSAGE_LENGTH]}")' if words else ""

    def _without_secrets(self, text: str) -> str:
        for secret in self._secrets:
            # A header such as `Bearer <key>`: the key alone is as secret as the whole.
            for part in (secret.get_secret_value(), *secret.get_secret_value().split()[1:]):
                text = text.replace(part, "***") if part else text
        return text


def seconds_to_wait(headers: Mapping[str, str]) -> float | None:
    """The seconds of a Retry-After header, which gives them or a moment; None where it gives neither.

    A moment is compared with the Date of the same answer, so that no clock of ours matters.

    >>> seconds_to_wait({"retry-after": "7"})
    7.0
    >>> seconds_to_wait(
    ...     {"retry-after": "Wed, 21 Oct 2026 07:28:30 GMT", "date": "Wed, 21 Oct 2026 07:28:00 GMT"}
    ... )
    30.0
    """
    told = headers.get("retry-after", "").strip()
    if told.isascii() and told.isdigit():
        return min(float(told), _SECONDS_MAX)
    try:
        wait = parsedate_to_datetime(told) - parsedate_to_datetime(headers.get("date", ""))
    except (ValueError, TypeError, OverflowError):
        return None
    return min(max(wait.total_seconds(), 0.0), _SECONDS_MAX)


def _as_it_is(answer: Answer) -> Answer:
    return answer

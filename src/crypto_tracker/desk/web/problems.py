"""Errors as problem documents: one sentence for people, nothing of what is inside the server."""

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException
from starlette.routing import Route

from crypto_tracker.core.errors import (
    CryptoTrackerError,
    DataError,
    ProviderError,
    StoreError,
    UsageError,
)
from crypto_tracker.desk.source import NotLive, NotThere
from crypto_tracker.desk.views.system import Problem

MEDIA_TYPE = "application/problem+json"

_PATH = re.compile(
    # from the root on
    r"(?<![\w/:])(?!/api/v1/)(?:[A-Za-z]:)?(?:[/\\][\w.+@ -]*[\w.+@-])+(?:[/\\]|(?=[^\w]|$))"
    # from ., .. or ~ on
    r"|(?<![\w/\\:.~+@-])(?:~|\.\.?)(?:[/\\][\w.+@-]*[\w+@-])+"
    # such as user_data/market.db: symbols, shares and time zones have slashes too, but no ending
    r"|(?<![\w/\\:.~+@-])(?:[\w.+@-]+[/\\])+[\w+@-][\w.+@-]*\.(?!md\b)[a-z][\w-]+"
)
_STATUS: Sequence[tuple[type[CryptoTrackerError], int]] = (
    (NotThere, 404),
    (NotLive, 409),
    (UsageError, 400),
    (StoreError, 503),
    (DataError, 503),
    (ProviderError, 503),
)
_TITLES = {
    400: "Cannot be asked",
    401: "Who is asking?",
    403: "Not allowed",
    404: "Not there",
    405: "Not this way",
    408: "Too slow",
    409: "Not as it stands",
    413: "Too large",
    415: "Not JSON",
    422: "Not understood",
    429: "Too many requests",
    500: "A mistake of the server",
    503: "Not now",
}


class Refused(HTTPException):
    """A request that is not answered; the sentence says why, and what to do."""

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status, detail, dict(headers or {}))


def problem(status: int, detail: str, headers: Mapping[str, str] | None = None) -> Response:
    """The answer for an error."""
    title = _TITLES.get(status) or HTTPStatus(status).phrase
    view = Problem(title=title, status=status, detail=detail)
    return Response(view.model_dump_json(), status, dict(headers or {}), MEDIA_TYPE)


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """These problems, as the OpenAPI document tells of them."""
    return {status: _documented(status) for status in statuses}


def _documented(status: int) -> dict[str, Any]:
    told: dict[str, Any] = {
        "description": _DESCRIPTIONS[status],
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
    headers = {
        401: {"WWW-Authenticate": {"schema": {"type": "string"}, "description": "always `Bearer`"}},
        429: {"Retry-After": {"schema": {"type": "integer"}, "description": "seconds to wait"}},
        503: {
            "Retry-After": {
                "schema": {"type": "integer"},
                "description": "seconds to wait, where it is known",
            }
        },
    }.get(status)
    return told | ({"headers": headers} if headers else {})


_DESCRIPTIONS = {
    400: "What is asked for makes no sense, such as a span that ends before it starts",
    401: "No token was sent, or one that is not known",
    403: "The token lacks the scope, or the page that asks is not ours",
    404: "There is no such account, symbol, strategy or trade",
    408: "The body did not come in time",
    409: "Only a trading account has this, or one whose trader still answers",
    413: "The request is larger than `web.body_bytes_max`",
    415: "The request is no JSON",
    422: "A parameter or the body is not as this document says",
    429: "Too many requests; `Retry-After` says how long to wait",
    500: "A mistake of the server; its log has the details",
    503: "The records cannot be read now, or too much is asked at once",
}


def without_paths(sentence: str) -> str:
    """The sentence with files named by their last part only: where the home lies is nobody's business.

    >>> without_paths("the database /srv/anna/user_data/market.db is locked: try again")
    'the database market.db is locked: try again'
    >>> without_paths("user_data/anna/config.toml cannot be read")
    'config.toml cannot be read'
    >>> without_paths("ETH/USDT is 1/3 of it")
    'ETH/USDT is 1/3 of it'
    """
    return _PATH.sub(_last_part, sentence)


def _last_part(path: re.Match[str]) -> str:
    return re.split(r"[/\\]", path.group().rstrip("/\\"))[-1]


def status_of(error: CryptoTrackerError) -> int:
    """Which status an error of the program has; one of no kind of its own says what stands in the way."""
    if type(error) is CryptoTrackerError:
        return 409
    return next((status for kind, status in _STATUS if isinstance(error, kind)), 500)


async def answer_own(_request: Request, error: Exception) -> Response:
    """Answer an error of the program: its sentence was written for people."""
    if not isinstance(error, CryptoTrackerError):
        raise error
    status = status_of(error)
    if status == 500:
        raise error
    return problem(status, without_paths(str(error)))


async def answer_http(request: Request, error: Exception) -> Response:
    """Answer what the server itself refuses."""
    if not isinstance(error, HTTPException):
        raise error
    detail, headers = error.detail, dict(error.headers or {})
    if not isinstance(error, Refused):
        detail = _PLAIN.get(error.status_code, HTTPStatus(error.status_code).phrase)
    methods = _methods(request) if error.status_code == 405 else ()
    return problem(error.status_code, detail, headers | ({"Allow": ", ".join(methods)} if methods else {}))


def _methods(request: Request) -> Sequence[str]:
    """With which methods this address may be asked: each has a route of its own."""
    found = set[str]()
    for route in request.app.routes:
        if isinstance(route, Route) and route.path_regex.match(request.url.path):
            found |= route.methods or set()
    return sorted(found | ({"HEAD"} if "GET" in found else set()))


_PLAIN = {
    400: "the request cannot be read: see /api/v1/openapi.json",
    404: "there is nothing under this address: /api/v1/openapi.json names every endpoint",
    405: "this address is not asked with this method: /api/v1/openapi.json names every endpoint",
}


async def answer_invalid(_request: Request, error: Exception) -> Response:
    """Answer a parameter or a body that is not as the document says: one sentence about the first slip."""
    if not isinstance(error, RequestValidationError):
        raise error
    return problem(422, sentence_of(error.errors()))


def sentence_of(errors: Sequence[Mapping[str, Any]]) -> str:
    """What is wrong in the first of pydantic's errors, in words of this program; without what was sent."""
    first = errors[0]
    place, kind, context = tuple(first["loc"]), str(first["type"]), first.get("ctx", {})
    if kind == "json_invalid":
        return "the body is no JSON: send one JSON object"
    where = _where(place)
    if place == ("body",) and kind in {"missing", "model_attributes_type"} and first.get("input") is None:
        return "the body is missing: send one JSON object"
    if kind in {"model_attributes_type", "dict_type", "model_type"}:
        return f"{where} is no JSON object"
    words = _WORDS.get(kind)
    if words is None:
        words = "is not as /api/v1/openapi.json says"
    try:
        return f"{where} {words.format(**context)}"
    except (KeyError, IndexError):
        return f"{where} is not as /api/v1/openapi.json says"


def _where(place: Sequence[Any]) -> str:
    names: list[str] = []
    for part in place[1:]:
        if isinstance(part, int) and names:
            names[-1] += f" (number {part + 1})"
        elif not _KIND_OF_VALUE.fullmatch(str(part)):
            names.append(str(part))
    if not names:
        return "the body"
    inside = {"query": "the parameter", "path": "the address: its"}
    return f"{inside.get(str(place[0]), 'the field')} {short('.'.join(names))}"


_KIND_OF_VALUE = re.compile(r"constrained-\w+|str|int|float|bool|[\w-]+\[.*\]")
"""What pydantic puts into the place of an error besides names: which of several types was tried."""


def short(text: str, length: int = 60) -> str:
    """What somebody sent, as far as a sentence can repeat it."""
    printable = "".join(letter if letter.isprintable() else "?" for letter in text)
    return printable if len(printable) <= length else printable[: length - 1] + "…"


_WORDS = {
    "missing": "is missing",
    "extra_forbidden": "is not known",
    "int_parsing": "is no whole number",
    "int_type": "is no whole number",
    "int_from_float": "is no whole number",
    "int_parsing_size": "is too large",
    "float_parsing": "is no number",
    "float_type": "is no number",
    "bool_parsing": "is neither true nor false",
    "bool_type": "is neither true nor false",
    "string_type": "is no text",
    "list_type": "is no list",
    "greater_than_equal": "must be {ge} or more",
    "greater_than": "must be more than {gt}",
    "less_than_equal": "must be {le} or less",
    "less_than": "must be less than {lt}",
    "string_too_short": "is shorter than {min_length}",
    "string_too_long": "is longer than {max_length} characters",
    "too_long": "has more than {max_length} parts",
    "too_short": "has fewer than {min_length} parts",
    "literal_error": "must be {expected}",
    "enum": "must be {expected}",
    "string_pattern_mismatch": "is not spelled like one: see its examples in /api/v1/openapi.json",
}


def refuse_unknown(given: Iterable[tuple[str, str]], known: Mapping[str, bool]) -> None:
    """Refuse a query parameter that there is not, or one that is given twice and may not be repeated.

    Raises Refused with the name that was most likely meant.
    """
    seen = set()
    for name, _ in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            meant = f"did you mean {near[0]}?" if near else _there_are(known)
            raise Refused(422, f"there is no parameter {short(name)!r} here: {meant}")
        if name in seen and not known[name]:
            raise Refused(422, f"the parameter {name} stands there twice: send it once")
        seen.add(name)


def _there_are(known: Iterable[str]) -> str:
    return f"there are {', '.join(known)}" if known else "this endpoint takes none"

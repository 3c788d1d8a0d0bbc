"""The built page: its files, and the page itself for every address that is one of its views."""

import gzip
import mimetypes
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from crypto_tracker.desk.web.problems import Refused

INDEX = "index.html"
HASHED = "assets/"  # the build names what is in here by its content
PACKED = ".gz"

_FOR_EVER = "public, max-age=31536000, immutable"
_ASK_AGAIN = "no-cache"
_LOOKS = 3  # at a folder while it is built anew
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".map": "application/json",
    ".mjs": "text/javascript; charset=utf-8",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".webmanifest": "application/manifest+json",
    ".woff2": "font/woff2",
}
_NOT_BUILT = (
    "the page was not built, so only the API answers, under /api/v1: `make web` builds the page, "
    "and a package from the index has it"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _File:
    body: bytes
    packed: bytes | None  # as gzip, where the build made it
    headers: Mapping[str, str]


class Pages:
    """The files of one folder, held in memory; read again when the page is built anew.

    A build puts its files there one after the other: what is served meanwhile is the page before, or the new
    one, each file by itself as a whole.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._stamp: tuple[tuple[int, int, int] | None, ...] = ()
        self._files: Mapping[str, _File] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request that no endpoint answers."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000, "reason": "there is no stream here"})
            return
        if scope["path"].startswith("/api"):
            raise HTTPException(404)
        if scope["method"] not in {"GET", "HEAD"}:
            raise HTTPException(405, headers={"Allow": "GET, HEAD"})
        answer = await run_in_threadpool(self._answer, scope["path"].lstrip("/"), Headers(scope=scope))
        await answer(scope, receive, send)

    def _answer(self, path: str, headers: Headers) -> Response:
        files = self._current()
        if INDEX not in files:
            raise Refused(404, _NOT_BUILT)
        found = files.get(path or INDEX)
        if found is None:
            if path.startswith(HASHED) or "." in path.rpartition("/")[2]:
                raise HTTPException(404)
            found = files[INDEX]
        if found.headers["ETag"] in _tags(headers.get("if-none-match", "")):
            kept = {
                name: value
                for name, value in found.headers.items()
                if name in {"ETag", "Cache-Control", "Vary"}
            }
            return Response(status_code=304, headers=kept)
        if found.packed is not None and _takes_gzip(headers.get("accept-encoding", "")):
            return Response(found.packed, headers=dict(found.headers) | {"Content-Encoding": "gzip"})
        return Response(found.body, headers=dict(found.headers))

    def _current(self) -> Mapping[str, _File]:
        if self._folder is None:
            return {}
        stamp = tuple(_stamp(self._folder / name) for name in (INDEX, INDEX + PACKED))
        if stamp[0] is None:
            return {}
        if stamp != self._stamp:
            found = _read(self._folder)
            if found is None:
                return self._files  # and look again at the next request
            self._files, self._stamp = found, stamp
        return self._files


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def _read(folder: Path) -> Mapping[str, _File] | None:
    """Every file below the folder by its path in an address; nothing else is ever served.

    None where files go at every look, since a build is just putting its own in their place.
    """
    for _ in range(_LOOKS):
        try:
            return _read_once(folder)
        except FileNotFoundError:
            continue
    return None


def _read_once(folder: Path) -> Mapping[str, _File]:
    bodies = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_symlink()
    }
    return {
        name: _File(body=body, packed=_same(bodies.get(name + PACKED), body), headers=_headers(name, body))
        for name, body in bodies.items()
        if not name.endswith(PACKED)
    }


def _same(packed: bytes | None, body: bytes) -> bytes | None:
    """What is packed, where it is this body: while a build is put there it may be the one before."""
    if packed is None:
        return None
    try:
        return packed if gzip.decompress(packed) == body else None
    except (EOFError, OSError, zlib.error):  # it is being written
        return None


def _headers(name: str, body: bytes) -> Mapping[str, str]:
    kind = _TYPES.get(Path(name).suffix) or mimetypes.guess_type(name)[0] or "application/octet-stream"
    return {
        "Content-Type": kind,
        "Cache-Control": _FOR_EVER if name.startswith(HASHED) else _ASK_AGAIN,
        "ETag": f'W/"{sha256(body).hexdigest()[:20]}"',
        "Vary": "Accept-Encoding",
    }


def _tags(header: str) -> set[str]:
    return {tag.strip() for tag in header.split(",")}


def _takes_gzip(header: str) -> bool:
    for part in header.split(","):
        coding, _, weight = part.partition(";")
        if coding.strip().lower() in {"gzip", "*"}:
            return weight.replace(" ", "") not in {"q=0", "q=0.0", "q=0.00", "q=0.000"}
    return False

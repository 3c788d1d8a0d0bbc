"""The built page: its files, and the page itself for every address that is one of its views."""

import mimetypes
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

_FOR_EVER = "public, max-age=31536000, immutable"
_ASK_AGAIN = "no-cache"
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
    """The files of one folder, held in memory; read again when the page is built anew."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._stamp: int | None = None
        self._files: Mapping[str, _File] = {}

    @property
    def built(self) -> bool:
        """Whether there is a page."""
        return self._folder is not None and (self._folder / INDEX).is_file()

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
        try:
            stamp = (self._folder / INDEX).stat().st_mtime_ns
        except FileNotFoundError:
            return {}
        if stamp != self._stamp:
            self._files = _read(self._folder)
            self._stamp = stamp
        return self._files


def _read(folder: Path) -> Mapping[str, _File]:
    """Every file below the folder by its path in an address; nothing else is ever served."""
    bodies = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_symlink()
    }
    return {
        name: _File(body=body, packed=bodies.get(f"{name}.gz"), headers=_headers(name, body))
        for name, body in bodies.items()
        if not name.endswith(".gz")
    }


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

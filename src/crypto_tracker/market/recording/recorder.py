"""Writes down what goes over sockets, HTTP and the connections of other libraries, as it was."""

import base64
import contextlib
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
from pydantic import SecretStr

from crypto_tracker import __version__
from crypto_tracker.core.errors import StoreError, UsageError
from crypto_tracker.market.recording.format import SOCKET_PREFIX, Header, Kind, Mask, Record, Writer, line_of
from crypto_tracker.net.sockets import Connect, Proof, Socket, SocketClosed, SocketSilent, SocketUnreachable


class Recorder:
    """A recording that is being made; safe for threads. A context manager: leaving it ends the file.

    Whatever is recorded is in the file at most `flush_seconds` later, and after `flush_lines` lines at once,
    so a kill loses no more than that.

    Parameters
    ----------
    path : of the new file, by habit `*.jsonl.zst`; one that is there already is refused
    provider : whose session it is
    now_ns : the clock, nanoseconds of UTC
    secrets : what must not be written, wherever it stands
    """

    def __init__(
        self,
        path: Path,
        *,
        provider: str,
        now_ns: Callable[[], int],
        secrets: Sequence[SecretStr] = (),
        flush_seconds: float = 1.0,
        flush_lines: int = 100,
    ) -> None:
        self.path = path
        self._mask = Mask(tuple(secrets))
        self._log = _Log(path, provider, now_ns, flush_seconds, flush_lines)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the recording; what comes later is not written."""
        self._log.close()

    def connecting(self, connect: Connect) -> Connect:
        """`connect`, and everything on its connections is recorded."""
        log, mask = self._log, self._mask

        @contextlib.asynccontextmanager
        async def recorded(url: str) -> AsyncIterator[Socket]:
            connection = log.next_connection()
            async with contextlib.AsyncExitStack() as stack:
                try:
                    inner = await stack.enter_async_context(connect(url))
                except SocketUnreachable as error:
                    log.note(Kind.FAILED, connection, url=mask.url(url), reason=mask.text(str(error)))
                    raise
                log.note(Kind.OPEN, connection, url=mask.url(url))
                try:
                    yield _RecordedSocket(inner, log, mask, connection)
                finally:
                    log.note(Kind.LEFT, connection)

        return recorded

    def transport(self, inner: httpx.AsyncBaseTransport) -> httpx.AsyncBaseTransport:
        """`inner`, and every request over HTTP with its answer is recorded."""
        return _RecordedTransport(inner, self._log, self._mask)

    def note_opened(self, connection: str, url: str = "") -> None:
        """A connection of another library came about."""
        self._log.note(Kind.OPEN, connection, url=self._mask.url(url))

    def note_closed(self, connection: str, reason: str = "") -> None:
        """A connection of another library has ended."""
        self._log.note(Kind.CLOSED, connection, code=0, reason=self._mask.text(reason))

    def note_message(self, connection: str, text: str) -> None:
        """A message that another library received on the connection of this name."""
        self._log.note(Kind.MESSAGE, connection, text=self._mask.text(text))

    def note_sent(self, connection: str, text: str) -> None:
        """A message that another library sent."""
        self._log.note(Kind.SENT, connection, text=self._mask.sent(text))

    def note_step(self, kind: Kind, **values: Any) -> None:
        """A line of our own, which belongs to no connection."""
        self._log.note(kind, "", **values)

    def note_answer(self, method: str, url: str, status: int, text: str) -> None:
        """An answer over HTTP that another library got."""
        self._log.note(
            Kind.ANSWER,
            "",
            request=self._log.next_request(),
            method=method.upper(),
            url=self._mask.url(url),
            status=status,
            headers={},
            text=self._mask.text(text),
        )


class _Log:
    """The file behind a recorder: numbers what is recorded, stamps it, and hands it on in time."""

    def __init__(
        self, path: Path, provider: str, now_ns: Callable[[], int], flush_seconds: float, flush_lines: int
    ) -> None:
        self._path = path
        self._now_ns = now_ns
        self._flush_lines = flush_lines
        self._lock = threading.Lock()
        self._waiting = 0  # lines since the last flush
        self._connections = 0
        self._requests = 0
        self._failure: OSError | None = None
        header = Header(provider=provider, code_version=__version__, started_ns=now_ns())
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._writer: Writer | None = Writer(path, header)
        except OSError as error:
            if isinstance(error, FileExistsError) and path.exists():
                raise UsageError(f"{path} is there already: name a new file for the recording") from None
            raise UsageError(
                f"cannot write a recording to {path} ({error.strerror}): name another file"
            ) from None
        self._ended = threading.Event()
        self._flusher = threading.Thread(
            target=self._flush_now_and_then, args=(flush_seconds,), name=f"flushes {path.name}", daemon=True
        )
        self._flusher.start()

    def next_connection(self) -> str:
        with self._lock:
            self._connections += 1
            return f"{SOCKET_PREFIX}{self._connections}"

    def next_request(self) -> int:
        with self._lock:
            self._requests += 1
            return self._requests

    def note(self, kind: Kind, connection: str, **fields: Any) -> None:
        with self._lock:
            if self._writer is None:
                return  # the session outlives its recording
            # The clock is read under the lock, so that lines stand in the order of their times.
            record = Record(time_ns=self._now_ns(), kind=kind, connection=connection, fields=fields)
            try:
                if self._failure is not None:
                    raise self._failure
                self._writer.write(line_of(record))
                self._waiting += 1
                if self._waiting >= self._flush_lines:
                    self._flush()
            except OSError as error:
                raise StoreError(
                    f"cannot write the recording {self._path} ({error.strerror}): make room, or go on without"
                ) from error

    def close(self) -> None:
        self._ended.set()
        self._flusher.join()
        with self._lock:
            if self._writer is not None:
                self._writer.close()
                self._writer = None

    def _flush(self) -> None:
        if self._writer is not None and self._waiting:
            self._writer.flush()
            self._waiting = 0

    def _flush_now_and_then(self, seconds: float) -> None:
        while not self._ended.wait(seconds):
            with self._lock:
                try:
                    self._flush()
                except OSError as error:
                    self._failure = error  # for whoever records next
                    return


class _RecordedSocket:
    """A socket whose messages are written down before anyone acts on them."""

    def __init__(self, inner: Socket, log: _Log, mask: Mask, connection: str) -> None:
        self._inner = inner
        self._log = log
        self._mask = mask
        self._connection = connection

    async def send(self, text: str) -> None:
        self._log.note(Kind.SENT, self._connection, text=self._mask.sent(text))
        try:
            await self._inner.send(text)
        except SocketClosed as error:
            self._note_closed(error, during=Kind.SENT)
            raise

    def prove(self, every_seconds: float, mark: Callable[[], int]) -> None:
        self._inner.prove(every_seconds, mark)

    async def receive(self, within_seconds: float | None = None) -> str | bytes | Proof:
        try:
            message = await self._inner.receive(within_seconds)
        except SocketClosed as error:
            self._note_closed(error, during=Kind.MESSAGE)
            raise
        except SocketSilent as error:
            self._log.note(Kind.SILENT, self._connection, seconds=error.seconds)
            raise
        if isinstance(message, Proof):
            self._log.note(Kind.PROVEN, self._connection, mark=message.mark)
            return message
        self._log.note(Kind.MESSAGE, self._connection, **_content(message, self._mask))
        return message

    def _note_closed(self, error: SocketClosed, *, during: Kind) -> None:
        reason = self._mask.text(error.reason)
        self._log.note(Kind.CLOSED, self._connection, code=error.code, reason=reason, during=during.value)


class _RecordedTransport(httpx.AsyncBaseTransport):
    """A transport that reads each answer whole and writes it down before it is given on."""

    def __init__(self, inner: httpx.AsyncBaseTransport, log: _Log, mask: Mask) -> None:
        self._inner = inner
        self._log = log
        self._mask = mask

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        asked: dict[str, Any] = {
            "request": self._log.next_request(),
            "method": request.method,
            "url": self._mask.url(str(request.url)),
        }
        headers = self._mask.headers(dict(request.headers))
        self._log.note(Kind.REQUEST, "", **asked, headers=headers)
        try:
            response = await self._inner.handle_async_request(request)
            try:
                body = await response.aread()
            finally:
                await response.aclose()
        except httpx.TransportError as error:
            reason = self._mask.text(str(error))
            self._log.note(Kind.FAILED, "", **asked, error=type(error).__name__, reason=reason)
            raise
        # The body is given on as it reads, so what described its transfer no longer holds.
        described = {"content-encoding", "content-length", "transfer-encoding"}
        kept = {name: value for name, value in response.headers.items() if name not in described}
        self._log.note(
            Kind.ANSWER,
            "",
            **asked,
            status=response.status_code,
            headers=self._mask.headers(kept),
            **_content(body, self._mask),
        )
        return httpx.Response(response.status_code, headers=kept, content=body, request=request)

    async def aclose(self) -> None:
        await self._inner.aclose()


def _content(content: str | bytes, mask: Mask) -> dict[str, str]:
    """A message or a body: text where it reads as text, and whether it came as bytes."""
    if isinstance(content, str):
        return {"text": mask.text(content)}
    try:
        return {"text": mask.text(content.decode()), "as": "bytes"}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(content).decode("ascii")}

"""What a recording looks like on disk: JSON lines in one zstd stream, readable up to the last flush."""

import base64
import io
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any
from urllib.parse import quote

import zstandard
from pydantic import SecretStr

from crypto_tracker.core.errors import DataError

FORMAT_VERSION = 2
READABLE_VERSIONS = (1, 2)  # 1 does not tell what was fetched, nor of which symbols
MASK = "***"
SOCKET_PREFIX = "#"
"""Our own sockets are #1, #2, ...; connections of other libraries have names without it."""

_LINE_BYTES_MAX = 256 * 2**20  # an answer of a whole history; a longer line is no recording of ours
_READ_BYTES = 2**18
_SECRET_HEADERS = re.compile(r"authorization|cookie|key|sign|secret|token|passphrase", re.IGNORECASE)
_SECRET_QUERY = re.compile(r"((?:^|[?&])[\w-]*(?:key|sign|signature|secret|token)=)[^&#]*", re.IGNORECASE)


class Kind(StrEnum):
    """What one line tells."""

    HEADER = "header"  # the first line: format, provider, code
    OPEN = "open"  # a connection came about
    FAILED = "failed"  # none came about, or a request got no answer
    SENT = "sent"  # a message of ours
    MESSAGE = "message"  # one of theirs
    PROVEN = "proven"  # the other side has answered a ping, whose mark is in `mark`
    SILENT = "silent"  # nothing came for as long as the reader was willing to wait
    CLOSED = "closed"  # the reader was told that the connection has ended
    LEFT = "left"  # the reader went away
    REQUEST = "request"  # asked over HTTP
    ANSWER = "answer"  # the answer to it
    FETCHED = "fetched"  # what our reading made of the answers to one question for bars
    STREAMING = "streaming"  # the stream was asked for, of `symbols`
    STREAMED = "streamed"  # nobody reads it any more


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """The first line of a recording."""

    provider: str
    code_version: str
    started_ns: int
    format_version: int = FORMAT_VERSION


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One line: when, on which connection, what, and the rest by name.

    Attributes
    ----------
    time_ns : by the clock of the recorder, UTC
    connection : our sockets are numbered #1, #2, ... in the order in which they were asked for;
        connections of other libraries have names; HTTP has ""
    fields : `text` of a message, `status` of an answer, ...
    """

    time_ns: int
    kind: Kind
    connection: str
    fields: Mapping[str, Any]

    @property
    def content(self) -> str | bytes:
        """The message or the body, as it came."""
        if "base64" in self.fields:
            return base64.b64decode(self.fields["base64"])
        text = str(self.fields["text"])
        return text.encode() if self.fields.get("as") == "bytes" else text

    @property
    def text(self) -> str:
        """The message or the body as text; raises UnicodeDecodeError where it is none."""
        content = self.content
        return content if isinstance(content, str) else content.decode()


class Mask:
    """Takes secrets out of everything that is written.

    Known secrets go wherever they stand; so do the parameters of a message that authenticates, headers that
    carry keys, and keys in queries, whether they are known or not.
    """

    def __init__(self, secrets: tuple[SecretStr, ...] = ()) -> None:
        spellings: set[str] = set()
        for secret in secrets:
            value = secret.get_secret_value()
            if value:
                spellings |= {value, json.dumps(value)[1:-1], quote(value, safe="")}
        self._secrets = sorted(spellings, key=len, reverse=True)  # one may stand inside another

    def text(self, text: str) -> str:
        """Any text without the known secrets."""
        for secret in self._secrets:
            text = text.replace(secret, MASK)
        return text

    def sent(self, text: str) -> str:
        """A message of ours: one whose action is `auth` keeps nothing else."""
        text = self.text(text)
        if "auth" not in text:
            return text
        try:
            message = json.loads(text)
        except ValueError:
            return text
        if isinstance(message, dict) and message.get("action") == "auth":
            return json.dumps({"action": "auth", "params": MASK})
        return text

    def url(self, url: str) -> str:
        """A URL without keys in its query."""
        return _SECRET_QUERY.sub(rf"\g<1>{MASK}", self.text(url))

    def headers(self, headers: Mapping[str, str]) -> dict[str, str]:
        """Headers, those that carry keys masked."""
        return {
            name: MASK if _SECRET_HEADERS.search(name) else self.text(value)
            for name, value in headers.items()
        }


def line_of(record: Record) -> bytes:
    """A record as it is written."""
    document = {"t": record.time_ns, "k": record.kind.value, "c": record.connection, **record.fields}
    return json.dumps(document, separators=(",", ":")).encode() + b"\n"


def header_line(header: Header) -> bytes:
    """The first line of a recording."""
    return line_of(
        Record(
            time_ns=header.started_ns,
            kind=Kind.HEADER,
            connection="",
            fields={
                "format": header.format_version,
                "provider": header.provider,
                "code": header.code_version,
            },
        )
    )


def read_header(path: Path) -> Header:
    """The first line of the recording at `path`; raises DataError where it is none of ours."""
    for record in _records(path):
        if record.kind is not Kind.HEADER:
            break
        version = record.fields.get("format")
        if version not in READABLE_VERSIONS:
            raise DataError(
                f"{path} is a recording of format {version}, and this version of crypto-tracker reads up to "
                f"format {FORMAT_VERSION}: replay it with the version that recorded it "
                f"({record.fields.get('code')})"
            )
        return Header(
            provider=str(record.fields.get("provider", "")),
            code_version=str(record.fields.get("code", "")),
            started_ns=record.time_ns,
            format_version=version,
        )
    raise DataError(f"{path} is no recording: its first line is no header; name a file that was recorded")


def read_records(path: Path) -> Iterator[Record]:
    """The lines after the header, in order, up to where the recording ends or was killed.

    A last line that was cut is left out; anything else that cannot be read raises DataError.
    """
    for record in _records(path):
        if record.kind is not Kind.HEADER:
            yield record


def _records(path: Path) -> Iterator[Record]:
    for number, line in enumerate(_lines(path), start=1):
        try:
            document = json.loads(line)
            yield Record(
                time_ns=int(document.pop("t")),
                kind=Kind(document.pop("k")),
                connection=str(document.pop("c")),
                fields=document,
            )
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            raise DataError(
                f"{path}, line {number} is no line of a recording ({error}): name a file that was recorded"
            ) from None


def _lines(path: Path) -> Iterator[bytes]:
    """Whole lines only: what follows the last line break was cut by a kill."""
    rest = b""
    try:
        with path.open("rb") as file, zstandard.ZstdDecompressor().stream_reader(file) as plain:
            while chunk := plain.read(_READ_BYTES):
                *lines, rest = (rest + chunk).split(b"\n")
                yield from lines
                if len(rest) > _LINE_BYTES_MAX:
                    raise DataError(f"{path} has a line without an end: it is no recording")
    except OSError as error:
        raise DataError(f"cannot read the recording {path}: {error.strerror}") from None
    except zstandard.ZstdError as error:
        raise DataError(f"{path} is no recording, or it is damaged ({error}): name another file") from None


class Writer:
    """Writes lines into a file that must not be there yet. Not safe for threads: the recorder locks."""

    def __init__(self, path: Path, header: Header) -> None:
        self._file: io.BufferedWriter = path.open("xb")
        self._stream = zstandard.ZstdCompressor(level=3).stream_writer(self._file, closefd=False)
        self.write(header_line(header))
        self.flush()

    def write(self, line: bytes) -> None:
        """Add a line; it is in the file after the next flush."""
        self._stream.write(line)

    def flush(self) -> None:
        """Hand all lines to the operating system: from now on a kill of this process loses none of them."""
        self._stream.flush(zstandard.FLUSH_BLOCK)
        self._file.flush()

    def close(self) -> None:
        """End the stream and the file."""
        with self._file, self._stream:
            pass

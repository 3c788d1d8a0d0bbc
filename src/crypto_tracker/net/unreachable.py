"""Why a server was not reached: the few causes that people can do something about, in plain words."""

import socket
import ssl
from collections.abc import Iterator


def why_unreachable(error: BaseException) -> str | None:
    """The cause that lies behind an exception of a library, in a few words; None for any other.

    >>> why_unreachable(ConnectionRefusedError(111, "Connect call failed ('127.0.0.1', 1234)"))
    'connection refused'
    """
    for each in _causes(error):
        for kind, words in _WORDS:
            if isinstance(each, kind):
                return words
    return None


def address_of(error: BaseException) -> str | None:
    """The host and port that an exception of aiohttp, or one behind it, names; None where none does."""
    for each in _causes(error):
        host, port = getattr(each, "host", None), getattr(each, "port", None)
        if isinstance(host, str) and isinstance(port, int):
            return f"{host}:{port}"
    return None


# The more special ones first: most are kinds of OSError.
_WORDS: tuple[tuple[type[BaseException], str], ...] = (
    (ConnectionRefusedError, "connection refused"),
    (socket.gaierror, "its name cannot be resolved; is this machine connected to the internet?"),
    (ConnectionResetError, "it closed the connection"),
    (ConnectionAbortedError, "the connection was broken off"),
    (ssl.SSLCertVerificationError, "its certificate is not valid"),
    (ssl.SSLError, "no secure connection comes about"),
    (TimeoutError, "no answer in time"),
)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An exception and all that led to it, each once, the nearest first."""
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        each = waiting.pop(0)
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        waiting += [each.__cause__, each.__context__, getattr(each, "os_error", None)]
        if isinstance(each, BaseExceptionGroup):
            waiting += each.exceptions

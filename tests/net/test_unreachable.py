"""What people are told when a server is not reached."""

import socket
import ssl

import pytest

from crypto_tracker.net.unreachable import address_of, why_unreachable


class Wrapped(Exception):
    """An exception of a library that knows where it wanted to go."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__("something failed")
        self.host, self.port = host, port


def behind(outer: Exception, inner: BaseException) -> Exception:
    outer.__cause__ = inner
    return outer


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ConnectionRefusedError(), "connection refused"),
        (socket.gaierror(-2, "Name or service not known"), "its name cannot be resolved"),
        (ConnectionResetError(), "it closed the connection"),
        (ssl.SSLCertVerificationError("self-signed"), "its certificate is not valid"),
        (TimeoutError(), "no answer in time"),
    ],
)
def test_the_cause_is_found_however_deep_it_lies(error: BaseException, words: str):
    group = ExceptionGroup("all addresses failed", [OSError("one"), behind(OSError("two"), error)])
    for outer in (error, behind(ValueError("outer"), error), behind(RuntimeError(), group)):
        found = why_unreachable(outer)
        assert found is not None
        assert found.startswith(words)


def test_the_address_is_that_of_the_exception_which_knows_it():
    inner = behind(Wrapped("api.kraken.com", 443), ConnectionRefusedError())
    assert address_of(behind(RuntimeError(), inner)) == "api.kraken.com:443"
    assert address_of(ConnectionRefusedError()) is None


def test_other_failures_are_not_called_unreachable_and_a_ring_of_causes_ends():
    first, second = ValueError("a"), KeyError("b")
    first.__cause__, second.__cause__ = second, first
    assert why_unreachable(first) is None

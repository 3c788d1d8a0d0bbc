"""What ccxt's exceptions mean for whoever asked."""

import asyncio
import re
from http import HTTPStatus

from crypto_tracker.core.errors import (
    CryptoTrackerError,
    ProviderRefused,
    ProviderUnavailable,
    UnknownToProvider,
)
from crypto_tracker.net.unreachable import address_of, why_unreachable

UNREADABLE = (TypeError, ValueError, KeyError, IndexError, AttributeError, ArithmeticError)
"""What ccxt trips over when an exchange answers something else than ccxt was written for."""

_TEXT_MAX = 300
_LATER = frozenset({408, 418, 425, 429})
_NO_SUCH_SYMBOL = re.compile(
    r"(unknown|invalid|not? found|no such|not exist\w*).{0,20}(pair|symbol|product|instrument)"
    r"|(pair|symbol|product|instrument).{0,20}(unknown|invalid|not found|not exist)",
    re.IGNORECASE,
)
_REFUSING = frozenset({400, 401, 403, 404, 405, 410, 451})  # ccxt takes most of them for an outage


def plain(error: BaseException) -> str:
    """The text of an exception on one line, without the pages of HTML that some servers send along."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= _TEXT_MAX else f"{text[:_TEXT_MAX]} ..."


def passes(error: BaseException, status: int | None) -> bool:
    """Whether the same request may succeed a little later."""
    import ccxt  # noqa: PLC0415 - heavy; whoever has such an exception has it loaded

    if isinstance(error, (asyncio.TimeoutError, OSError)):
        return True
    if isinstance(error, ccxt.OperationFailed):
        return status not in _REFUSING or isinstance(error, (ccxt.DDoSProtection, ccxt.RateLimitExceeded))
    if status is not None and (status >= 500 or status in _LATER):
        return True
    # An answer that broke off: ccxt takes any failure of aiohttp that it does not know for the exchange's.
    return type(error) is ccxt.ExchangeError and error.__cause__ is not None


def failure_clause(name: str, error: BaseException, status: int | None) -> str:
    """What went wrong with a request that may go better the next time, as the beginning of a sentence."""
    import ccxt  # noqa: PLC0415 - as above

    if status == HTTPStatus.TOO_MANY_REQUESTS or isinstance(
        error, (ccxt.DDoSProtection, ccxt.RateLimitExceeded)
    ):
        return f"{name} was asked too often"
    if status is not None and status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return f"{name} answered with status {status}"
    if (why := why_unreachable(error)) is not None:
        address = address_of(error)
        return f"{name} cannot be reached{f' at {address}' if address else ''}: {why}"
    behind = f": {plain(error.__cause__)}" if error.__cause__ is not None else ""
    return f"{name} did not answer as it should ({plain(error)}{behind})"


def meaning(name: str, error: BaseException, *, asked: str = "") -> CryptoTrackerError:
    """Our error for one of ccxt's; `asked` names what was asked for, such as a symbol."""
    import ccxt  # noqa: PLC0415 - as above

    about = f" (asked for {asked})" if asked else ""
    if isinstance(error, CryptoTrackerError):
        return error
    if isinstance(error, ccxt.BadSymbol) or (
        type(error) in {ccxt.ExchangeError, ccxt.BadRequest} and _NO_SUCH_SYMBOL.search(str(error))
    ):
        return UnknownToProvider(f"{name} does not trade {asked or 'this symbol'}: {plain(error)}")
    if isinstance(error, ccxt.AuthenticationError):
        return ProviderRefused(f"{name} refuses access{about}: {plain(error)}")
    if isinstance(error, ccxt.NotSupported):
        return ProviderRefused(f"{name} does not offer this{about}: {plain(error)}")
    if isinstance(error, ccxt.OperationFailed) and getattr(error, "answered_status", None) not in _REFUSING:
        return ProviderUnavailable(f"{name} cannot be reached{about}: {plain(error)}")
    if isinstance(error, ccxt.BaseError):
        return ProviderRefused(f"{name} refuses{about}: {plain(error)}")
    if isinstance(error, OSError):
        return ProviderUnavailable(f"{name} cannot be reached{about}: {plain(error)}")
    return ProviderUnavailable(
        f"{name} answered something that cannot be read{about} ({type(error).__name__}: {plain(error)}): "
        "try again later, and update ccxt if it stays so"
    )

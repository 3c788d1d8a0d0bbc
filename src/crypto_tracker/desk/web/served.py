"""What the endpoints answer from, and the account that a request is about."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from crypto_tracker.config.web import Web
from crypto_tracker.desk.source import Book, Desk
from crypto_tracker.desk.web.guard import Caller, caller_of
from crypto_tracker.desk.web.parameters import AccountQuery


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """Everything that one server answers from.

    Attributes
    ----------
    now_ms : the clock
    configuration_file : the text of the configuration file of the home, for `reload_config`
    document : the OpenAPI document, as it is sent
    streams : how many live streams are open
    """

    desk: Desk
    settings: Web
    code_version: str
    now_ms: Callable[[], int]
    configuration_file: Callable[[], str]
    document: Callable[[], bytes]
    streams: Callable[[], int]


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request is about, and who asks."""

    served: Served
    account: str | None
    caller: Caller

    def book(self) -> Book:
        """The book of the account that is asked about; opening it may take a while."""
        return self.served.desk.book(self.account)


def served_by(request: Request) -> Served:
    """What the server of this request answers from."""
    served = request.app.state.served
    if not isinstance(served, Served):
        raise TypeError("the application was made without anything to serve")
    return served


async def _about_server(request: Request) -> Served:
    return served_by(request)


async def _about_account(request: Request, account: AccountQuery = None) -> Asked:
    return Asked(served_by(request), account, caller_of(request))


Server = Annotated[Served, Depends(_about_server)]
Account = Annotated[Asked, Depends(_about_account)]

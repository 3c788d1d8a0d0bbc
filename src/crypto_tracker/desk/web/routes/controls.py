"""What people tell an account. Each command is a row that the trader answers at its next minute."""

from collections.abc import Sequence
from typing import Annotated

from fastapi import Body

from crypto_tracker.desk.views.controls import (
    AuditPage,
    CommandItem,
    CommandKind,
    CommandPage,
    CommandPreview,
    CommandWish,
    ConfigurationPreview,
    ConfigurationWish,
    ForceExit,
    Plain,
    ShowConfiguration,
    Withdraw,
)
from crypto_tracker.desk.web.guard import ControlRoute, ReadRoute, router
from crypto_tracker.desk.web.parameters import Cursor, Limit
from crypto_tracker.desk.web.served import Account, Asked

routes = router(ReadRoute, "control")
control_routes = router(ControlRoute, "control")

SENT = "the API"
OF_THE_HOME = "the configuration file of the home"

EXAMPLES: Sequence[tuple[CommandKind, str, dict[str, str | int]]] = (
    ("pause", "stop entries; what is held keeps its exits", {}),
    ("resume", "let entries go on after a pause, a halt, a day's loss or a drawdown", {}),
    ("close", "sell a position at the next open, or cancel an order", {"symbol": "ETH/USDT"}),
    ("close_worst", "sell the positions with the lowest marked return", {"count": 2}),
    ("regime_force", "force the regime: normal, caution, euphoria or panic", {"regime": "panic"}),
    ("regime_release", "leave the regime to the market", {}),
    ("cooldown_clear", "end the cooldown of a symbol", {"symbol": "ETH/USDT"}),
    ("streak_clear", "end the rest of a strategy after its losing streak", {"strategy": "DCA"}),
    ("strategy_on", "let a strategy open positions", {"strategy": "DCA"}),
    ("strategy_off", "let a strategy open none", {"strategy": "DCA"}),
    ("block", "buy a symbol no more", {"symbol": "ETH/USDT"}),
    ("unblock", "let a symbol be bought again", {"symbol": "ETH/USDT"}),
)
"""Every kind of command: what it does, and its arguments by example."""

NoBody = Annotated[
    Plain,
    Body(
        description="An empty object, or the id under which the command may be sent again.",
        openapi_examples={
            "nothing": {"summary": "nothing to say", "value": {}},
            "again": {
                "summary": "may be sent again",
                "value": {"command_id": "3f2b8c0e9d7a4f61b5c2e8d90a1f7b34"},
            },
        },
    ),
]
Wished = Annotated[
    CommandWish,
    Body(
        description="A command with its arguments; each kind has an example.",
        openapi_examples={
            kind: {"summary": words, "value": {"kind": kind, "arguments": arguments}}
            for kind, words, arguments in EXAMPLES
        },
    ),
]


@routes.get("/commands")
def commands(account: Account, limit: Limit = 50, cursor: Cursor = None) -> CommandPage:
    """What people told the account, with the trader's answers, newest first."""
    return account.book().commands(limit=limit, cursor=cursor)


@routes.get("/audit")
def audit(account: Account, limit: Limit = 50, cursor: Cursor = None) -> AuditPage:
    """Everything that people did, newest first."""
    return account.book().audit(limit=limit, cursor=cursor)


@routes.get("/show_config")
def show_config(account: Account) -> ShowConfiguration:
    """The configuration that the account trades under."""
    return account.book().configuration()


@control_routes.post("/commands/preview")
def preview_command(account: Account, wish: Wished) -> CommandPreview:
    """What a command would do; nothing is told."""
    return account.book().preview(wish)


@control_routes.post("/commands", status_code=202)
def tell(account: Account, wish: Wished) -> CommandItem:
    """Give a command.

    It is noted at once; the trader answers at its next minute: see `commands`. Refused with 409 where the
    trader would refuse it as the account stands, which the audit notes. With a `command_id` of one's own it
    may be sent again: that gives no second command.
    """
    return account.book().tell(wish, account.caller.actor)


@control_routes.post("/withdraw")
def withdraw(account: Account, wish: Withdraw) -> CommandItem:
    """Take back a command that waits for its minute: the trader never answers it.

    Refused with 409 where it has answered it, which the audit notes. Once more changes nothing.
    """
    return account.book().withdraw(wish.command_id, account.caller.actor)


@control_routes.post("/config/preview")
def preview_config(account: Account, wish: ConfigurationWish) -> ConfigurationPreview:
    """What a configuration would change; nothing is told."""
    return account.book().preview_configuration(wish)


@control_routes.post("/config/apply", status_code=202)
def apply_config(account: Account, wish: ConfigurationWish) -> CommandItem:
    """Offer a configuration, and command the account to take it at its next minute."""
    return account.book().tell_configuration(wish, account.caller.actor, source=SENT)


@control_routes.post("/reload_config", status_code=202)
def reload_config(account: Account, body: NoBody) -> CommandItem:
    """Apply the configuration file of the home, as it is now."""
    wish = ConfigurationWish(toml=account.served.configuration_file(), command_id=body.command_id)
    return account.book().tell_configuration(wish, account.caller.actor, source=OF_THE_HOME)


@control_routes.post("/pause", status_code=202)
def pause(account: Account, body: NoBody) -> CommandItem:
    """Stop entries until `start`; what is held keeps its exits."""
    return _tell(account, "pause", body.command_id)


@control_routes.post("/stopbuy", status_code=202)
def stopbuy(account: Account, body: NoBody) -> CommandItem:
    """Stop entries: another name of `pause`."""
    return _tell(account, "pause", body.command_id)


@control_routes.post("/start", status_code=202)
def start(account: Account, body: NoBody) -> CommandItem:
    """Let entries go on after a pause, a halt or the day's loss."""
    return _tell(account, "resume", body.command_id)


@control_routes.post("/forceexit", status_code=202)
def forceexit(account: Account, wish: ForceExit) -> CommandItem:
    """Sell a position at the next open, or cancel an order that nothing was filled of."""
    return _tell(account, "close", wish.command_id, symbol=wish.symbol)


def _tell(account: Asked, kind: CommandKind, command_id: str | None, **arguments: str) -> CommandItem:
    wish = CommandWish(kind=kind, arguments=dict(arguments), command_id=command_id)
    return account.book().tell(wish, account.caller.actor)

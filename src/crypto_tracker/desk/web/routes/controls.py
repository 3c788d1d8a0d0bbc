"""What people tell an account. Each command is a row that the trader answers at its next minute."""

from typing import Annotated

from fastapi import Body

from crypto_tracker.desk.views.controls import (
    AuditPage,
    CommandItem,
    CommandPage,
    CommandPreview,
    CommandWish,
    ConfigurationPreview,
    ConfigurationWish,
    ForceExit,
    Nothing,
    ShowConfiguration,
)
from crypto_tracker.desk.web.guard import ControlRoute, ReadRoute, router
from crypto_tracker.desk.web.parameters import Cursor, Limit
from crypto_tracker.desk.web.served import Account

routes = router(ReadRoute, "control")
control_routes = router(ControlRoute, "control")

NoBody = Annotated[Nothing, Body(description="An empty object.")]


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
def preview_command(account: Account, wish: CommandWish) -> CommandPreview:
    """What a command would do; nothing is told."""
    return account.book().preview(wish)


@control_routes.post("/commands", status_code=202)
def tell(account: Account, wish: CommandWish) -> CommandItem:
    """Give a command.

    It is noted at once; the trader answers at its next minute: see `commands`. Kinds and arguments: `pause`,
    `resume`, `close` (symbol), `close_worst` (count), `regime_force` (regime), `regime_release`,
    `cooldown_clear` (symbol), `streak_clear`, `strategy_on`, `strategy_off` (strategy), `block`, `unblock`
    (symbol).
    """
    return account.book().tell(wish, account.caller.actor)


@control_routes.post("/config/preview")
def preview_config(account: Account, wish: ConfigurationWish) -> ConfigurationPreview:
    """What a configuration would change; nothing is told."""
    return account.book().preview_configuration(wish)


@control_routes.post("/config/apply", status_code=202)
def apply_config(account: Account, wish: ConfigurationWish) -> CommandItem:
    """Offer a configuration, and command the account to take it at its next minute."""
    return account.book().tell_configuration(wish, account.caller.actor)


@control_routes.post("/reload_config", status_code=202)
def reload_config(account: Account, _body: NoBody) -> CommandItem:
    """Apply the configuration file of the home, as it is now."""
    wish = ConfigurationWish(toml=account.served.configuration_file())
    return account.book().tell_configuration(wish, account.caller.actor)


@control_routes.post("/pause", status_code=202)
def pause(account: Account, _body: NoBody) -> CommandItem:
    """Stop entries until `start`; what is held keeps its exits."""
    return account.book().tell(CommandWish(kind="pause", arguments={}), account.caller.actor)


@control_routes.post("/stopbuy", status_code=202)
def stopbuy(account: Account, _body: NoBody) -> CommandItem:
    """Stop entries: another name of `pause`."""
    return account.book().tell(CommandWish(kind="pause", arguments={}), account.caller.actor)


@control_routes.post("/start", status_code=202)
def start(account: Account, _body: NoBody) -> CommandItem:
    """Let entries go on after a pause, a halt or the day's loss."""
    return account.book().tell(CommandWish(kind="resume", arguments={}), account.caller.actor)


@control_routes.post("/forceexit", status_code=202)
def forceexit(account: Account, wish: ForceExit) -> CommandItem:
    """Sell a position at the next open, or cancel an order that nothing was filled of."""
    return account.book().tell(
        CommandWish(kind="close", arguments={"symbol": wish.symbol}), account.caller.actor
    )

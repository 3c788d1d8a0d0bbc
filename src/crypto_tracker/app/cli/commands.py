"""What people tell a trading account: `pause`, `close`, `regime` and others, `withdraw`, and the list."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crypto_tracker.app.cli.common import (
    JsonOption,
    Session,
    command,
    emit_json,
    parse_time,
    session_of,
)
from crypto_tracker.core.errors import CryptoTrackerError, UsageError

if TYPE_CHECKING:
    from rich.text import Text

    from crypto_tracker.app.commanding import Change, Standing, Told
    from crypto_tracker.store.control import AuditEntry, Command
    from crypto_tracker.store.trading_records import ConfigurationRow

_ID_SHOWN = 8  # digits of a command's id: enough to tell it from all others of an account

AccountOption = Annotated[
    str | None,
    typer.Option("--account", metavar="NAME", help="Otherwise the one that is traded now, or was last."),
]
AtOption = Annotated[
    str | None,
    typer.Option(
        "--at",
        metavar="TIME",
        help="Act at the first minute that opens at or after this market time (UTC); otherwise at once.",
    ),
]
WaitOption = Annotated[
    float | None,
    typer.Option(
        "--wait",
        metavar="SECONDS",
        min=0.0,
        help="How long to wait for the trader's answer: until its next minute while it runs, otherwise 0.",
    ),
]


class ForceOrRelease(StrEnum):
    """What can be done to a regime."""

    FORCE = "force"
    RELEASE = "release"


class OnOrOff(StrEnum):
    """What a strategy can be."""

    ON = "on"
    OFF = "off"


class Clear(StrEnum):
    """What can be done to a cooldown."""

    CLEAR = "clear"


class Apply(StrEnum):
    """What can be done with a configuration file."""

    APPLY = "apply"


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    command(app, "pause", examples=("pause", "pause --at 2025-08-22T12:00"))(pause)
    command(app, "resume", examples=("resume",))(resume)
    command(app, "close", examples=("close ETH/USDT", "close --worst 3"))(close)
    command(app, "regime", examples=("regime force panic", "regime release"))(regime)
    command(app, "cooldown", examples=("cooldown clear ETH/USDT", "cooldown clear SWING"))(cooldown)
    command(app, "strategy", examples=("strategy off SWING", "strategy on SWING"))(strategy)
    command(app, "block", examples=("block PEPE/USDT",))(block)
    command(app, "unblock", examples=("unblock PEPE/USDT",))(unblock)
    command(app, "config", examples=("config apply better.toml",))(config)
    command(app, "withdraw", examples=("withdraw 3f2b8c0e",))(withdraw)
    command(app, "commands", examples=("commands", "commands --audit"))(commands)


def pause(
    context: typer.Context,
    account: AccountOption = None,
    at: AtOption = None,
    wait: WaitOption = None,
    json_output: JsonOption = False,
) -> None:
    """Stop entries until `resume`; what is held keeps its exits."""
    _Telling(context, account, at, wait, json_output).tell("pause", {})


def resume(
    context: typer.Context,
    account: AccountOption = None,
    at: AtOption = None,
    wait: WaitOption = None,
    json_output: JsonOption = False,
) -> None:
    """Let entries go on after a pause, a halt or the day's loss.

    The day's loss counts anew from the present equity. A halt stays while what caused it is still so.
    """
    _Telling(context, account, at, wait, json_output).tell("resume", {})


def close(
    context: typer.Context,
    symbol: Annotated[str | None, typer.Argument(metavar="SYMBOL", help="Such as ETH/USDT.")] = None,
    worst: Annotated[
        int | None,
        typer.Option("--worst", metavar="N", min=1, help="The N positions with the lowest marked return."),
    ] = None,
    account: AccountOption = None,
    at: AtOption = None,
    wait: WaitOption = None,
    json_output: JsonOption = False,
) -> None:
    """Sell a position at the next open, or cancel an order that nothing was filled of."""
    if (symbol is None) == (worst is None):
        raise UsageError("say what to close: one symbol, such as close ETH/USDT, or --worst 3")
    telling = _Telling(context, account, at, wait, json_output)
    if symbol is not None:
        telling.tell("close", {"symbol": telling.symbol(symbol)})
    elif worst is not None:
        telling.tell("close_worst", {"count": worst})


def regime(
    context: typer.Context,
    action: Annotated[ForceOrRelease, typer.Argument(metavar="force|release", help="What to do.")],
    name: Annotated[
        str | None,
        typer.Argument(metavar="REGIME", help="normal, caution, euphoria or panic; to force one."),
    ] = None,
    account: AccountOption = None,
    at: AtOption = None,
    wait: WaitOption = None,
    json_output: JsonOption = False,
) -> None:
    """Force the regime of the market, or leave it to the market again."""
    from crypto_tracker.core.decisions import Regime

    if action is ForceOrRelease.RELEASE:
        if name is not None:
            raise UsageError("regime release takes no regime: there is one at most that is forced")
        _Telling(context, account, at, wait, json_output).tell("regime_release", {})
        return
    known = [each.name.lower() for each in Regime]
    if name is None or name.lower() not in known:
        given = "" if name is None else f"{name!r} is no regime: "
        raise UsageError(f"{given}write regime force and one of {', '.join(known)}")
    _Telling(context, account, at, wait, json_output).tell("regime_force", {"regime": name.lower()})


def cooldown(
    context: typer.Context,
    action: Annotated[Clear, typer.Argument(metavar="clear", help="What to do.")],  # noqa: ARG001 - the one word that there is
    name: Annotated[str, typer.Argument(metavar="SYMBOL|STRATEGY", help="Whose cooldown or losing streak.")],
    account: AccountOption = None,
    at: AtOption = None,
    wait: WaitOption = None,
    json_output: JsonOption = False,
) -> None:
    """End the cooldown of a symbol, or the rest of a strategy after its losing streak."""
    from crypto_tracker.app.commanding import traded_strategy

    telling = _Telling(context, account, at, wait, json_output)
    known = traded_strategy(telling.standing.account, name)
    if known is not None:
        telling.tell("streak_clear", {"strategy": known})
    else:
        telling.tell("cooldown_clear", {"symbol": telling.symbol(name)})


def strategy(
    context: typer.Context,
    action: Annotated[OnOrOff, typer.Argument(metavar="on|off", help="Whether it may open positions.")],
    name: Annotated[str, typer.Argument(metavar="NAME", help="Such as SWING.")],
    account: AccountOption = None,
    at: AtOption = None,
    wait: WaitOption = None,
    json_output: JsonOption = False,
) -> None:
    """Let a strategy open positions, or not; it is watched and explained either way."""
    telling = _Telling(context, account, at, wait, json_output)
    kind = "strategy_on" if action is OnOrOff.ON else "strategy_off"
    telling.tell(kind, {"strategy": telling.strategy(name)})


def block(
    context: typer.Context,
    symbol: Annotated[str, typer.Argument(metavar="SYMBOL", help="Such as PEPE/USDT.")],
    account: AccountOption = None,
    at: AtOption = None,
    wait: WaitOption = None,
    json_output: JsonOption = False,
) -> None:
    """Buy a symbol no more until `unblock`; what is held keeps its exits."""
    telling = _Telling(context, account, at, wait, json_output)
    telling.tell("block", {"symbol": telling.symbol(symbol)})


def unblock(
    context: typer.Context,
    symbol: Annotated[str, typer.Argument(metavar="SYMBOL", help="Such as PEPE/USDT.")],
    account: AccountOption = None,
    at: AtOption = None,
    wait: WaitOption = None,
    json_output: JsonOption = False,
) -> None:
    """Let a blocked symbol be bought again."""
    telling = _Telling(context, account, at, wait, json_output)
    telling.tell("unblock", {"symbol": telling.symbol(symbol)})


def config(
    context: typer.Context,
    action: Annotated[Apply, typer.Argument(metavar="apply", help="What to do.")],  # noqa: ARG001 - the one word that there is
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A configuration file in TOML.")],
    account: AccountOption = None,
    at: AtOption = None,
    wait: WaitOption = None,
    json_output: JsonOption = False,
) -> None:
    """Trade an account under another configuration.

    Defaults, then the file, then the environment, then --set are the whole new configuration: what the file
    leaves out goes back to its default. It is checked before anything is written. Limits, protection, costs,
    fills, parameters and `trading.switched_off` may change; what the account was opened with (capital,
    symbols, strategies, reference, time zone) may not. Open positions keep the exits that they were opened
    with.
    """
    from crypto_tracker.app.commanding import offered

    telling = _Telling(context, account, at, wait, json_output)
    session = telling.session
    if session.config_path is not None:
        raise UsageError(f"name one file: config apply {file}, without --config {session.config_path}")
    configuration = replace(session, config_path=file).configuration
    row, changes = offered(telling.standing, configuration, session.strategies)
    if not json_output:
        _print_changes(session, telling.standing, row, changes)
    telling.tell("configure", {"version": row.version}, offer=(row, str(file)), changes=changes)


def withdraw(
    context: typer.Context,
    command_id: Annotated[
        str, typer.Argument(metavar="ID", help="Of the command, as `commands` shows it; its start will do.")
    ],
    account: AccountOption = None,
    json_output: JsonOption = False,
) -> None:
    """Take back a command that waits for its minute.

    The trader then never answers it. Where it has answered, it is too late: tell it the opposite.
    """
    from crypto_tracker.app.accounts import commanded_account
    from crypto_tracker.app.commanding import (
        actor_of_the_command_line,
        by_whom,
        command_named,
        standing,
        withdrawal_of,
    )
    from crypto_tracker.app.commanding import withdraw as take_back
    from crypto_tracker.core.timeframes import to_ms

    session = session_of(context)
    where = standing(commanded_account(session.home, account))
    named = command_named(where.place, command_id)
    before = withdrawal_of(where.place, named)
    found = take_back(where, named, actor=actor_of_the_command_line(), now_ms=to_ms(session.now()))
    if json_output:
        emit_json({"account": where.place.name, **_document(found)})
        return
    said = f"Withdrawn, {_words(named)}: {found.sentence}."
    if before is not None:
        said = f"{_words(named)} was withdrawn already, {by_whom(before)}."
    session.out.print(said, markup=False, soft_wrap=True)


def commands(
    context: typer.Context,
    account: AccountOption = None,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, help="Only the last N.")] = 20,
    audit: Annotated[
        bool,
        typer.Option("--audit", help="Every act of a person instead, offered configurations included."),
    ] = False,
    json_output: JsonOption = False,
) -> None:
    """List what people told an account, and what its trader answered."""
    from crypto_tracker.app.accounts import read_account
    from crypto_tracker.app.commanding import audited, told

    session = session_of(context)
    place = read_account(session.home, account)
    if audit:
        entries = audited(place.folder)[-limit:]
        if json_output:
            emit_json([_entry_document(entry) for entry in entries])
        else:
            _print_audit(session, place.name, entries)
        return
    given = told(place.folder)
    if json_output:
        emit_json([{"account": place.name, **_document(each)} for each in given[-limit:]])
    else:
        _print_told(session, place.name, given[-limit:], earlier=max(len(given) - limit, 0))


class _Telling:
    """One command of a person on its way: for which account, when, and how its answer is shown."""

    def __init__(
        self,
        context: typer.Context,
        account: str | None,
        at: str | None,
        wait: float | None,
        json_output: bool,
    ) -> None:
        from crypto_tracker.app.accounts import commanded_account
        from crypto_tracker.app.commanding import refuse_where_nobody_answers, standing
        from crypto_tracker.core.timeframes import MINUTE_MS, to_ms

        self.session: Session = session_of(context)
        # A time within a minute means the next one: the first that opens at or after it.
        self._not_before_ms = None if at is None else -(-to_ms(parse_time(at)) // MINUTE_MS) * MINUTE_MS
        self._wait = wait
        self._json = json_output
        self.standing: Standing = standing(commanded_account(self.session.home, account))
        refuse_where_nobody_answers(self.standing, self._not_before_ms)

    def symbol(self, text: str) -> str:
        """The name of the traded symbol that is meant."""
        from crypto_tracker.app.commanding import traded_symbol

        return str(traded_symbol(self.standing.account, text))

    def strategy(self, text: str) -> str:
        """The name of the account's strategy that is meant."""
        from crypto_tracker.app.commanding import traded_strategy

        name = traded_strategy(self.standing.account, text)
        if name is None:
            there = ", ".join(self.standing.account.strategies)
            raise UsageError(f"{text} is no strategy of this account: it trades {there}")
        return name

    def tell(
        self,
        kind: str,
        arguments: Mapping[str, str | int],
        *,
        offer: "tuple[ConfigurationRow, str] | None" = None,
        changes: "list[Change] | None" = None,
    ) -> None:
        """Write the command, wait, and show the answer; a refusal ends with exit code 1."""
        from crypto_tracker.app.commanding import actor_of_the_command_line, default_wait_seconds, tell
        from crypto_tracker.core.timeframes import to_ms
        from crypto_tracker.trading.commands import REFUSED

        now_ms = to_ms(self.session.now())
        usual = default_wait_seconds(self.standing, self._not_before_ms, now_ms)
        with self.session.err.status("waiting for the trader, which answers before its next minute"):
            found = tell(
                self.standing,
                kind,
                arguments,
                actor=actor_of_the_command_line(),
                now_ms=now_ms,
                not_before_ms=self._not_before_ms,
                offer=offer,
                wait_seconds=usual if self._wait is None else self._wait,
            )
        if self._json:
            document = {"account": self.standing.place.name, **_document(found)}
            if changes is not None:
                document["changes"] = {each.key: {"old": each.old, "new": each.new} for each in changes}
            emit_json(document)
        if found.status == REFUSED:
            raise CryptoTrackerError(f"Refused: {found.sentence}")
        if not self._json:
            _print_answer(self.session, found)


# --- what is shown -------------------------------------------------------------------------------


def _document(found: "Told") -> dict[str, Any]:
    from crypto_tracker.core.timeframes import from_ms

    asked = found.command
    return {
        "command_id": asked.command_id,
        "kind": asked.kind,
        "arguments": dict(asked.arguments),
        "not_before": None if asked.not_before_ms is None else from_ms(asked.not_before_ms),
        "actor": asked.actor,
        "created_at": from_ms(asked.created_at_ms),
        "status": found.status,
        "sentence": found.sentence,
        "minute": None if found.time_ms is None else from_ms(found.time_ms),
    }


def _entry_document(entry: "AuditEntry") -> dict[str, Any]:
    from crypto_tracker.core.timeframes import from_ms

    return {
        "at": from_ms(entry.at_ms),
        "actor": entry.actor,
        "action": entry.action,
        "detail": dict(entry.detail),
    }


def _words(asked: "Command") -> str:
    """The command as it is typed."""
    said: Mapping[str, Callable[[Mapping[str, str | int]], str]] = {
        "close": lambda a: f"close {a['symbol']}",
        "close_worst": lambda a: f"close --worst {a['count']}",
        "regime_force": lambda a: f"regime force {a['regime']}",
        "regime_release": lambda _: "regime release",
        "cooldown_clear": lambda a: f"cooldown clear {a['symbol']}",
        "streak_clear": lambda a: f"cooldown clear {a['strategy']}",
        "strategy_on": lambda a: f"strategy on {a['strategy']}",
        "strategy_off": lambda a: f"strategy off {a['strategy']}",
        "block": lambda a: f"block {a['symbol']}",
        "unblock": lambda a: f"unblock {a['symbol']}",
        "configure": lambda a: f"config apply {a['version']}",
    }
    words = said[asked.kind](asked.arguments) if asked.kind in said else asked.kind
    return words if asked.not_before_ms is None else f"{words} --at {_minute(asked.not_before_ms)}"


def _minute(time_ms: int) -> str:
    from crypto_tracker.core.timeframes import from_ms

    return f"{from_ms(time_ms):%Y-%m-%dT%H:%M}"


def _print_answer(session: Session, found: "Told") -> None:
    from rich.text import Text

    from crypto_tracker.trading.commands import APPLIED

    stored = "" if found.status == APPLIED else "Stored: "
    sentence = found.sentence if stored else found.sentence[:1].upper() + found.sentence[1:]
    session.out.print(Text(f"{stored}{sentence}."), soft_wrap=True)


def _print_changes(
    session: Session, where: "Standing", row: "ConfigurationRow", changes: "list[Change]"
) -> None:
    import json

    from rich.text import Text

    def shown(value: object) -> str:
        return "nothing" if value is None else json.dumps(value, ensure_ascii=False)

    from crypto_tracker.app.commanding import to_be_replaced

    replaced = to_be_replaced(where).version
    waits = "" if replaced == where.configuration.version else " (which waits to act)"
    session.out.print(
        f"Account {where.place.name}, configuration {replaced}{waits} -> {row.version}:",
        markup=False,
        soft_wrap=True,
    )
    for each in changes:
        session.out.print(Text(f"  {each.key}: {shown(each.old)} -> {shown(each.new)}"), soft_wrap=True)


def _print_told(session: Session, name: str, given: "list[Told]", *, earlier: int) -> None:
    from rich.text import Text

    from crypto_tracker.core.timeframes import from_ms
    from crypto_tracker.trading.commands import APPLIED, REFUSED

    if not given:
        session.out.print(f"Nobody has told the account {name} anything.", markup=False)
        return
    if earlier:
        session.out.print(f"{earlier} earlier: --limit {earlier + len(given)} shows them.", style="dim")
    styles = {APPLIED: "green", REFUSED: "red"}
    for each in given:
        asked = each.command
        line = Text(f"{from_ms(asked.created_at_ms):%Y-%m-%d %H:%M:%S}  ", style="dim")
        line.append(_words(asked), style="bold").append(f"  by {asked.actor}", style="dim")
        session.out.print(line, soft_wrap=True)
        answer = Text(each.status, style=styles.get(each.status, "yellow"))
        waits = f" for the trader; `withdraw {asked.command_id[:_ID_SHOWN]}` takes it back"
        answer.append(f": {each.sentence}" if each.sentence else waits, style="default")
        _print_below(session, answer)


def _print_audit(session: Session, name: str, entries: "list[AuditEntry]") -> None:
    import json

    from rich.text import Text

    from crypto_tracker.core.timeframes import from_ms

    if not entries:
        session.out.print(f"Nobody has told the account {name} anything.", markup=False)
    for entry in entries:
        line = Text(f"{from_ms(entry.at_ms):%Y-%m-%d %H:%M:%S}  ", style="dim")
        line.append(entry.action, style="bold").append(f"  by {entry.actor}", style="dim")
        session.out.print(line, soft_wrap=True)
        detail = json.dumps(entry.detail, ensure_ascii=False)
        _print_below(session, Text(detail))


def _print_below(session: Session, text: "Text") -> None:
    """A text set in below its heading; broken into lines where a terminal shows it."""
    lines = text.wrap(session.out, session.out.width - 2) if session.out.is_terminal else [text]
    for line in lines:
        line.pad_left(2)
        session.out.print(line, soft_wrap=True)

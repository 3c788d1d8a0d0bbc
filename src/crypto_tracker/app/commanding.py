"""How a face tells a trading account something: it writes the command and waits for the trader's answer."""

import getpass
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep
from typing import Final

from crypto_tracker.app.accounts import AccountPlace
from crypto_tracker.config.keys import dotted
from crypto_tracker.config.load import Loaded, values
from crypto_tracker.config.tree import Configuration
from crypto_tracker.core.errors import ConfigError, CryptoTrackerError, UsageError
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import MINUTE_MS, from_ms
from crypto_tracker.store.control import FILE_NAME, AuditEntry, Command, ControlStore, Withdrawal
from crypto_tracker.store.trading import is_traded
from crypto_tracker.store.trading_records import Account, ConfigurationRow
from crypto_tracker.store.trading_views import TradingViews
from crypto_tracker.strategies.base import Strategy
from crypto_tracker.trading.commands import what_an_account_keeps
from crypto_tracker.trading.setting import (
    configuration_row,
    setting,
    stored_configuration,
    untradable,
)

WAITING: Final = "waiting"
WITHDRAWN: Final = "withdrawn"
_LOOK_SECONDS = 0.1  # between two looks for the answer
_REPLAY_SECONDS = 10.0  # in which a replay comes to its next minute, unless it is a slow one
_SILENT_MS = 5 * MINUTE_MS  # without a minute, after which paper trading is said to have no bars
_NEXT_MINUTE_SECONDS = 100.0  # in which paper trading does: a minute, the grace, and some for the step
_NAMED = 5  # symbols that a refusal lists


class NothingChanges(ConfigError):
    """A configuration is what the account trades under, or will trade under, already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """The account that is told something, as it stands before."""

    place: AccountPlace
    account: Account
    cursor_ms: int  # open time of the next minute
    configuration: ConfigurationRow

    @property
    def ended(self) -> bool:
        """Whether it is a replay that has come to its end."""
        return self.account.end_ms is not None and self.cursor_ms >= self.account.end_ms


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A command and what has become of it: `applied`, `refused`, `withdrawn`, or `waiting` for its minute."""

    command: Command
    status: str
    sentence: str
    time_ms: int | None  # the minute before whose open it was answered


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One value of the configuration that would be another; None where there is none."""

    key: str
    old: object
    new: object


def actor_of_the_command_line() -> str:
    """Who types commands here, for the audit."""
    try:
        return f"cli:{getpass.getuser()}"
    except (KeyError, OSError):  # a user without a name, as in a container
        return f"cli:uid-{os.getuid()}"


def standing(place: AccountPlace) -> Standing:
    """The account of a place as its trader last left it."""
    with TradingViews.open(place.folder) as views:
        return Standing(
            place=place,
            account=views.account(),
            cursor_ms=views.cursor_ms(),
            configuration=views.configuration(),
        )


def traded_symbol(account: Account, text: str) -> Symbol:
    """The traded symbol that a person means: its name in any case, or its coin where only one has it."""
    wanted = text.strip().upper()
    exact = [symbol for symbol in account.symbols if str(symbol).upper() == wanted]
    found = exact or [symbol for symbol in account.symbols if symbol.base.upper() == wanted]
    if len(found) == 1:
        return found[0]
    if found:
        raise UsageError(f"{text} is several symbols: write one of {', '.join(map(str, found))}")
    there = ", ".join(map(str, account.symbols[:_NAMED]))
    more = len(account.symbols) - _NAMED
    raise UsageError(
        f"{text} is not traded by this account: it trades {there}" + (f" and {more} more" if more > 0 else "")
    )


def traded_strategy(account: Account, text: str) -> str | None:
    """The strategy of the account that a person means, in any case; None where it is none."""
    wanted = text.strip().upper()
    return next((name for name in account.strategies if name.upper() == wanted), None)


def tell(
    where: Standing,
    kind: str,
    arguments: Mapping[str, str | int],
    *,
    actor: str,
    now_ms: int,
    not_before_ms: int | None = None,
    offer: tuple[ConfigurationRow, str] | None = None,
    wait_seconds: float = 0.0,
    command_id: str | None = None,
) -> Told:
    """Write a command, and wait so long for the answer of the trader.

    `offer` is a configuration that the command names, and the file that it was read from; it is stored first.
    Where a command of this `command_id` was given before, there is no second: it is that one's answer.
    Raises CryptoTrackerError where no trader will ever answer: a replay has ended, or ends before the
    command could act.
    """
    refuse_where_nobody_answers(where, not_before_ms)
    command = Command.new(
        kind,
        arguments,
        actor=actor,
        created_at_ms=now_ms,
        not_before_ms=not_before_ms,
        command_id=command_id,
    )
    with ControlStore.open(where.place.folder) as control:
        if offer is not None:
            row, source = offer
            control.offer_configuration(row, source=source, actor=actor, created_at_ms=now_ms)
        command = control.add(command)
    return _answer(where, command, wait_seconds, now_ms)


def command_named(place: AccountPlace, text: str) -> Command:
    """The command whose id begins like this; raises UsageError where there is none, or more than one."""
    wanted = text.strip().lower()
    if not wanted:
        raise UsageError("no id is given: write that of a command, or its start, as `commands` shows it")
    found: list[Command] = []
    if (place.folder / FILE_NAME).is_file():
        with ControlStore.open(place.folder) as control:
            found = [each for each in control.commands() if each.command_id.startswith(wanted)]
    if len(found) == 1:
        return found[0]
    if found:
        raise UsageError(f"the ids of {len(found)} commands begin with {text}: write more of it")
    raise UsageError(f"the account {place.name} was given no command {text}: `commands` lists them")


def withdraw(where: Standing, command: Command, *, actor: str, now_ms: int) -> Told:
    """Take a command back, so that the trader never answers it; once more changes nothing.

    Raises CryptoTrackerError where the trader has answered it, which the audit notes too, and StoreError
    where it is just being answered and that takes long.
    """
    folder = where.place.folder

    def answered() -> str | None:
        found = _answered(folder, command)
        if found is None or found.time_ms is None:
            return None
        return (
            f"it is too late to withdraw it: it was {found.status} before the minute "
            f"{from_ms(found.time_ms):%Y-%m-%d %H:%M} UTC ({found.sentence})"
        )

    with ControlStore.open(folder) as control:
        found = control.withdraw(command, actor=actor, at_ms=now_ms, answered=answered)
    if isinstance(found, str):
        raise CryptoTrackerError(found)
    return _told_of_withdrawn(command, found)


def withdrawal_of(place: AccountPlace, command: Command) -> Withdrawal | None:
    """Who took a command back before, and when; None where nobody did."""
    with ControlStore.open(place.folder) as control:
        return control.withdrawals().get(command.command_id)


def how_withdrawn(withdrawal: Withdrawal) -> str:
    """Who took a command back, and when."""
    return f"taken back {by_whom(withdrawal)}"


def by_whom(withdrawal: Withdrawal) -> str:
    """The one who took a command back, and the minute of the clock."""
    return f"by {withdrawal.actor} at {from_ms(withdrawal.at_ms):%Y-%m-%d %H:%M} UTC"


def note_refused(where: Standing, command: Command, sentence: str) -> None:
    """Note in the audit a command that was refused at once, as the account stands."""
    with ControlStore.open(where.place.folder) as control:
        control.note_refused(command, sentence)


def refuse_where_nobody_answers(where: Standing, not_before_ms: int | None) -> None:
    """Raise CryptoTrackerError for a replay that has ended, or that ends before a command could act."""
    end_ms, name = where.account.end_ms, where.place.name
    if end_ms is None:
        return
    if where.ended:
        raise CryptoTrackerError(
            f"the account {name} has ended its replay at {from_ms(end_ms):%Y-%m-%d %H:%M} UTC: "
            "nothing acts on it any more"
        )
    if not_before_ms is not None and not_before_ms >= end_ms:
        raise CryptoTrackerError(
            f"the replay of {name} ends at {from_ms(end_ms):%Y-%m-%d %H:%M} UTC: choose an earlier time"
        )


def default_wait_seconds(where: Standing, not_before_ms: int | None, now_ms: int) -> float:
    """How long an answer is waited for unless somebody says otherwise: not at all where none can come now."""
    due = not_before_ms is None or not_before_ms <= where.cursor_ms
    if not (where.place.running and due):
        return 0.0
    if where.account.end_ms is not None:
        return _REPLAY_SECONDS
    return 0.0 if now_ms - where.cursor_ms >= _SILENT_MS else _NEXT_MINUTE_SECONDS


def told(folder: Path) -> list[Told]:
    """Every command that was given to an account, with its answer, in the order in which they were given."""
    if not (folder / FILE_NAME).is_file():
        return []
    with ControlStore.open(folder) as control:
        commands, withdrawals = control.commands(), control.withdrawals()
    with TradingViews.open(folder) as views:
        answers = {each.result.command_id: each for each in views.answers()}
    found = []
    for command in commands:
        given, withdrawal = answers.get(command.command_id), withdrawals.get(command.command_id)
        if given is None and withdrawal is not None:
            found.append(_told_of_withdrawn(command, withdrawal))
            continue
        found.append(
            Told(
                command=command,
                status=WAITING if given is None else given.result.status,
                sentence="" if given is None else given.result.sentence,
                time_ms=None if given is None else given.time_ms,
            )
        )
    return found


def audited(folder: Path) -> list[AuditEntry]:
    """Everything that people did to an account, in order."""
    if not (folder / FILE_NAME).is_file():
        return []
    with ControlStore.open(folder) as control:
        return control.audit()


def offered(
    where: Standing, configuration: Configuration, strategies: Mapping[str, Strategy]
) -> tuple[ConfigurationRow, list[Change]]:
    """A configuration as it is offered to an account, and what it changes of the one that it will replace.

    That is the one that was offered last and waits, else the one that the account is traded under. Raises
    ConfigError or CryptoTrackerError where the account can not be traded under it, or where nothing that
    matters to trades would change.
    """
    row, replaced = configuration_row(configuration), to_be_replaced(where)
    offer = setting(row, where.account, strategies)
    active = setting(replaced, where.account, strategies)
    kept = what_an_account_keeps(replaced.document, row.document) or untradable(active, offer)
    if kept is not None:
        raise ConfigError(f"the account {where.place.name} can not take this configuration: {kept}")
    if row.version == replaced.version:
        raise NothingChanges(
            f"nothing in it changes what the account {where.place.name} trades, or will trade once what "
            f"waits has acted: that is {row.version} already. Values that are no part of the version, such "
            "as engine.*, are read from your own configuration when `trade` starts"
        )
    before = values(Loaded(stored_configuration(replaced, strategies), {}))
    after = values(Loaded(configuration, {}))
    changes = [
        Change(key=dotted(key), old=before.get(key), new=after.get(key))
        for key in dict.fromkeys([*before, *after])
        if before.get(key) != after.get(key)
    ]
    return row, changes


def to_be_replaced(where: Standing) -> ConfigurationRow:
    """The configuration that the account will trade under when a command of now acts."""
    folder = where.place.folder
    if not (folder / FILE_NAME).is_file():
        return where.configuration
    with ControlStore.open(folder) as control:
        offers = control.standing("configure")  # a person's, and few: what else was told is not read
        with TradingViews.open(folder) as views:
            answered = views.answered_among([each.command_id for each in offers])
        waiting = [each for each in offers if each.command_id not in answered]
        row = control.configuration(str(waiting[-1].arguments["version"])) if waiting else None
    return where.configuration if row is None else row


def _answer(where: Standing, command: Command, wait_seconds: float, now_ms: int) -> Told:
    deadline = monotonic() + wait_seconds
    while True:
        found = _fate(where.place, command)
        if found is not None:
            return found
        if monotonic() >= deadline:
            break
        sleep(_LOOK_SECONDS)
    now = standing(where.place)
    if now.ended:  # the answer may have come since the last look
        found = _fate(where.place, command)
        if found is not None:
            return found
        raise CryptoTrackerError(f"the replay of {where.place.name} ended before the command could act")
    return Told(
        command=command, status=WAITING, sentence=what_it_waits_for(now, command, now_ms), time_ms=None
    )


def _fate(place: AccountPlace, command: Command) -> Told | None:
    """What has become of a command; None while it waits."""
    found = _answered(place.folder, command)
    if found is not None:
        return found
    withdrawal = withdrawal_of(place, command)
    return None if withdrawal is None else _told_of_withdrawn(command, withdrawal)


def _told_of_withdrawn(command: Command, withdrawal: Withdrawal) -> Told:
    return Told(command=command, status=WITHDRAWN, sentence=how_withdrawn(withdrawal), time_ms=None)


def _answered(folder: Path, command: Command) -> Told | None:
    with TradingViews.open(folder) as views:
        given = views.answers_to([command.command_id]).get(command.command_id)
    if given is None:
        return None
    return Told(
        command=command, status=given.result.status, sentence=given.result.sentence, time_ms=given.time_ms
    )


def what_it_waits_for(where: Standing, command: Command, now_ms: int) -> str:
    """Why a command has no answer yet, and when it will be given one."""
    name, at_ms = where.place.name, command.not_before_ms
    later = ""
    if at_ms is not None and at_ms > where.cursor_ms:
        later = f"at the first minute that opens at or after {from_ms(at_ms):%Y-%m-%d %H:%M} UTC"
    elif at_ms is not None:
        later = (
            f"before its next minute, since {from_ms(at_ms):%Y-%m-%d %H:%M} UTC is past: "
            f"the account stands at {from_ms(where.cursor_ms):%Y-%m-%d %H:%M} UTC"
        )
    hindered = why_not_soon(where, now_ms)
    if hindered is None:
        return f"the trader of {name} answers {later or 'before its next minute'}"
    return hindered + (f", {later}" if later else "")


def why_not_soon(where: Standing, now_ms: int) -> str | None:
    """Why a command is not answered within the next minutes, and when it will be; None where it is."""
    name = where.place.name
    if not is_traded(where.place.folder):
        return f"nobody trades {name} now: it acts when the account is traded again"
    if where.account.end_ms is None and now_ms - where.cursor_ms >= _SILENT_MS:
        return (
            f"no bars have come for {name} since {from_ms(where.cursor_ms):%Y-%m-%d %H:%M} UTC: its "
            "trader acts only when they do"
        )
    return None

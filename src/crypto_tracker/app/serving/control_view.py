"""What people told an account, and what came of it, as pages show it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from crypto_tracker.app.commanding import (
    WAITING,
    WITHDRAWN,
    Standing,
    how_withdrawn,
    what_it_waits_for,
)
from crypto_tracker.app.serving.cursors import list_of, read, written
from crypto_tracker.desk.views import controls as views
from crypto_tracker.store.control import WITHDRAW, AuditEntry, Command, ControlViews, Withdrawal
from crypto_tracker.store.trading_views import Answered, TradingViews

_REFUSED = "refused"  # the part of an act's detail that says why nothing came of it


@dataclass(frozen=True, slots=True)
class Fates:
    """What has become of commands: what the trader has answered, and what was withdrawn before."""

    answers: Mapping[str, Answered]
    withdrawals: Mapping[str, Withdrawal]

    @classmethod
    def read(cls, control: ControlViews | None, records: TradingViews, command_ids: Sequence[str]) -> "Fates":
        """Those of these commands."""
        withdrawn = {} if control is None else control.withdrawals(command_ids)
        return cls(records.answers_to(command_ids), withdrawn)

    def of(self, command_id: str) -> dict[str, Any] | None:
        """Status, sentence and minute of a command; None while it waits."""
        given = self.answers.get(command_id)
        if given is not None:
            return {
                "status": given.result.status,
                "sentence": given.result.sentence,
                "time_ms": given.time_ms,
            }
        withdrawal = self.withdrawals.get(command_id)
        if withdrawal is None:
            return None
        return {"status": WITHDRAWN, "sentence": how_withdrawn(withdrawal), "time_ms": None}


NONE_KNOWN = Fates({}, {})


def command_page(
    control: ControlViews | None,
    records: TradingViews,
    where: Standing,
    *,
    limit: int,
    cursor: str | None,
    now_ms: int,
) -> views.CommandPage:
    """One page of commands with their answers, newest first; `control` is None where nobody told anything."""
    mark = list_of("commands", where.place.name)
    before = None if cursor is None else int(read(cursor, (int,), mark)[0])
    found = [] if control is None else control.commands(limit=limit + 1, before=before)
    shown = found[:limit]
    ids = [command.command_id for _, command in shown]
    fates = Fates.read(control, records, ids)
    return views.CommandPage(
        items=[command_item(command, fates, where, now_ms) for _, command in shown],
        next=written((shown[-1][0],), mark) if len(found) > limit else None,
    )


def command_item(command: Command, fates: Fates, where: Standing, now_ms: int) -> views.CommandItem:
    """One command with what has become of it, or what it waits for."""
    return views.CommandItem.model_validate(
        {
            "command_id": command.command_id,
            "kind": command.kind,
            "arguments": dict(command.arguments),
            "actor": command.actor,
            "created_at_ms": command.created_at_ms,
            "not_before_ms": command.not_before_ms,
            **(
                fates.of(command.command_id)
                or {"status": WAITING, "sentence": what_it_waits_for(where, command, now_ms), "time_ms": None}
            ),
        }
    )


def audit_page(
    control: ControlViews | None,
    records: TradingViews,
    where: Standing,
    *,
    limit: int,
    cursor: str | None,
    now_ms: int,
) -> views.AuditPage:
    """One page of what people did and what came of it, newest first."""
    mark = list_of("audit", where.place.name)
    before = None if cursor is None else int(read(cursor, (int,), mark)[0])
    found = [] if control is None else control.audit(limit=limit + 1, before=before)
    shown = found[:limit]
    ids = [
        str(each.detail["command_id"])
        for _, each in shown
        if "command_id" in each.detail and _REFUSED not in each.detail
    ]
    fates = Fates.read(control, records, ids)
    open_ids = [each for each in ids if fates.of(each) is None]
    waiting = [] if control is None else control.commands_named(open_ids)
    given = {each.command_id: each for each in waiting}
    return views.AuditPage(
        items=[
            views.AuditItem(
                number=number,
                at_ms=each.at_ms,
                actor=each.actor,
                action=each.action,
                detail={name: value for name, value in each.detail.items() if name != _REFUSED},
                result=_result(each, fates, given, where, now_ms),
            )
            for number, each in shown
        ],
        next=written((shown[-1][0],), mark) if len(found) > limit else None,
    )


def _result(
    entry: AuditEntry, fates: Fates, waiting: Mapping[str, Command], where: Standing, now_ms: int
) -> views.AuditResult | None:
    """What came of a command; None where an act was none."""
    detail = entry.detail
    if _REFUSED in detail:
        return views.AuditResult(status="refused", sentence=str(detail[_REFUSED]), time_ms=None)
    if "command_id" not in detail or entry.action == WITHDRAW:
        return None
    command_id = str(detail["command_id"])
    known = fates.of(command_id)
    if known is not None:
        return views.AuditResult.model_validate(known)
    command = waiting.get(command_id)
    if command is None:
        return None
    return views.AuditResult(status=WAITING, sentence=what_it_waits_for(where, command, now_ms), time_ms=None)

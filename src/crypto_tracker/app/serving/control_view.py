"""What people told an account, and what came of it, as pages show it."""

from collections.abc import Mapping
from typing import Any

from crypto_tracker.app.commanding import WAITING, Standing, what_it_waits_for
from crypto_tracker.app.serving.cursors import list_of, read, written
from crypto_tracker.desk.views import controls as views
from crypto_tracker.store.control import Command, ControlViews
from crypto_tracker.store.trading_views import Answered, TradingViews

_REFUSED = "refused"  # the part of an act's detail that says why a command was not even stored


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
    answers = records.answers_to([command.command_id for _, command in shown])
    return views.CommandPage(
        items=[command_item(command, answers, where, now_ms) for _, command in shown],
        next=written((shown[-1][0],), mark) if len(found) > limit else None,
    )


def command_item(
    command: Command, answers: Mapping[str, Answered], where: Standing, now_ms: int
) -> views.CommandItem:
    """One command with its answer, or what it waits for."""
    given = answers.get(command.command_id)
    return views.CommandItem.model_validate(
        {
            "command_id": command.command_id,
            "kind": command.kind,
            "arguments": dict(command.arguments),
            "actor": command.actor,
            "created_at_ms": command.created_at_ms,
            "not_before_ms": command.not_before_ms,
            "status": WAITING if given is None else given.result.status,
            "sentence": what_it_waits_for(where, command, now_ms) if given is None else given.result.sentence,
            "time_ms": None if given is None else given.time_ms,
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
    answers = records.answers_to(ids)
    waiting = [] if control is None else control.commands_named([each for each in ids if each not in answers])
    given = {each.command_id: each for each in waiting}
    return views.AuditPage(
        items=[
            views.AuditItem(
                number=number,
                at_ms=each.at_ms,
                actor=each.actor,
                action=each.action,
                detail={name: value for name, value in each.detail.items() if name != _REFUSED},
                result=_result(each.detail, answers, given, where, now_ms),
            )
            for number, each in shown
        ],
        next=written((shown[-1][0],), mark) if len(found) > limit else None,
    )


def _result(
    detail: Mapping[str, Any],
    answers: Mapping[str, Answered],
    waiting: Mapping[str, Command],
    where: Standing,
    now_ms: int,
) -> views.AuditResult | None:
    """What came of a command; None where an act was none."""
    if _REFUSED in detail:
        return views.AuditResult(status="refused", sentence=str(detail[_REFUSED]), time_ms=None)
    if "command_id" not in detail:
        return None
    command_id = str(detail["command_id"])
    given = answers.get(command_id)
    if given is not None:
        return views.AuditResult.model_validate(
            {"status": given.result.status, "sentence": given.result.sentence, "time_ms": given.time_ms}
        )
    command = waiting.get(command_id)
    if command is None:
        return None
    return views.AuditResult(status=WAITING, sentence=what_it_waits_for(where, command, now_ms), time_ms=None)

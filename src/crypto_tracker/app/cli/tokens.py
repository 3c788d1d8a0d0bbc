"""`tokens`: who may use the web server."""

from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crypto_tracker.app.cli.common import JsonOption, Session, command, emit_json, session_of

if TYPE_CHECKING:
    from crypto_tracker.store.access import TokenRow

_FIRST_LINE = "Make, list and revoke the tokens that the web server asks for."


class Scope(StrEnum):
    """What a token may do."""

    READ = "read"
    CONTROL = "control"


def register(app: typer.Typer) -> None:
    """Add the commands of this module, below one word."""
    below = typer.Typer(
        help=f"{_FIRST_LINE}\n\nOnly a digest of each is kept: its text is shown once, when it is made.",
        short_help=_FIRST_LINE,
        no_args_is_help=True,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    examples = ("tokens create anna", "tokens create bot --scope control --json")
    command(below, "create", examples=examples)(create)
    command(below, "list", examples=("tokens list", "tokens list --all"))(list_tokens)
    command(below, "revoke", examples=("tokens revoke anna",))(revoke)
    app.add_typer(below, name="tokens")


def create(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Whose it is: the audit names it.")],
    scope: Annotated[
        Scope,
        typer.Option("--scope", metavar="read|control", help="Look, or look and give commands to accounts."),
    ] = Scope.READ,
    json_output: JsonOption = False,
) -> None:
    """Make a token and show it, this once."""
    from crypto_tracker.core.timeframes import to_ms
    from crypto_tracker.store.access import AccessStore

    session = session_of(context)
    scopes = {Scope.READ.value, scope.value}
    with AccessStore.open(session.make_home()) as store:
        made = store.create(name, scopes, now_ms=to_ms(session.now()))
    if json_output:
        emit_json({"token": made.token} | _document(made.row))
        return
    session.out.print(made.token, markup=False, soft_wrap=True)
    may = "look and give commands" if scope is Scope.CONTROL else "look"
    session.err.print(
        f"{name} may {may} with this token. It is not shown again: keep it as you keep a password.",
        markup=False,
        soft_wrap=True,
    )


def list_tokens(
    context: typer.Context,
    every: Annotated[bool, typer.Option("--all", help="Also those that were revoked.")] = False,
    json_output: JsonOption = False,
) -> None:
    """Show the tokens: whose they are, what they may do, and when they were used. Times are UTC.

    Last used: up to ten minutes late.
    """
    session = session_of(context)
    rows = [row for row in _all(session) if every or row.revoked_at_ms is None]
    if json_output:
        emit_json({"tokens": [_document(row) for row in rows]})
        return
    if not rows:
        session.err.print(
            "There is no token: `tokens create NAME` makes one, with --scope control for commands.",
            markup=False,
            soft_wrap=True,
        )
        return
    _print(session, rows, every=every)


def revoke(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Or its id, as `tokens list` shows it.")],
    json_output: JsonOption = False,
) -> None:
    """Let a token open nothing from now on; live streams that use it end within a minute."""
    from crypto_tracker.core.timeframes import to_ms
    from crypto_tracker.store.access import AccessStore

    session = session_of(context)
    with AccessStore.open(session.make_home()) as store:
        row = store.revoke(name, to_ms(session.now()))
    if json_output:
        emit_json(_document(row))
        return
    session.out.print(f"{row.name} ({row.token_id}) is revoked", markup=False, soft_wrap=True)


def _all(session: Session) -> "list[TokenRow]":
    """Every token; none where there never was one, and no file is made for it."""
    from crypto_tracker.store.access import FILE_NAME, AccessStore

    if not (session.home / FILE_NAME).is_file():
        return []
    with AccessStore.open(session.home) as store:
        return store.tokens()


def _document(row: "TokenRow") -> dict[str, Any]:
    from crypto_tracker.core.timeframes import from_ms

    def time(moment: int | None) -> Any:
        return None if moment is None else from_ms(moment)

    return {
        "token_id": row.token_id,
        "name": row.name,
        "scopes": [scope.value for scope in Scope if scope.value in row.scopes],
        "created_at": time(row.created_at_ms),
        "last_used_at": time(row.last_used_ms),
        "revoked_at": time(row.revoked_at_ms),
    }


def _print(session: Session, rows: "Sequence[TokenRow]", *, every: bool) -> None:
    from crypto_tracker.app.cli.tables import plain_table, print_table
    from crypto_tracker.core.timeframes import from_ms

    def time(moment: int | None) -> str:
        return "-" if moment is None else f"{from_ms(moment):%Y-%m-%d %H:%M}"

    table = plain_table(2)
    for heading in ("id", "name", "may", "made", "last used", *(["revoked"] if every else [])):
        table.add_column(heading, no_wrap=True)
    for row in rows:
        may = ", ".join(scope.value for scope in Scope if scope.value in row.scopes)
        revoked = [time(row.revoked_at_ms)] if every else []
        table.add_row(row.token_id, row.name, may, time(row.created_at_ms), time(row.last_used_ms), *revoked)
    print_table(session.out, table)

"""`new-config` and `show-config`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from crypto_tracker.app.cli.common import (
    CONFIG_NAME,
    JsonOption,
    Session,
    command,
    emit_json,
    session_of,
)
from crypto_tracker.core.errors import UsageError

if TYPE_CHECKING:
    from crypto_tracker.config.keys import Key
    from crypto_tracker.config.origin import Origin


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    command(app, "new-config")(new_config)
    command(app, "show-config")(show_config)


def new_config(
    context: typer.Context,
    path: Annotated[
        Path | None,
        typer.Argument(metavar="[PATH]", help="File to write (else HOME/config.toml)."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite a file that exists.")] = False,
    json_output: JsonOption = False,
) -> None:
    """Write a commented configuration that holds every default.

    Keep what you change and delete the rest: what a file does not say has its default.
    """
    from crypto_tracker.config.tree import defaults

    session = session_of(context)
    target = path or session.make_home() / CONFIG_NAME
    if target.exists() and not force:
        raise UsageError(f"{target} exists: name another file, or overwrite it with --force")
    try:
        target.write_text(defaults().text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{target} cannot be written: {error}") from error
    if json_output:
        emit_json({"path": str(target)})
        return
    session.out.print(
        f"Wrote {target}. Next: edit it, then [bold]crypto-tracker show-config[/bold].", soft_wrap=True
    )


def show_config(
    context: typer.Context,
    json_output: JsonOption = False,
    schema: Annotated[
        bool, typer.Option("--schema", help="Write the JSON schema of configuration files instead.")
    ] = False,
    changed: Annotated[
        bool, typer.Option("--changed", help="Only values that differ from the default.")
    ] = False,
) -> None:
    """Show every value of the configuration, where it comes from, and the configuration version."""
    from crypto_tracker.config.load import values
    from crypto_tracker.config.versions import version

    session = session_of(context)
    if schema:
        from crypto_tracker.config.schema import file_schema
        from crypto_tracker.strategies.registry import builtin

        emit_json(file_schema({name: strategy.parameters_model for name, strategy in builtin().items()}))
        return
    loaded = session.loaded
    rows = [(key, value, loaded.origin(key)) for key, value in values(loaded).items()]
    if changed:
        from crypto_tracker.config.tree import load_configuration

        models = {name: strategy.parameters_model for name, strategy in session.strategies.items()}
        usual = values(load_configuration(models, file=None, environment={}, assignments=()))
        rows = [row for row in rows if row[0] not in usual or usual[row[0]] != row[1]]
    if json_output:
        _emit(rows, version(loaded.tree))
    else:
        _print(session, rows, version(loaded.tree))


def _emit(rows: "list[tuple[Key, object, Origin]]", version: str) -> None:
    from crypto_tracker.config.keys import dotted

    emit_json(
        {
            "version": version,
            "values": {
                dotted(key): {
                    "value": value,
                    "origin": str(origin.kind),
                    "source": origin.name,
                    "line": origin.line,
                }
                for key, value, origin in rows
            },
        }
    )


def _print(session: Session, rows: "list[tuple[Key, object, Origin]]", version: str) -> None:
    """Write TOML whose comments say where each value comes from."""
    from rich.text import Text

    from crypto_tracker.config.keys import dotted
    from crypto_tracker.config.origin import OriginKind

    tables: dict[Key, list[tuple[Key, object, Origin]]] = {}
    for key, value, origin in rows:
        if value == {}:
            tables.setdefault(key, [])
        else:
            tables.setdefault(key[:-1], []).append((key, value, origin))
    for table, inside in tables.items():
        session.out.print(Text(f"\n[{dotted(table)}]", style="bold"))
        for key, value, origin in inside:
            is_default = origin.kind in (OriginKind.DEFAULTS, OriginKind.PLUGIN)
            setting = f"{dotted(key[-1:])} = {json.dumps(value, ensure_ascii=False)}"
            place = "default" if origin.kind is OriginKind.DEFAULTS else str(origin)
            line = Text(f"{setting:<40}", style="" if is_default else "bold cyan")
            session.out.print(line.append(f"  # {place}", style="dim"), soft_wrap=True)
    session.out.print(Text(f"\n# configuration version {version}", style="bold"))

"""The command `crypto-tracker`: global options, and the modules that bring the commands."""

import importlib
from pathlib import Path
from typing import Annotated

import typer

from crypto_tracker import __version__
from crypto_tracker.app.cli.common import Session, failures_as_exit_codes, home_from, process_environment

# One line for each module of commands; `crypto-tracker --help` lists commands in this order. To add a module, write
# `app/cli/NAME.py` with `register(app: typer.Typer) -> None`, keep its heavy imports inside its commands, add a line.
COMMAND_MODULES = ("crypto_tracker.app.cli.config_commands",)

EPILOG = "Exit codes: 0 done, 1 the work failed, 2 wrong usage or configuration, 3 a check found something."

HELP = """Rule-based crypto trading on paper: setups explained scan by scan, one exact simulator, results after costs.

Start with [bold]crypto-tracker demo[/bold]: it needs no keys and no network. Then [bold]import-data[/bold] your bars and
[bold]backtest[/bold] them. `crypto-tracker COMMAND --help` explains each command.
"""


def build() -> typer.Typer:
    """The whole command line."""
    app = typer.Typer(
        name="crypto-tracker",
        help=HELP,
        epilog=EPILOG,
        no_args_is_help=True,
        rich_markup_mode="rich",
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_options)
    for module in COMMAND_MODULES:
        importlib.import_module(module).register(app)
    return app


def main() -> None:
    """Run the command line; ends the process with the exit code."""
    with failures_as_exit_codes():
        build()(prog_name="crypto-tracker")


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"crypto-tracker {__version__}")
        raise typer.Exit


def _options(
    context: typer.Context,
    home: Annotated[
        Path | None,
        typer.Option(
            "--home",
            metavar="DIR",
            help="Folder of everything that is written. [dim]CRYPTO_TRACKER_HOME, else ./user_data[/dim]",
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config", "-c", metavar="FILE", help="Configuration file. [dim]default: HOME/config.toml[/dim]"
        ),
    ] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Set one value, such as limits.max_open=50; may be repeated."
        ),
    ] = None,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and end."),
    ] = False,
) -> None:
    environment = process_environment()
    context.obj = Session(
        home=home_from(home, environment),
        config_path=config,
        assignments=tuple(assignments or ()),
        environment=environment,
    )

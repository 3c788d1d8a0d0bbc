"""The command `crypto-tracker`: global options, and the modules that bring the commands."""

import importlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from crypto_tracker import __version__
from crypto_tracker.app.cli.common import Session, failures_as_exit_codes, home_from, process_environment

# One line for each module of commands; --help lists the commands in this order. To add a module, write
# app/cli/NAME.py with `register(app: typer.Typer) -> None`, keep its heavy imports inside its commands,
# and add a line here.
COMMAND_MODULES = (
    "crypto_tracker.app.cli.demo",
    "crypto_tracker.app.cli.config_commands",
    "crypto_tracker.app.cli.download_data",
    "crypto_tracker.app.cli.heal_gaps",
    "crypto_tracker.app.cli.up",
    "crypto_tracker.app.cli.collect",
    "crypto_tracker.app.cli.import_data",
    "crypto_tracker.app.cli.select_pairs",
    "crypto_tracker.app.cli.import_books",
    "crypto_tracker.app.cli.list_data",
    "crypto_tracker.app.cli.validate_data",
    "crypto_tracker.app.cli.list_markets",
    "crypto_tracker.app.cli.quarantine",
    "crypto_tracker.app.cli.export_data",
    "crypto_tracker.app.cli.backtest",
    "crypto_tracker.app.cli.optimize",
    "crypto_tracker.app.cli.trade",
    "crypto_tracker.app.cli.watch",
    "crypto_tracker.app.cli.records",
    "crypto_tracker.app.cli.parity",
    "crypto_tracker.app.cli.explain",
    "crypto_tracker.app.cli.commands",
    "crypto_tracker.app.cli.analysis",
    "crypto_tracker.app.cli.null_test",
    "crypto_tracker.app.cli.crash_report",
    "crypto_tracker.app.cli.compare",
    "crypto_tracker.app.cli.scorecard",
    "crypto_tracker.app.cli.list_strategies",
    "crypto_tracker.app.cli.new_strategy",
    "crypto_tracker.app.cli.web",
    "crypto_tracker.app.cli.tokens",
    "crypto_tracker.app.cli.openapi",
)

EPILOG = (
    "Exit codes: 0 done, 1 the work failed, 2 wrong usage or configuration, 3 a check found something, "
    "130 interrupted."
)

HELP = (
    "Rule-based crypto trading on paper: setups explained scan by scan, one exact simulator, "
    "results after costs.\n\n"
    "Start with `demo`: it needs no keys and no network. Then `import-data` your bars, `backtest` them, "
    "`trade` them on paper minute by minute, and ask `explain` why a coin was bought or not. "
    "The options below may stand before or after the command."
)

# Global options that take a value; `main` accepts them behind the command as well.
_GLOBAL_OPTIONS = ("--home", "--config", "-c", "--set")


def build() -> typer.Typer:
    """The whole command line."""
    app = typer.Typer(
        name="crypto-tracker",
        help=HELP,
        epilog=EPILOG,
        no_args_is_help=True,
        rich_markup_mode=None,  # help in Rich takes 0.3 s longer: it loads readers of Markdown and of code
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_options)
    for module in COMMAND_MODULES:
        importlib.import_module(module).register(app)
    return app


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; ends the process with the exit code."""
    with failures_as_exit_codes():
        build()(
            global_options_first(sys.argv[1:] if arguments is None else arguments), prog_name="crypto-tracker"
        )


def global_options_first(arguments: Sequence[str]) -> list[str]:
    """The arguments with --home, --config and --set, wherever they stand, in front of the command.

    >>> global_options_first(["backtest", "--home", "data", "--json"])
    ['--home', 'data', 'backtest', '--json']
    """
    first: list[str] = []
    rest: list[str] = []
    waiting = list(arguments)
    while waiting:
        argument = waiting.pop(0)
        if argument == "--":
            rest += [argument, *waiting]
            break
        if argument in _GLOBAL_OPTIONS and waiting:
            first += [argument, waiting.pop(0)]
        elif argument.startswith(
            tuple(f"{option}=" for option in _GLOBAL_OPTIONS if option.startswith("--"))
        ):
            first.append(argument)
        else:
            rest.append(argument)
    return first + rest


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
            help="Folder of everything that is written (else CRYPTO_TRACKER_HOME, else ./user_data).",
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option("--config", "-c", metavar="FILE", help="Configuration file (else HOME/config.toml)."),
    ] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Set one value, such as limits.max_open=50; may be repeated."
        ),
    ] = None,
    _version: Annotated[
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

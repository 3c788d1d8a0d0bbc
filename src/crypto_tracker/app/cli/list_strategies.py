"""`list-strategies`."""

from typing import TYPE_CHECKING, Any

import typer

from crypto_tracker.app.cli.common import JsonOption, command, emit_json, session_of

if TYPE_CHECKING:
    from crypto_tracker.config.tree import Configuration
    from crypto_tracker.strategies.base import Strategy


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    command(app, "list-strategies")(list_strategies)


def list_strategies(context: typer.Context, json_output: JsonOption = False) -> None:
    """Show every strategy: built in, installed, or lying in HOME/strategies.

    One that is not in trading.strategies scans only when a command names it; one without a share of the
    capital opens nothing.
    """
    from crypto_tracker.strategies.registry import builtin

    session = session_of(context)
    known = set(builtin())
    rows = [
        _row(strategy, session.configuration, name in known) for name, strategy in session.strategies.items()
    ]
    if json_output:
        emit_json(rows)
        return
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("strategy", "timeframe", "warm-up", "scans", "share"):
        table.add_column(title, no_wrap=True)
    table.add_column("from", overflow="fold")
    for row in rows:
        table.add_row(
            row["name"],
            row["timeframe"],
            "\n".join(f"{bars} x {timeframe}" for timeframe, bars in row["warmup"].items()),
            {"on": "yes", "off": "yes, opens nothing", "idle": "only when named"}[row["state"]],
            "none" if row["share"] is None else f"{100.0 * row['share']:g} %",
            row["origin"],
        )
    session.out.print(table)


def _row(strategy: "Strategy", configuration: "Configuration", built_in: bool) -> dict[str, Any]:
    trading = configuration.trading
    state = "idle"
    if strategy.name in trading.strategies:
        state = "off" if strategy.name in trading.switched_off else "on"
    cls = type(strategy)
    return {
        "name": strategy.name,
        "timeframe": str(strategy.timeframe),
        "warmup": {str(timeframe): bars for timeframe, bars in strategy.warmup.items()},
        "state": state,
        "share": configuration.limits.shares.get(strategy.name),
        "origin": "built in" if built_in else f"{cls.__module__}:{cls.__qualname__}",
        "description": (cls.__doc__ or "").strip().partition("\n")[0],
    }

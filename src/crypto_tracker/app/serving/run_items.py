"""Recorded runs as items of lists."""

import json
from decimal import Decimal

from crypto_tracker.desk.views.accounts import AccountItem
from crypto_tracker.desk.views.research import RunItem
from crypto_tracker.store.run_views import RunSummary

PREFIX = "run:"
"""What the id of a run begins with where an account's could stand."""


def run_id_of(account: str) -> int | None:
    """The number of a run, None for what names no run.

    >>> run_id_of("run:17"), run_id_of("paper"), run_id_of("run:x")
    (17, None, None)
    """
    number = account.removeprefix(PREFIX)
    plain = account.startswith(PREFIX) and number.isascii() and number.isdecimal() and len(number) < 16
    return int(number) if plain else None


def run_item(summary: RunSummary) -> RunItem:
    """A run in the list of runs."""
    run = summary.run
    return RunItem.model_validate(
        {
            "account": f"{PREFIX}{summary.run_id}",
            "run_id": summary.run_id,
            "kind": run.kind,
            "synthetic": run.synthetic,
            "base": run.base,
            "start_ms": run.start_ms,
            "end_ms": run.end_ms,
            "recorded_at_ms": summary.recorded_at_ms,
            "symbols": len(run.symbols),
            "strategies": list(run.strategies),
            "configuration_version": run.configuration_version,
            "trades": summary.trades,
            "wins": summary.wins,
            "pnl_quote": float(summary.pnl_quote),
            "return_net": _return_net(summary),
        }
    )


def account_item_of_run(summary: RunSummary) -> AccountItem:
    """A run among the accounts: what a person may look at through the same pages."""
    run = summary.run
    return AccountItem.model_validate(
        {
            "account": f"{PREFIX}{summary.run_id}",
            "name": f"{run.kind} {summary.run_id}",
            "kind": run.kind,
            "running": False,
            "synthetic": run.synthetic,
            "start_ms": run.start_ms,
            "end_ms": run.end_ms,
            "until_ms": run.end_ms,
            "quote": run.symbols[0].quote if run.symbols else "",
            "symbols": [str(symbol) for symbol in run.symbols],
            "strategies": list(run.strategies),
            "configuration_version": run.configuration_version,
            "capital_quote": _capital(summary),
            "equity_quote": float(_equity(summary)),
            "return_net": _return_net(summary),
            "trades": summary.trades,
            "open_positions": summary.open_trades,
            "recorded_at_ms": summary.recorded_at_ms,
        }
    )


def _capital(summary: RunSummary) -> float:
    return float(json.loads(summary.run.configuration)["trading"]["capital_quote"])


def _equity(summary: RunSummary) -> Decimal:
    """What it was worth at the end: the capital and what its trades made, where the equity was not kept."""
    if summary.equity_quote is not None:
        return summary.equity_quote
    return Decimal(str(_capital(summary))) + summary.pnl_quote + summary.left_quote


def _return_net(summary: RunSummary) -> float:
    return float(_equity(summary)) / _capital(summary) - 1.0

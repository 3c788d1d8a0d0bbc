"""What `optimize` says: windows side by side, what was chosen, the evidence, and the verdict."""

from math import sqrt
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.table import Table
from rich.text import Text

from crypto_tracker.app.cli.common import Session
from crypto_tracker.config.keys import dotted
from crypto_tracker.core.arrays import FloatArray
from crypto_tracker.core.timeframes import from_ms
from crypto_tracker.research.optimize.evidence import most_frequent
from crypto_tracker.simulation.metrics import YEAR_DAYS, max_drawdown

if TYPE_CHECKING:
    from crypto_tracker.app.optimizing import Found
    from crypto_tracker.research.optimize.evidence import Check, Evidence
    from crypto_tracker.research.optimize.objective import Measured
    from crypto_tracker.research.optimize.run import Optimized
    from crypto_tracker.research.optimize.space import ParameterSet

_SYMBOLS_NAMED = 6
_YEAR = sqrt(YEAR_DAYS)
_CHECKS = {
    "trades": ("Trades out of sample", "at least {:,.0f}"),
    "deflated_sharpe": ("Deflated Sharpe ratio out of sample", "at least {:g}"),
    "overfitting": ("Probability of backtest overfitting", "at most {:g}"),
    "lead": ("Lead over the current, lower end, a day", "above {:g} %"),
    "change": ("Latest window chose another configuration", ""),
}
_OF_A_CHANGE = {"lead", "change"}  # of which there is nothing to say where the search changes nothing


def show(session: Session, found: "Found", file: Path | None, *, refused_file: Path | None) -> None:
    """Print a search for people."""
    out, result = session.out, found.result
    out.print(
        f"[bold]Optimize[/bold]  {from_ms(found.data.start_ms):%Y-%m-%d %H:%M} to "
        f"{from_ms(found.data.end_ms):%Y-%m-%d %H:%M} UTC, {found.data.base} bars"
    )
    out.print(Text(f"{_named(found)}\n{_asked(result)}", style="dim"))
    for note in found.notes:
        out.print(Text(f"! {note}", style="yellow"))
    for sentence in dict.fromkeys(result.candidates.refused.values()):
        out.print(Text(f"! not tried: {sentence}", style="yellow"))
    for number, each in enumerate(result.windows, start=1):
        if not each.eligible:
            why = f"no set had {result.request.trades_min:,} trades in sample, so it kept the current one"
            out.print(Text(f"! window {number}: {why}", style="yellow"))
    out.print()
    out.print(_windows(result))
    out.print()
    out.print(_parameters(found))
    out.print()
    out.print(_curves(result))
    out.print()
    out.print(_checks(result.evidence))
    if result.evidence.kept:
        words = "Nothing else was chosen: trades and Sharpe ratio are those of the current configuration."
        out.print(Text(words, style="dim"))
    out.print(Text(_memory(result.evidence), style="dim"))
    out.print()
    passed = result.evidence.recommended
    out.print(Text(result.evidence.sentence, style="bold green" if passed else "bold"))
    if passed:
        for assignment in result.proposal.assignments:
            out.print(Text(f"  {assignment}"))
        if file is not None:
            out.print(Text(f"Written to {file}: crypto-tracker --config {file} backtest", style="dim"))
    elif refused_file is not None:
        out.print(Text(f"{refused_file} was not written.", style="dim"))


def document(found: "Found", file: Path | None) -> dict[str, Any]:
    """The same as one JSON document; fractions, and Sharpe ratios per day where the name says daily."""
    result, evidence = found.result, found.result.evidence
    overfitting = evidence.overfitting
    return {
        "start": from_ms(found.data.start_ms),
        "end": from_ms(found.data.end_ms),
        "base": found.data.base,
        "symbols": [str(symbol) for symbol in found.data.provider_of],
        "providers": {str(symbol): name for symbol, name in found.choice.provider_of.items()},
        "synthetic": found.data.synthetic,
        "notes": list(found.notes),
        "space": {dotted(each.key): _space(each) for each in result.request.space},
        "method": result.request.method,
        "seed": result.request.seed,
        "objective": result.request.objective,
        "trades_min": result.request.trades_min,
        "tried": result.tried,
        "not_tried": [
            {"values": list(values), "why": why} for values, why in result.candidates.refused.items()
        ],
        "current_version": result.candidates.current.version,
        "windows": [
            {
                "in_sample": _span(each.window.in_sample),
                "out_of_sample": _span(each.window.out_of_sample),
                "chosen": _set(each.chosen),
                "eligible": each.eligible,
                "chosen_in_sample": _measured(each.in_sample),
                "chosen_out_of_sample": _measured(each.out_of_sample),
                "current_in_sample": _measured(each.current_in_sample),
                "current_out_of_sample": _measured(each.current_out_of_sample),
            }
            for each in result.windows
        ],
        "latest": {
            "in_sample": _span(result.walk.latest),
            "chosen": _set(result.proposal),
            "chosen_in_sample": _measured(result.proposal_in_sample),
        },
        "parameters": {
            key: {"current": found.current[key], "chosen": values, "most_frequent": most_frequent(values)[0]}
            for key, values in _values(found).items()
        },
        "out_of_sample": {
            "days": len(evidence.chosen),
            "trades": evidence.trades,
            "chosen_returns": evidence.chosen,
            "current_returns": evidence.current,
            "chosen": _curve(evidence.chosen),
            "current": _curve(evidence.current),
            "lead_daily": evidence.lead if evidence.moved else None,
            "lead_daily_low": evidence.lead_low if evidence.moved else None,
            "lead_daily_high": evidence.lead_high if evidence.moved else None,
            "confidence": found.confidence,
        },
        "probabilistic_sharpe": evidence.probabilistic,
        "deflated_sharpe": evidence.deflated,
        "sharpe_by_chance_daily": evidence.chance,
        "trials_remembered": evidence.history.trials,
        "trials_comparable": evidence.history.comparable,
        "trials_sharpe_variance_daily": evidence.variance,
        "overfitting": None
        if overfitting is None
        else {
            "probability": overfitting.probability,
            "loss_share": overfitting.loss_share,
            "slope": overfitting.slope,
            "blocks": overfitting.blocks,
            "configurations": overfitting.configurations,
            "logit_median": float(np.median(overfitting.logits)),
        },
        "checks": [
            {
                "name": check.name,
                "measured": check.measured,
                "required": check.required,
                "passed": check.passed,
            }
            for check in evidence.checks
        ],
        "kept_current": evidence.kept,
        "recommended": evidence.recommended,
        "verdict": evidence.sentence,
        "recommendation": list(result.proposal.assignments) if evidence.recommended else None,
        "written": None if file is None else str(file),
    }


def _named(found: "Found") -> str:
    symbols = [str(symbol) for symbol in found.data.provider_of]
    more = len(symbols) - _SYMBOLS_NAMED
    return ", ".join(symbols[:_SYMBOLS_NAMED]) + (f" and {more} more" if more > 0 else "")


def _asked(result: "Optimized") -> str:
    request = result.request
    return (
        f"configuration {result.candidates.current.version} and {result.tried - 1:,} others "
        f"({request.method}, seed {request.seed})\n"
        f"chosen by {request.objective}, with at least {request.trades_min:,} trades in sample"
    )


def _windows(result: "Optimized") -> Table:
    objective = result.request.objective
    table = _table("Windows, beside the current configuration")
    table.add_column("", justify="right", no_wrap=True)
    table.add_column("Out of\nsample from", no_wrap=True)
    for name in (
        "Days\nin/out",
        f"{objective}\nin",
        f"{objective}\nout",
        "Current\nout",
        "Return\nin",
        "Return\nout",
        "Current\nout",
        "Trades\nin/out",
    ):
        table.add_column(name, justify="right", no_wrap=True)
    for number, each in enumerate(result.windows, start=1):
        table.add_row(
            str(number),
            f"{from_ms(each.window.out_of_sample[0]):%Y-%m-%d}",
            f"{each.window.in_sample_days}/{each.window.out_of_sample_days}",
            _figure(each.in_sample.figures[objective]),
            _figure(each.out_of_sample.figures[objective]),
            _figure(each.current_out_of_sample.figures[objective]),
            _percent(each.in_sample.figures["return"]),
            _percent(each.out_of_sample.figures["return"]),
            _percent(each.current_out_of_sample.figures["return"]),
            f"{each.in_sample.trades}/{each.out_of_sample.trades}",
        )
    return table


def _parameters(found: "Found") -> Table:
    result = found.result
    table = _table("What was chosen")
    table.add_column("Parameter", overflow="fold")
    for number in range(1, len(result.windows) + 1):
        table.add_column(str(number), justify="right", overflow="fold")
    for name in ("Latest", "Current", "Most often"):
        table.add_column(name, justify="right", overflow="fold")
    for key, values in _values(found).items():
        value, count = most_frequent(values)
        table.add_row(key, *values, found.current[key], f"{value} ({count}/{len(values)})")
    return table


def _values(found: "Found") -> dict[str, list[str]]:
    """For each key what every window chose, the latest span last."""
    result = found.result
    sets = [*(each.chosen for each in result.windows), result.proposal]
    given = [dict(assignment.split("=", 1) for assignment in each.assignments) for each in sets]
    return {key: [values.get(key, now) for values in given] for key, now in found.current.items()}


def _curves(result: "Optimized") -> Table:
    evidence = result.evidence
    days = len(evidence.chosen)
    table = _table(f"Out of sample, {days} days one after the other")
    table.add_column("")
    for name in ("Return", "Sharpe", "Maximum\ndrawdown", "Trades"):
        table.add_column(name, justify="right", no_wrap=True)
    trades = sum(each.current_out_of_sample.trades for each in result.windows)
    for name, returns, count in (
        ("What was chosen", evidence.chosen, evidence.trades),
        ("The current configuration", evidence.current, trades),
    ):
        curve = _curve(returns)
        table.add_row(
            name,
            _percent(curve["return"]),
            _figure(curve["sharpe"]),
            "-" if curve["max_drawdown"] is None else f"{100.0 * curve['max_drawdown']:.2f} %",
            f"{count:,}",
        )
    return table


def _checks(evidence: "Evidence") -> Table:
    table = _table("Evidence")
    table.add_column("")
    table.add_column("Found", justify="right", no_wrap=True)
    table.add_column("Needed", justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for check in evidence.checks:
        if evidence.kept and check.name in _OF_A_CHANGE:
            continue
        name, needed = _CHECKS[check.name]
        table.add_row(
            name,
            _found(check),
            needed.format(check.required),
            Text("yes", style="green") if check.passed else Text("no", style="red"),
        )
    return table


def _found(check: "Check") -> str:
    if check.measured is None:
        return "-"
    if check.name == "lead":
        return f"{100.0 * check.measured:+.4f} %"
    if check.name == "trades":
        return f"{check.measured:,.0f}"
    return "" if check.name == "change" else f"{check.measured:.3f}"


def _memory(evidence: "Evidence") -> str:
    return (
        f"The best of {evidence.history.trials:,} configurations tried on overlapping spans with a common "
        f"symbol reaches a Sharpe of {evidence.chance * _YEAR:.2f} by chance alone."
    )


def _curve(returns: FloatArray) -> dict[str, float | None]:
    """Figures of daily returns one after the other."""
    equity: FloatArray = np.cumprod(1.0 + returns, dtype=np.float64)
    deviation = float(np.std(returns, ddof=1)) if len(returns) > 1 else 0.0
    return {
        "return": float(equity[-1]) - 1.0,
        "sharpe": float(np.mean(returns)) / deviation * _YEAR if deviation > 0.0 else None,
        "max_drawdown": max_drawdown(equity, 1.0),
    }


def _space(dimension: Any) -> Any:
    if hasattr(dimension, "low"):
        return {"low": dimension.low, "high": dimension.high, "step": dimension.step}
    return list(dimension.values)


def _span(span: tuple[int, int]) -> dict[str, Any]:
    return {"start": from_ms(span[0]), "end": from_ms(span[1])}


def _set(each: "ParameterSet") -> dict[str, Any]:
    return {"configuration_version": each.version, "assignments": list(each.assignments)}


def _measured(measured: "Measured") -> dict[str, Any]:
    return {**measured.figures, "max_drawdown": measured.max_drawdown, "trades": measured.trades}


def _table(title: str) -> Table:
    return Table(
        box=None,
        pad_edge=False,
        padding=(0, 1, 0, 0),
        title=title,
        title_justify="left",
        title_style="bold",
        header_style="dim",
    )


def _percent(value: float | None) -> Text:
    if value is None:
        return Text("-")
    return Text(f"{100.0 * value:+.2f} %", style="green" if value > 0 else "red" if value < 0 else "")


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"

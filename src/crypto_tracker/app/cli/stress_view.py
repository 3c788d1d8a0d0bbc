"""What `backtest --stress` prints and writes: the same run under worse assumptions, one line each."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

WIDTH_MAX = 100  # of sentences

if TYPE_CHECKING:
    from rich.console import Console

    from crypto_tracker.config.tree import Configuration
    from crypto_tracker.research.backtest import Backtest
    from crypto_tracker.research.stress import Progress, Stress


def stressed(configuration: "Configuration", run: "Backtest", *, seed: int, progress: "Progress") -> "Stress":
    """Repeat a finished run under worse assumptions; `seed` chooses the bars that are missing."""
    from crypto_tracker.research.stress import StressRules, stress_test

    return stress_test(
        run.market,
        run.entries,
        configuration,
        run.scenario,
        StressRules(seed=seed),
        progress=lambda name, share: progress(f"stress: {name}", share),
    )


def show_stress(out: "Console", stress: "Stress") -> None:
    """Print the runs below each other, and what they amount to."""
    from rich.table import Table
    from rich.text import Text

    base = stress.base
    gap = 2 if out.width >= 96 else 1
    table = Table(
        box=None,
        pad_edge=False,
        padding=(0, gap, 0, 0),
        title="The same run under worse assumptions",
        title_justify="left",
        title_style="bold",
        header_style="dim",
    )
    table.add_column("", no_wrap=True)
    for name in ("Return\nmarked", "closed", "Change", "Survives", "Trades", "Win\nrate", "Profit\nfactor"):
        table.add_column(name, justify="right", no_wrap=True, vertical="bottom")
    table.add_column("Drawdown", justify="right", no_wrap=True, vertical="bottom")
    for run in stress.runs:
        changed = run.return_net - base.return_net
        table.add_row(
            run.name,
            Text(f"{100.0 * run.return_net:+.2f} %", style=_colour(run.return_net)),
            f"{100.0 * run.return_closed:+.2f} %",
            "" if run is base else Text(f"{100.0 * changed:+.2f}", style=_colour(changed)),
            "" if run is base else "-" if run.survives is None else f"{100.0 * run.survives:.0f} %",
            f"{run.trades:,}",
            "-" if run.win_rate is None else f"{100.0 * run.win_rate:.1f} %",
            "-" if run.profit_factor is None else f"{run.profit_factor:.2f}",
            f"{100.0 * run.max_drawdown:.2f} %",
        )
    out.print(table)
    out.print(Text(summary(stress), style="dim"), width=min(out.width, WIDTH_MAX))
    out.print()


def summary(stress: "Stress") -> str:
    """What the runs amount to, in one sentence, and what stands behind their names in another."""
    base, worst, rules = stress.base, stress.worst, stress.rules
    if base.survives is None:
        said = "The run as configured gains nothing, so there is nothing that could survive."
    elif worst is base:
        said = "No other assumption gave less than the run as configured."
    else:
        share = worst.survives
        kept = "nothing" if share is None or share <= 0.0 else f"{100.0 * share:.0f} %"
        left = f"{kept} of the gain is left"
        said = f"In the worst of them ({worst.name}) {left}."
    return (
        f"{said} Change is in points of the capital. Costs x {rules.costs_factor:g} finds setups again; all "
        f"others keep them. Missing bars, in runs of {rules.missing_run:g} on average (seed {rules.seed}), "
        "are missing for the simulator only."
    )


def stress_document(stress: "Stress") -> dict[str, Any]:
    """The same for programs."""
    return {"rules": asdict(stress.rules), "runs": [asdict(run) for run in stress.runs]}


def _colour(value: float) -> str:
    return "green" if value > 0 else "red" if value < 0 else ""

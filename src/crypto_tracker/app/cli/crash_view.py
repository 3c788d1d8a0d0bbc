"""What `crash-report` prints: the crashes, and what each protection did in them."""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from crypto_tracker.app.cli.common import Session
from crypto_tracker.core.timeframes import from_ms

if TYPE_CHECKING:
    from crypto_tracker.app.cli.crash_report import Told
    from crypto_tracker.research.crashes import CrashRun

WIDTH_MAX = 100  # of sentences
WIDTH_WHOLE = 88  # where every column of the crashes has its place
_NOTES_SHOWN = 3  # of each source, the most frequent
_SHORT = {"FLASH_CRASH": "flash", "SHARP_CORRECTION": "sharp", "MODERATE_CORRECTION": "mild"}


def show(
    session: Session,
    told: "Sequence[Told]",
    notes: Sequence[str],
    *,
    depth: float,
    days: float,
    details: bool,
) -> None:
    """Print the crashes of each source, and what each protection did over all of them."""
    out = session.out
    width = min(out.width, WIDTH_MAX)
    for note in notes:
        out.print(Text(f"! {note}", style="yellow"), width=width)
    for source in dict.fromkeys(each.source for each in told):
        own = [each for each in told if each.source == source]
        said = (
            f"falls of {100.0 * depth:g} % or more within 24 h, traded from {days:g} days before the peak to "
            f"{days:g} days after the trough"
            if source == "stored"
            else "SYNTHETIC bars: they say nothing about any real market"
        )
        out.print(
            f"[bold]{len(own)} {source} {'crash' if len(own) == 1 else 'crashes'}[/bold]  {said}", width=width
        )
        counts = Counter(note for each in own for note in each.notes)
        for note, count in counts.most_common(_NOTES_SHOWN):
            where = "" if count == len(own) else f" ({count} of {len(own)})"
            out.print(Text(f"! {note}{where}", style="yellow"), width=width)
        if len(counts) > _NOTES_SHOWN:
            more = f"! and {len(counts) - _NOTES_SHOWN} notes on single crashes: --json has all"
            out.print(Text(more, style="yellow"), width=width)
        out.print(crashes(own, whole=out.width >= WIDTH_WHOLE))
        out.print()
        if details:
            for each in own:
                out.print(runs(each))
                out.print()
        out.print(protections([each.run for each in own]))
        out.print()
    if told:
        out.print(
            Text(
                "Gain: marked return with the protection less that without it, in points of the capital; "
                "below 0 it made the result worse. Drawdown: the worst of any crash, with the protection and "
                "without. Refused: entries that it refused first; another rule may have done so after it."
                + ("" if out.width >= WIDTH_WHOLE else f" From {WIDTH_WHOLE} columns on: the fall in 4 h."),
                style="dim",
            ),
            width=width,
        )


def crashes(told: "Sequence[Told]", *, whole: bool) -> Table:
    """One line for each crash, traded with all protections; unless `whole`, without the fastest fall."""
    table = _table("")
    table.add_column("Peak (UTC)", no_wrap=True, vertical="bottom")
    table.add_column("Class", no_wrap=True, vertical="bottom")
    fastest = ["in 4 h\n%"] if whole else []
    results = ["Return\n%", "Trades", "Stops", "Drawdown\n%", "Refused"]
    for name in ("Fall\n%", "in\nh", *fastest, "Back\n%", "Coins", *results):
        table.add_column(name, justify="right", no_wrap=True, vertical="bottom")
    for each in told:
        crash, run = each.run.crash, each.run.protected
        table.add_row(
            f"{from_ms(crash.peak_ms):%Y-%m-%d %H:%M}",
            _SHORT[str(crash.kind)],
            f"{100.0 * crash.depth:.1f}",
            f"{crash.hours:.1f}",
            *([f"{100.0 * crash.fastest:.1f}"] if whole else []),
            "-" if crash.regained is None else f"{100.0 * crash.regained:.0f}",
            f"{len(each.symbols)}",
            _signed(run.return_net),
            f"{run.trades}",
            f"{run.stops}",
            f"{100.0 * run.max_drawdown:.2f}",
            f"{run.refused}",
        )
    return table


def runs(told: "Told") -> Table:
    """Every run of one crash."""
    crash = told.run.crash
    table = _table(
        f"{from_ms(crash.trough_ms):%Y-%m-%d %H:%M}  {crash.kind}  {100.0 * crash.depth:.1f} % in "
        f"{crash.hours:.1f} h, {told.where}, {len(told.symbols)} coins"
    )
    table.add_column("Without", no_wrap=True)
    for name in ("Return %", "Gain", "Trades", "Open", "Stops", "Trailing", "Drawdown %", "Refused"):
        table.add_column(name, justify="right", no_wrap=True)
    for run in told.run.runs:
        first = run is told.run.protected
        table.add_row(
            "- (all on)" if first else run.without,
            _signed(run.return_net),
            "" if first else _points(told.run.gain_of(run), acted=run.acted),
            f"{run.trades}",
            f"{run.left_open}",
            f"{run.stops}",
            f"{run.trailing_stops}",
            f"{100.0 * run.max_drawdown:.2f}",
            "-" if run.refused is None else f"{run.refused}",
        )
    return table


def protections(found: "Sequence[CrashRun]") -> Table:
    """What each protection did over all crashes."""
    from crypto_tracker.research.crashes import verdicts

    table = _table("Each protection switched off in turn")
    table.add_column("Protection", no_wrap=True, vertical="bottom")
    for name in ("Acted", "Helped", "Hurt", "Refused", "Gain\nin all", "in the\nbest", "in the\nworst"):
        table.add_column(name, justify="right", no_wrap=True, vertical="bottom")
    for name in ("Drawdown\nwith, %", "without"):
        table.add_column(name, justify="right", no_wrap=True, vertical="bottom")
    for verdict in verdicts(found):
        acted = verdict.acted > 0
        table.add_row(
            verdict.name,
            f"{verdict.acted}/{verdict.crashes}",
            f"{verdict.helped}",
            f"{verdict.hurt}",
            "-" if verdict.refused is None else f"{verdict.refused:,}",
            _points(verdict.gain, acted=acted),
            _points(verdict.gain_best, acted=acted),
            _points(verdict.gain_worst, acted=acted),
            f"{100.0 * verdict.drawdown_with:.2f}",
            f"{100.0 * verdict.drawdown_without:.2f}",
        )
    return table


def _table(title: str) -> Table:
    return Table(
        box=None,
        pad_edge=False,
        padding=(0, 1, 0, 0),
        title=title or None,
        title_justify="left",
        title_style="bold",
        header_style="dim",
    )


def _signed(value: float) -> Text:
    return Text(f"{100.0 * value:+.2f}", style="green" if value > 0 else "red" if value < 0 else "")


def _points(value: float, *, acted: bool) -> Text:
    if not acted:
        return Text("-", style="dim")
    return Text(f"{100.0 * value:+.2f}", style="green" if value > 0 else "red" if value < 0 else "")

"""How far long work is: a bar with the time left, on standard error, and only on a terminal."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

_COMPILES = "about 40 seconds on one core"  # measured on a server of 2026, its cache being empty


@contextmanager
def progress_bar(console: Console) -> Iterator[Callable[[str, float], None]]:
    """A function that is told what is being done and what share of the whole is done, 0 to 1.

    The bar leaves no trace when the work ends, however it ends. Away from a terminal nothing is written.
    """
    if not console.is_terminal:
        yield lambda _what, _share: None
        return
    columns = (
        TextColumn("{task.description:<36}"),
        BarColumn(bar_width=24),
        TaskProgressColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=1.0)

        def tell(what: str, share: float) -> None:
            progress.update(task, description=what, completed=share)

        yield tell


def told_of_compiling(console: Console) -> Callable[[], None]:
    """Says on standard error, in a terminal or not, why the first run on a machine takes so long."""
    return lambda: console.print(f"Compiling, once on this machine: {_COMPILES}.", style="dim")

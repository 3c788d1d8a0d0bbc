"""What every command shares: the session, writing results, reading arguments, and how failures end."""

import json
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from functools import cached_property, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ParamSpec, TypeVar

import typer

from crypto_tracker.core.errors import (
    CheckFailed,
    ConfigError,
    CryptoTrackerError,
    LedgerMismatch,
    UsageError,
)

if TYPE_CHECKING:  # both take a while to import, and --help needs neither
    from rich.console import Console

    from crypto_tracker.config.load import Loaded
    from crypto_tracker.config.tree import Configuration
    from crypto_tracker.strategies.base import Strategy

HOME_VARIABLE = "CRYPTO_TRACKER_HOME"
DEFAULT_HOME = Path("user_data")
CONFIG_NAME = "config.toml"


class ExitCode(IntEnum):
    """How a command ends. Scripts rely on these numbers."""

    DONE = 0
    FAILED = 1
    WRONG_USE = 2
    FOUND = 3
    INTERRUPTED = 130


def exit_code(error: CryptoTrackerError) -> ExitCode:
    """The code that says what the caller can do about an error."""
    if isinstance(error, UsageError):
        return ExitCode.WRONG_USE
    if isinstance(error, CheckFailed | LedgerMismatch):
        return ExitCode.FOUND
    return ExitCode.FAILED


@dataclass(kw_only=True)
class Session:
    """One run of the command line: where things are, what was asked for, and where output goes.

    Attributes
    ----------
    home : folder of everything that is written
    config_path : the file named with --config, None to use HOME/config.toml where it exists
    assignments : `section.key=value` of every --set
    environment : all variables of the process
    """

    home: Path
    config_path: Path | None
    assignments: Sequence[str]
    environment: Mapping[str, str] = field(repr=False)

    @cached_property
    def out(self) -> "Console":
        """For results. With --json nothing is written here but `emit_json`."""
        from rich.console import Console

        return Console(file=sys.stdout, highlight=False)

    @cached_property
    def err(self) -> "Console":
        """For progress, logs and failures."""
        from rich.console import Console

        return Console(file=sys.stderr, highlight=False)

    @cached_property
    def strategies(self) -> "Mapping[str, Strategy]":
        """Every strategy that there is, by name: built in, installed, and in the folder of the home."""
        from crypto_tracker.app.plugins import all_strategies

        return all_strategies(self.home)

    @cached_property
    def loaded(self) -> "Loaded[Configuration]":
        """The configuration with the origin of every value; read when first asked for."""
        from crypto_tracker.config.layers import TextFile
        from crypto_tracker.config.tree import load_configuration

        path = self.config_path or self.home / CONFIG_NAME
        file = None
        if self.config_path is not None or path.is_file():
            try:
                file = TextFile(str(path), path.read_text(encoding="utf-8"))
            except FileNotFoundError as error:
                raise ConfigError(f"there is no configuration {path}: new-config writes one") from error
            except (OSError, UnicodeDecodeError) as error:
                raise ConfigError(f"the configuration {path} cannot be read: {error}") from error
        return load_configuration(
            {name: strategy.parameters_model for name, strategy in self.strategies.items()},
            file=file,
            environment=self.environment,
            assignments=self.assignments,
        )

    @property
    def configuration(self) -> "Configuration":
        """The frozen tree of all values."""
        return self.loaded.tree

    def make_home(self) -> Path:
        """The home folder, made where it does not exist yet."""
        try:
            self.home.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"the home folder {self.home} cannot be made: {error}") from error
        return self.home

    def now(self) -> datetime:
        """The present moment in UTC: the one place where commands read the wall clock."""
        return datetime.now(tz=UTC)


def home_from(option: Path | None, environment: Mapping[str, str]) -> Path:
    """The home folder: the option, else the variable, else ./user_data."""
    named = environment.get(HOME_VARIABLE)
    home = option if option is not None else Path(named) if named else DEFAULT_HOME
    if home.exists() and not home.is_dir():
        raise UsageError(f"the home {home} is a file: name a folder with --home")
    return home


def process_environment() -> Mapping[str, str]:
    """The variables of this process: the one place where they are read."""
    return dict(os.environ)


def session_of(context: typer.Context) -> Session:
    """The session of the command that runs."""
    session = context.find_object(Session)
    if session is None:
        raise UsageError("a command was started without its session")
    return session


# Options that several commands share. A command takes `json_output: JsonOption = False`.
JsonOption = Annotated[
    bool, typer.Option("--json", help="Write one JSON document to standard output and nothing else there.")
]
TimerangeOption = Annotated[
    str | None,
    typer.Option(
        "--timerange",
        metavar="FROM-TO",
        help="Span in UTC, end exclusive: 20250801-20250901, 20250801-, 20250801T1200-20250801T1800.",
    ),
]
PairsOption = Annotated[
    str | None, typer.Option("--pairs", "-p", metavar="LIST", help="Symbols, such as BTC/USDT,ETH/USDT.")
]
StrategyOption = Annotated[
    list[str] | None,
    typer.Option("--strategy", "-s", metavar="NAME", help="Only this strategy; may be repeated."),
]
TimeframeOption = Annotated[
    str | None, typer.Option("--timeframe", "-i", metavar="LENGTH", help="1m, 5m, 15m, 1h, 4h or 1d.")
]
BaseOption = Annotated[
    str | None,
    typer.Option(
        "--timeframe",
        "-i",
        metavar="LENGTH",
        help="The base, whose bars orders meet: 1m, 15m or 1h; otherwise the finest that is stored.",
    ),
]


def has_bars(session: Session) -> bool:
    """Whether there is a store of bars; says so where there is none, which is no failure.

    For commands that only look.
    """
    from crypto_tracker.store.reader import DATABASE_NAME

    if (session.home / DATABASE_NAME).is_file():
        return True
    say_no_bars(session)
    return False


def say_no_bars(session: Session) -> None:
    """Say on standard error that nothing is stored, and what brings some."""
    from crypto_tracker.store.reader import no_bars

    said = no_bars(session.home)
    session.err.print(f"{said[0].upper()}{said[1:]}.", markup=False, soft_wrap=True)


def emit_json(document: Any) -> None:
    """Write one JSON document to standard output. Numbers that do not exist (NaN, infinity) become null."""
    sys.stdout.write(json_text(document))
    sys.stdout.flush()


def json_text(document: Any) -> str:
    """The document as `emit_json` writes it."""
    return json.dumps(_plain(document), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _plain(value: Any) -> Any:
    """The value as JSON can hold it."""
    if isinstance(value, Mapping):
        return {str(name): _plain(inside) for name, inside in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(inside) for inside in value]
    if isinstance(value, datetime):
        return iso_utc(value)
    if hasattr(value, "tolist"):  # NumPy arrays and scalars
        return _plain(value.tolist())
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, float):
        return value if value - value == 0.0 else None
    if isinstance(value, int):
        return int(value)
    return str(value)


def iso_utc(moment: datetime) -> str:
    """A time as people and programs read it.

    >>> iso_utc(datetime(2025, 8, 1, 12, tzinfo=UTC))
    '2025-08-01T12:00:00Z'
    """
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


@dataclass(frozen=True, slots=True)
class Timerange:
    """A span [start, end) in UTC; None leaves that side open."""

    start: datetime | None
    end: datetime | None

    @property
    def start_ms(self) -> int | None:
        """The start in milliseconds since the epoch."""
        return None if self.start is None else _to_ms(self.start)

    @property
    def end_ms(self) -> int | None:
        """The end in milliseconds since the epoch; the first moment that is not in the span."""
        return None if self.end is None else _to_ms(self.end)


def parse_timerange(
    text: str | None, *, option: str = "--timerange", example: str = "20250801-20250901"
) -> Timerange:
    """Read `FROM-TO`, either side may be missing; each is YYYYMMDD or YYYYMMDDTHHMM in UTC.

    >>> parse_timerange("20250801-20250901").end.isoformat()
    '2025-09-01T00:00:00+00:00'
    >>> parse_timerange("20250801T1230-").start.isoformat()
    '2025-08-01T12:30:00+00:00'
    """
    if text is None:
        return Timerange(None, None)
    first, dash, second = text.strip().partition("-")
    if not dash or not (first or second):
        raise UsageError(f"{option} {text!r} is no span: write {example} (the end is exclusive)")
    start = _range_end(first, f"{option} {text!r}", example) if first else None
    end = _range_end(second, f"{option} {text!r}", example) if second else None
    if start is not None and end is not None and start >= end:
        empty = "is empty" if start == end else "ends before it starts"
        raise UsageError(f"{option} {text!r} {empty}: the end is exclusive and must be later")
    return Timerange(start, end)


def _range_end(text: str, whole: str, example: str) -> datetime:
    for form, length in (("%Y%m%d", 8), ("%Y%m%dT%H%M", 13)):
        if len(text) == length:
            try:
                return datetime.strptime(text, form).replace(tzinfo=UTC)
            except ValueError:
                break
    raise UsageError(
        f"{whole}: {text!r} is no date: write YYYYMMDD or YYYYMMDDTHHMM, in UTC, such as {example}"
    )


def parse_time(text: str) -> datetime:
    """Read an ISO time; one without a zone is UTC.

    >>> parse_time("2025-08-01T12:00").isoformat()
    '2025-08-01T12:00:00+00:00'
    """
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise UsageError(f"{text!r} is no time: write 2025-08-01T12:00 (UTC)") from None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def parse_pairs(text: str | None) -> tuple[str, ...]:
    """The names in a list such as `BTC/USDT,ETH/USDT`, in order and once each; empty where none was given.

    Codes of coins are capitals, and are read as such where someone writes `btc/usdt`. Those that mix both by
    themselves stay as they are.

    >>> parse_pairs("btc/usdt, Eth/USDT kPEPE/USD:USD")
    ('BTC/USDT', 'ETH/USDT', 'kPEPE/USD:USD')
    """
    if text is None:
        return ()
    capitals = re.sub(
        r"[A-Za-z0-9]+",
        lambda code: code[0].upper() if code[0].islower() or code[0].istitle() else code[0],
        text,
    )
    names = tuple(dict.fromkeys(capitals.replace(",", " ").split()))
    if not names:
        raise UsageError("--pairs names no symbol: write --pairs BTC/USDT,ETH/USDT")
    return names


def _to_ms(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


P = ParamSpec("P")
R = TypeVar("R")


@contextmanager
def failures_as_exit_codes() -> Iterator[None]:
    """Turn the program's own errors into one red sentence on standard error and the exit code for them.

    Anything else is a mistake of ours and travels on with its traceback.
    """
    try:
        yield
    except CryptoTrackerError as error:
        from rich.console import Console
        from rich.text import Text

        Console(file=sys.stderr, highlight=False, soft_wrap=True).print(Text(str(error), style="red"))
        raise SystemExit(int(exit_code(error))) from None
    except KeyboardInterrupt:
        sys.stderr.write("\nInterrupted.\n")
        raise SystemExit(int(ExitCode.INTERRUPTED)) from None


def command(
    app: typer.Typer, name: str, *, examples: Sequence[str] = (), **settings: Any
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Register a function as a command of `app` whose failures end as exit codes.

    The first line of its docstring stands whole in the list of commands; `examples` end its help.
    """
    if examples:
        settings["epilog"] = "\b\nExamples:\n" + "\n".join(f"  crypto-tracker {line}" for line in examples)

    def register(function: Callable[P, R]) -> Callable[P, R]:
        @wraps(function)
        def run(*args: P.args, **kwargs: P.kwargs) -> R:
            with failures_as_exit_codes():
                return function(*args, **kwargs)

        settings.setdefault("short_help", (function.__doc__ or "").strip().partition("\n")[0])
        app.command(name, **settings)(run)
        return function

    return register

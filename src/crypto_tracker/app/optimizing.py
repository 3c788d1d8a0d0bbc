"""A search from what a person asks to its result: bars, workers, memory of trials, and the file to write."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from crypto_tracker.app.cli.common import CONFIG_NAME, Session
from crypto_tracker.app.plugins import all_strategies
from crypto_tracker.config.entries import configured_strategies
from crypto_tracker.config.fields import is_secret
from crypto_tracker.config.keys import dotted
from crypto_tracker.config.layers import TextFile
from crypto_tracker.config.load import Loaded, values
from crypto_tracker.config.research import Research
from crypto_tracker.config.tree import Configuration, load_configuration
from crypto_tracker.core.errors import ConfigError
from crypto_tracker.core.timeframes import to_ms
from crypto_tracker.research.executor import opened, worker_count
from crypto_tracker.research.market import gather, unknown_trend
from crypto_tracker.research.optimize.evaluation import Workplace, leave
from crypto_tracker.research.optimize.objective import Measured, known_objective
from crypto_tracker.research.optimize.run import Lengths, Optimized, optimize
from crypto_tracker.research.optimize.search import Request, known_method
from crypto_tracker.research.optimize.space import Loader, ParameterSet, Space, parse_space
from crypto_tracker.research.prepared import Progress, prepare
from crypto_tracker.research.recorded_books import recorded_books
from crypto_tracker.simulation.statistics import sharpe_ratio
from crypto_tracker.store.books import BookStore, StoredBooks
from crypto_tracker.store.choice import Choice, choose, no_reference
from crypto_tracker.store.reader import BarReader
from crypto_tracker.store.sources import StoredBars
from crypto_tracker.store.trials import Data, Trial, TrialStore
from crypto_tracker.store.universes import universes
from crypto_tracker.strategies.base import StrategyEntry

_SYNTHETIC = "synthetic"
_READ, _MEASURED = 0.05, 0.15  # share of the whole work that is done when bars are read, and measured


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The options of `optimize`; None where the configuration or the store decides."""

    space: tuple[str, ...]
    method: str
    trials: int | None
    seed: int
    objective: str
    trades_min: int | None
    windows: int | None
    in_sample_days: int | None
    out_of_sample_days: int | None
    only: tuple[str, ...]
    pairs: tuple[str, ...]
    timeframe: str | None
    provider: str | None
    start_ms: int | None
    end_ms: int | None
    workers: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A finished search, with what its readers need to know besides.

    Attributes
    ----------
    current : the values that the searched keys have in the configuration
    confidence : of the interval of the lead
    """

    result: Optimized
    choice: Choice
    data: Data
    notes: tuple[str, ...]
    current: Mapping[str, str]
    confidence: float


def run(session: Session, asked: Asked, *, progress: Progress) -> Found:
    """Search, as asked; trials are remembered in HOME/research.db as they are finished."""
    configuration = session.configuration
    entries = configured_strategies(dict(session.strategies), configuration, asked.only)
    load = _loader(session)
    request = _request(session, asked, entries, load)
    settings = _research(configuration, asked)
    progress("reading bars", 0.0)
    with BarReader.open(session.home) as reader:
        choice = choose(
            reader.series(),
            configuration,
            pairs=asked.pairs,
            timeframe=asked.timeframe,
            provider=asked.provider,
            start_ms=asked.start_ms,
            end_ms=asked.end_ms,
            universes=universes(session.home),
        )
        with TemporaryDirectory(prefix="optimize-", dir=session.make_home()) as scratch:
            folder = Path(scratch).absolute()
            notes = _prepare(session, reader, entries, choice, folder, progress)
            found = _searched(session, asked, request, settings, choice, folder, load, progress)
            return replace(found, notes=notes)


def _prepare(
    session: Session,
    reader: BarReader,
    entries: Sequence[StrategyEntry],
    choice: Choice,
    folder: Path,
    progress: Progress,
) -> tuple[str, ...]:
    """Read and measure the bars into a folder; returns what a reader of the result should know of them."""
    configuration = session.configuration
    market = gather(
        StoredBars(reader, choice.provider_of, choice.history),
        configuration,
        entries,
        choice.symbols,
        reference_symbol=choice.reference_symbol,
        base=choice.base,
        start_ms=choice.start_ms,
        end_ms=choice.end_ms,
    )
    market = replace(market, universe=choice.universe)
    recorded = recorded_books(StoredBooks(BookStore(session.home), choice.provider_of), configuration.fills)
    if recorded is not None:
        books = recorded.read(market.panel.symbols, market.start_ms, market.end_ms)
        recorded.names()  # refuses a span without a single book
        market = replace(market, books=books)
    prepare(market, entries, configuration, folder, progress=_part(progress, _READ, _MEASURED))
    notes = list(choice.notes)
    if market.reference is None and choice.reference_symbol is not None:
        notes.append(no_reference(choice.reference_symbol.base, choice.base))
    trend = unknown_trend(market)
    if trend is not None:
        notes.append(trend)
    if _SYNTHETIC in choice.provider_of.values():
        notes.append("SYNTHETIC bars: this result says nothing about any real market")
    return tuple(notes)


def _searched(
    session: Session,
    asked: Asked,
    request: Request,
    settings: Research,
    choice: Choice,
    folder: Path,
    load: Loader,
    progress: Progress,
) -> Found:
    workplace = Workplace(
        folder=folder, strategies=partial(all_strategies, session.home.absolute()), only=asked.only
    )
    traded = {symbol: choice.provider_of[symbol] for symbol in sorted(choice.symbols)}
    data = Data(
        start_ms=choice.base.floor(choice.start_ms + choice.base.ms - 1),
        end_ms=choice.base.floor(choice.end_ms),
        base=str(choice.base),
        provider_of=traded,
        synthetic=_SYNTHETIC in choice.provider_of.values(),
    )
    store = TrialStore.open(session.home)

    def remember(each: ParameterSet, measured: Measured) -> None:
        trial = Trial(
            data=data,
            configuration_version=each.version,
            sharpe=sharpe_ratio(measured.returns),
            days=len(measured.returns),
            trades=measured.trades,
            source="optimize",
            assignments=each.assignments,
        )
        store.remember([trial], recorded_at_ms=to_ms(session.now()))

    try:
        with opened(settings, workers=worker_count(settings)) as executor:
            result = optimize(
                request,
                session.configuration.optimize,
                Lengths(
                    windows=asked.windows or session.configuration.optimize.windows,
                    in_sample_days=asked.in_sample_days,
                    out_of_sample_days=asked.out_of_sample_days,
                ),
                workplace=workplace,
                load=load,
                executor=executor,
                remember=remember,
                history=lambda: store.history(data),
                progress=_part(progress, _MEASURED, 1.0),
            )
    finally:
        leave(workplace)
        store.close()
    return Found(
        result=result,
        choice=choice,
        data=data,
        notes=choice.notes,
        current={dotted(each.key): _written(values(session.loaded).get(each.key)) for each in request.space},
        confidence=session.configuration.optimize.confidence,
    )


def recommended_file(session: Session, found: Found) -> str:
    """The recommended configuration as TOML: whatever differs from the defaults, and the found parameters.

    Read with --config it gives the very configuration that was measured.
    """
    assignments = found.result.proposal.assignments
    given = values(_loaded(session, assignments))
    default = values(_loaded_defaults(session))
    tree = type(session.configuration)
    lines = [
        f"{dotted(key)} = {_toml(value)}"
        for key, value in given.items()
        if default.get(key, ...) != value and not is_secret(tree, key)
    ]
    header = [
        "# Found and recommended by crypto-tracker optimize; whatever is not named here has its default.",
        f"# Configuration version {found.result.proposal.version}; found parameters:",
        *(f"#   {assignment}" for assignment in assignments),
        "",
    ]
    return "\n".join([*header, *lines]) + "\n"


def _request(session: Session, asked: Asked, entries: Sequence[StrategyEntry], load: Loader) -> Request:
    settings = session.configuration.optimize
    space: Space = parse_space(
        asked.space,
        current=values(session.loaded),
        scanning=[entry.strategy.name for entry in entries],
        load=load,
    )
    return Request(
        space=space,
        method=known_method(asked.method),
        trials=asked.trials or settings.trials,
        seed=asked.seed,
        batch=settings.batch,
        objective=known_objective(asked.objective),
        trades_min=asked.trades_min or settings.trades_min,
    )


def _research(configuration: Configuration, asked: Asked) -> Research:
    if asked.workers is None:
        return configuration.research
    return configuration.research.model_copy(update={"workers": asked.workers})


def _loader(session: Session) -> Loader:
    def load(assignments: Sequence[str]) -> Configuration:
        return _loaded(session, assignments).tree

    return load


def _loaded(session: Session, assignments: Sequence[str]) -> Loaded[Configuration]:
    path = session.config_path or session.home / CONFIG_NAME
    file = TextFile(str(path), path.read_text(encoding="utf-8")) if path.is_file() else None
    return load_configuration(
        _models(session),
        file=file,
        environment=session.environment,
        assignments=[*session.assignments, *assignments],
    )


def _loaded_defaults(session: Session) -> Loaded[Configuration]:
    return load_configuration(_models(session), file=None, environment={}, assignments=())


def _models(session: Session) -> Mapping[str, Any]:
    return {name: strategy.parameters_model for name, strategy in session.strategies.items()}


def _part(progress: Progress, first: float, last: float) -> Progress:
    return lambda what, share: progress(what, first + share * (last - first))


def _written(value: Any) -> str:
    """A value as an assignment writes it."""
    if value is None:
        return "(not set)"
    return value if isinstance(value, str) else json.dumps(value)


def _toml(value: Any) -> str:
    """A value as TOML writes it."""
    if isinstance(value, list):
        return f"[{', '.join(_toml(inside) for inside in value)}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{dotted((name,))} = {_toml(inside)}" for name, inside in value.items()) + "}"
    if isinstance(value, str | bool | int | float):
        return json.dumps(value, ensure_ascii=False)
    raise ConfigError(f"a value of type {type(value).__name__} cannot stand in a file: {value!r}")

"""Two sides as a person names them, brought to the evidence by which they are held against each other."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from crypto_tracker.app.accounts import read_account
from crypto_tracker.app.cli.common import Session
from crypto_tracker.app.evidence import (
    Recorded,
    evidence_of_backtest,
    recorded_account,
    recorded_bundle,
    recorded_run,
)
from crypto_tracker.config.layers import TextFile
from crypto_tracker.config.tree import Configuration, load_configuration
from crypto_tracker.config.versions import VERSION_LENGTH, version
from crypto_tracker.core.errors import ConfigError, DataError, UsageError
from crypto_tracker.core.timeframes import to_ms
from crypto_tracker.research.backtest import Progress
from crypto_tracker.research.compare import RememberedBars, run_configuration
from crypto_tracker.simulation.evidence import Evidence, Source
from crypto_tracker.simulation.paired import Comparison, compare
from crypto_tracker.simulation.statistics import sharpe_ratio
from crypto_tracker.store.books import BookStore, StoredBooks
from crypto_tracker.store.choice import Choice, choose, configured, obeying
from crypto_tracker.store.reader import BarReader
from crypto_tracker.store.run_views import RunViews
from crypto_tracker.store.sources import StoredBars
from crypto_tracker.store.trading_records import ConfigurationRow
from crypto_tracker.store.trials import Data, Trial, TrialStore
from crypto_tracker.store.universes import RecordedUniverse, universes
from crypto_tracker.trading.setting import stored_configuration

CURRENT = "current"
_VERSION = re.compile(rf"[0-9a-f]{{{VERSION_LENGTH}}}")
_SIDES = (
    "run:12 (or 12), account:paper, a bundle of backtest --export, a configuration such as better.toml, "
    f"the version of one that a recorded run carries, or `{CURRENT}`"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The options of `compare`; None where the store decides."""

    pairs: tuple[str, ...]
    timeframe: str | None
    provider: str | None
    start_ms: int | None
    end_ms: int | None


@dataclass(frozen=True, slots=True)
class Candidate:
    """A side that is a configuration, not run yet."""

    name: str
    configuration: Configuration


def run(session: Session, first: str, second: str, asked: Asked, *, progress: Progress) -> Comparison:
    """Hold the second side against the first; configurations are run, over the bars of the other side.

    Raises UsageError for a side that is none, and DataError where the two have nothing in common.
    """
    progress("reading", 0.0)
    sides = [side(session, text) for text in (first, second)]
    recorded = [each for each in sides if isinstance(each, Recorded)]
    if recorded and (asked.pairs or asked.timeframe or asked.provider):
        raise UsageError(
            f"--pairs, --timeframe and --provider choose what configurations are run over, and "
            f"{recorded[0].evidence.name} has bars of its own: leave them out"
        )
    candidates = [each for each in sides if isinstance(each, Candidate)]
    found = _evidence_of(session, candidates, recorded[0] if recorded else None, asked, progress)
    made = [each.evidence if isinstance(each, Recorded) else found.pop(0) for each in sides]
    return compare(
        made[0],
        _told_apart(made[0], made[1]),
        session.configuration.compare,
        start_ms=asked.start_ms if recorded else None,
        end_ms=asked.end_ms if recorded else None,
    )


def side(session: Session, text: str) -> Recorded | Candidate:
    """The side that a person names; raises UsageError where it is none."""
    kind, colon, name = text.partition(":")
    if text.isdigit() and not _VERSION.fullmatch(text):
        kind, colon, name = "run", ":", text
    if colon and kind == "run":
        if not name.isdigit():
            raise UsageError(f"{text!r} names no run: write its number, such as run:12")
        return recorded_run(session.home, int(name), session.configuration)
    if colon and kind == "account":
        return recorded_account(read_account(session.home, name))[0]
    if text == CURRENT:
        return Candidate("the current configuration", session.configuration)
    path = Path(text)
    if path.is_file():
        return _configured(session, path) if path.suffix == ".toml" else recorded_bundle(path)
    if _VERSION.fullmatch(text):
        return _carried(session, text)
    if path.suffix in {".toml", ".json"}:
        raise UsageError(f"there is no file {text}")
    raise UsageError(f"{text!r} names no side: write {_SIDES}")


def _configured(session: Session, path: Path) -> Candidate:
    """The configuration of a file, under the environment and what --set says, as `backtest` would load it."""
    try:
        file = TextFile(str(path), path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the configuration {path} cannot be read: {error}") from error
    models = {name: strategy.parameters_model for name, strategy in session.strategies.items()}
    loaded = load_configuration(
        models, file=file, environment=session.environment, assignments=session.assignments
    )
    return Candidate(path.name, loaded.tree)


def _carried(session: Session, wanted: str) -> Candidate:
    """The configuration of a version that a recorded run carries, exactly as it was."""
    with RunViews.open(session.home) as views:
        canonical = views.configuration(wanted)
    row = ConfigurationRow(version=wanted, canonical=canonical, document=canonical)
    try:
        configuration = stored_configuration(row, session.strategies)
    except ConfigError as error:
        raise ConfigError(
            f"the recorded configuration {wanted} can not be run by this version: {error}"
        ) from error
    if version(configuration) != wanted:
        raise ConfigError(
            f"this version completes the recorded configuration {wanted} to {version(configuration)}, which "
            "is another: compare the recorded run itself, or run it with the version that made it"
        )
    return Candidate(f"version {wanted}", configuration)


def _evidence_of(
    session: Session,
    candidates: list[Candidate],
    other: Recorded | None,
    asked: Asked,
    progress: Progress,
) -> list[Evidence]:
    """Run each of the configurations over the same bars; what they read is read once."""
    if not candidates:
        return []
    found = []
    with BarReader.open(session.home) as reader:
        recorded = universes(session.home)
        choice = other.choice if other is not None else _common_choice(reader, recorded, candidates, asked)
        if not choice.provider_of:
            raise DataError(
                f"the store does not have the bars of {other.evidence.name if other else 'the sides'}: "
                "bring them with import-data, or compare with something else that was recorded"
            )
        bars = RememberedBars(StoredBars(reader, choice.provider_of, choice.history))
        books = StoredBooks(BookStore(session.home), choice.provider_of)
        for place, each in enumerate(candidates):
            done = run_configuration(
                bars,
                books,
                each.configuration,
                session.strategies,
                choice,
                progress=_part(progress, place, len(candidates), each.name),
            )
            evidence = evidence_of_backtest(each.name, done, choice, each.configuration)
            _remember(session, evidence, choice)
            found.append(replace(evidence, notes=(*choice.notes, *_of_another_time(other))))
    return found


def _common_choice(
    reader: BarReader, recorded: Sequence[RecordedUniverse], candidates: list[Candidate], asked: Asked
) -> Choice:
    """The bars that all configurations are run over: the symbols that each of them would trade."""

    def chosen(each: Candidate, pairs: tuple[str, ...]) -> Choice:
        return choose(
            reader.series(),
            each.configuration,
            pairs=pairs,
            timeframe=asked.timeframe,
            provider=asked.provider,
            start_ms=asked.start_ms,
            end_ms=asked.end_ms,
            universes=recorded,
        )

    choices = [chosen(each, asked.pairs) for each in candidates]
    common = sorted(set(choices[0].symbols).intersection(*(each.symbols for each in choices)))
    if not common:
        names = " and ".join(each.name for each in candidates)
        raise DataError(f"{names} would trade no symbol in common: choose some with --pairs")
    if all(len(each.symbols) == len(common) for each in choices):
        if all(each.universe == choices[0].universe for each in choices):
            return choices[0]
        note = f"both are run with the universe of each day as {candidates[0].name} obeys it"
        return replace(choices[0], notes=(*choices[0].notes, note))
    choice = chosen(candidates[0], tuple(map(str, common)))
    if not asked.pairs and candidates[0].configuration.universe.by_day:
        choice = obeying(choice, configured(candidates[0].configuration), recorded)
    note = f"the universes differ: both are run over the {len(common)} symbols that they have in common"
    return replace(choice, notes=(*choice.notes, note))


def _of_another_time(other: Recorded | None) -> tuple[str, ...]:
    if other is None or other.evidence.source is not Source.ACCOUNT:
        return ()
    return (
        f"it is run over the bars as they are stored now, {other.evidence.name} traded them as it saw them",
    )


def _remember(session: Session, evidence: Evidence, choice: Choice) -> None:
    """A configuration that was held against bars is a trial, whoever asked for it."""
    returns = None if evidence.days is None else evidence.days.returns
    trial = Trial(
        data=Data(
            start_ms=evidence.start_ms,
            end_ms=evidence.end_ms,
            base=evidence.base,
            provider_of={symbol: choice.provider_of[symbol] for symbol in evidence.symbols},
            synthetic=evidence.synthetic,
        ),
        configuration_version=evidence.configuration_version,
        sharpe=None if returns is None else sharpe_ratio(returns),
        days=0 if returns is None else len(returns),
        trades=len(evidence.trades),
        source="backtest",
        assignments=tuple(session.assignments),
    )
    store = TrialStore.open(session.home)
    try:
        store.remember([trial], recorded_at_ms=to_ms(session.now()))
    finally:
        store.close()


def _told_apart(first: Evidence, second: Evidence) -> Evidence:
    """The second side under a name of its own."""
    return second if second.name != first.name else replace(second, name=f"{second.name} again")


def _part(progress: Progress, place: int, count: int, name: str) -> Progress:
    def tell(what: str, share: float) -> None:
        progress(f"{name}: {what}", (place + share) / count)

    return tell

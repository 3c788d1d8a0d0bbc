"""`lookahead-analysis` and `recursive-analysis`: proofs about features and strategies, plug-ins included."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crypto_tracker.app.cli.common import (
    BaseOption,
    JsonOption,
    PairsOption,
    Session,
    StrategyOption,
    TimerangeOption,
    command,
    emit_json,
    parse_pairs,
    parse_timerange,
    session_of,
)
from crypto_tracker.core.errors import CheckFailed, UsageError

if TYPE_CHECKING:
    from crypto_tracker.app.analysis import Found, Ground, Result, Subject

ProviderOption = Annotated[
    str | None, typer.Option("--provider", metavar="NAME", help="Whose bars, where several have them.")
]
SeedOption = Annotated[
    int, typer.Option("--seed", min=0, help="Of the synthetic market and of the moments that are drawn.")
]
CutsOption = Annotated[
    int, typer.Option("--cuts", min=1, help="Random bars, gaps and minutes to cut at, and neighbouring bars.")
]
ToleranceOption = Annotated[
    float,
    typer.Option(
        "--tolerance",
        min=0.0,
        max=1.0,
        help="Difference that is allowed, as a share of the value or of the usual value.",
    ),
]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    command(app, "lookahead-analysis")(lookahead_analysis)
    command(app, "recursive-analysis")(recursive_analysis)


def lookahead_analysis(
    context: typer.Context,
    strategy: StrategyOption = None,
    timerange: TimerangeOption = None,
    pairs: PairsOption = None,
    timeframe: BaseOption = None,
    provider: ProviderOption = None,
    cuts: CutsOption = 16,
    seed: SeedOption = 1,
    json_output: JsonOption = False,
) -> None:
    """Prove that no feature or strategy looks into the future.

    Each value is computed from the bars known at many moments, and from all bars; both must be the same to
    the last bit. Then all later bars are replaced by others: no earlier value may change. Every strategy is
    proven, your own included, on a synthetic market, or with --pairs or --timerange on stored bars. Ends with
    exit code 3 when something is found.
    """
    from crypto_tracker.app.analysis import Effort, analyse_lookahead

    session = session_of(context)
    effort = Effort(random=cuts, consecutive=cuts, disturbances=8, anchors=1, tolerance=0.0, seed=seed)
    subjects = _subjects(session, strategy)
    with _ground(session, timerange, pairs, timeframe, provider, seed=seed, gaps=True) as ground:
        results = _run(
            session,
            lambda tell: analyse_lookahead(
                ground, session.configuration, subjects, with_features=not strategy, effort=effort, tell=tell
            ),
        )
    done = (
        f"cut at {cuts} neighbouring bars and at up to {cuts} random bars, gaps and minutes each, "
        f"and disturbed after {effort.disturbances} moments, on {ground.words}"
    )
    _report(session, results, done, json_output=json_output, harm="looks ahead")


def recursive_analysis(
    context: typer.Context,
    strategy: StrategyOption = None,
    timerange: TimerangeOption = None,
    pairs: PairsOption = None,
    timeframe: BaseOption = None,
    provider: ProviderOption = None,
    tolerance: ToleranceOption = 0.001,
    seed: SeedOption = 1,
    json_output: JsonOption = False,
) -> None:
    """Prove that declared warm-ups suffice, and that values do not depend on the span asked for.

    Each value is computed from the declared warm-up and from twice as much; both must agree within the
    tolerance. Then shorter spans are asked for: they must give the same bits as the whole. Every strategy is
    proven, your own included, on a synthetic market, or with --pairs or --timerange on stored bars. Ends with
    exit code 3 when something is found.
    """
    from crypto_tracker.app.analysis import Effort, analyse_warmup

    session = session_of(context)
    effort = Effort(random=0, consecutive=0, disturbances=0, anchors=4, tolerance=tolerance, seed=seed)
    subjects = _subjects(session, strategy)
    with _ground(session, timerange, pairs, timeframe, provider, seed=seed, gaps=False) as ground:
        results = _run(
            session,
            lambda tell: analyse_warmup(
                ground, session.configuration, subjects, with_features=not strategy, effort=effort, tell=tell
            ),
        )
    done = (
        f"twice the declared warm-up before up to {effort.anchors} days (tolerance {tolerance:g}), "
        f"and 4 spans, on {ground.words}"
    )
    _report(session, results, done, json_output=json_output, harm="needs more history or depends on the span")


def _subjects(session: Session, only: list[str] | None) -> "list[Subject]":
    """Every strategy there is, or those named, with the parameters that are configured."""
    from crypto_tracker.app.analysis import Subject

    known = session.strategies
    wanted = [name.upper() for name in only] if only else list(known)
    for name in wanted:
        if name not in known:
            raise UsageError(f"no strategy is named {name}: there are {', '.join(known)}")
    return [
        Subject(strategy=known[name], parameters=session.configuration.parameters(name)) for name in wanted
    ]


@contextmanager
def _ground(
    session: Session,
    timerange: str | None,
    pairs: str | None,
    timeframe: str | None,
    provider: str | None,
    *,
    seed: int,
    gaps: bool,
) -> "Iterator[Ground]":
    """The bars to prove on: the store's where the options speak of them, else a synthetic market."""
    from crypto_tracker.app.grounds import stored_ground, synthetic_ground

    configuration = session.configuration
    if timerange is None and pairs is None and timeframe is None and provider is None:
        trading = configuration.trading
        yield synthetic_ground(seed, gaps=gaps, quote=trading.quote, reference=trading.reference)
        return
    from crypto_tracker.store.choice import choose
    from crypto_tracker.store.reader import BarReader
    from crypto_tracker.store.sources import StoredBars

    span = parse_timerange(timerange)
    with BarReader.open(session.home) as reader:
        choice = choose(
            reader.series(),
            configuration,
            pairs=parse_pairs(pairs),
            timeframe=timeframe,
            provider=provider,
            start_ms=span.start_ms,
            end_ms=span.end_ms,
        )
        yield stored_ground(
            StoredBars(reader, choice.provider_of, choice.history),
            choice,
            pairs_given=pairs is not None,
            start_given=span.start_ms is not None,
        )


def _run(session: Session, prove: "Callable[[Callable[[str], None]], Iterator[Result]]") -> "list[Result]":
    with session.err.status("reading bars") as status:
        return list(prove(lambda words: status.update(f"proving {words}")))


def _report(session: Session, results: "list[Result]", done: str, *, json_output: bool, harm: str) -> None:
    guilty = [result for result in results if not result.ok]
    if json_output:
        emit_json([_document(result) for result in results])
    else:
        _print(session, results, done)
    if guilty:
        names = ", ".join(result.name for result in guilty)
        raise CheckFailed(f"{len(guilty)} of {len(results)} checked {harm}: {names}")


def _print(session: Session, results: "list[Result]", done: str) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("name", no_wrap=True)
    table.add_column("kind", style="dim")
    table.add_column("on", style="dim")
    table.add_column("result", no_wrap=True)
    table.add_column("found", overflow="fold")
    for result in results:
        more = f" (and {len(result.found) - 1} more)" if len(result.found) > 1 else ""
        table.add_row(
            result.name,
            result.kind,
            ", ".join(str(timeframe) for timeframe in result.timeframes),
            Text("ok", style="green") if result.ok else Text("FOUND", style="bold red"),
            "" if result.ok else result.found[0].sentence + more,
        )
    session.out.print(table)
    session.out.print(f"\n{done}", style="dim", soft_wrap=True)


def _document(result: "Result") -> dict[str, Any]:
    return {
        "name": result.name,
        "kind": result.kind,
        "ok": result.ok,
        "timeframes": [str(timeframe) for timeframe in result.timeframes],
        "found": [_finding(found) for found in result.found],
    }


def _finding(found: "Found") -> dict[str, Any]:
    from crypto_tracker.core.timeframes import from_ms

    finding = found.finding
    return {
        "question": finding.question,
        "timeframe": str(found.timeframe),
        "value": finding.output,
        "symbol": str(finding.symbol),
        "time": from_ms(finding.time_ms),
        "moment": from_ms(finding.moment_ms),
        "less": finding.less,
        "more": finding.more,
        "sentence": found.sentence,
    }

"""`explain`: why a symbol was bought, or not, at one moment."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from crypto_tracker.app.cli.common import (
    BaseOption,
    JsonOption,
    Session,
    StrategyOption,
    command,
    emit_json,
    parse_time,
    session_of,
)

if TYPE_CHECKING:
    from contextlib import ExitStack

    from crypto_tracker.app.explaining import Answers, StrategyExplanation
    from crypto_tracker.config.tree import Configuration


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    examples = (
        "explain BTC/USDT --at 2025-08-14T12:00",
        "explain ETH/USDT --at 2025-08-14T12:00 --strategy DCA",
    )
    command(app, "explain", examples=examples)(explain)


def explain(
    context: typer.Context,
    symbol: Annotated[str, typer.Argument(metavar="SYMBOL", help="Such as BTC/USDT.")],
    at: Annotated[
        str, typer.Option("--at", metavar="TIME", help="ISO time in UTC, such as 2025-08-01T12:00.")
    ],
    strategy: StrategyOption = None,
    timeframe: BaseOption = None,
    provider: Annotated[
        str | None, typer.Option("--provider", metavar="NAME", help="Whose bars, where several have them.")
    ] = None,
    account: Annotated[
        str | None,
        typer.Option("--account", metavar="NAME", help="As this trading account was configured then."),
    ] = None,
    json_output: JsonOption = False,
) -> None:
    """Say what each strategy saw in its last scan before TIME, which gate stopped it, and what it lacked.

    The scan is computed again from the stored bars. What the portfolio answered to a setup comes from the
    trading account that was started last, or else from the newest recorded run (backtest or demo), of the
    same configuration. With --account it is explained under the configuration that the account had then.
    """
    from contextlib import ExitStack

    from crypto_tracker.app.explaining import explain_symbol, refuse_where_nothing_is_stored
    from crypto_tracker.config.entries import configured_strategies
    from crypto_tracker.config.versions import version
    from crypto_tracker.core.symbols import Symbol
    from crypto_tracker.core.timeframes import DAY_MS, to_ms
    from crypto_tracker.research.market import gather
    from crypto_tracker.store.choice import choose
    from crypto_tracker.store.reader import BarReader
    from crypto_tracker.store.sources import StoredBars
    from crypto_tracker.strategies.needs import scan_timeframe

    session = session_of(context)
    wanted = Symbol.parse(symbol)
    moment_ms = to_ms(parse_time(at))
    configuration = (
        session.configuration if account is None else _configuration_then(session, account, moment_ms)
    )
    entries = configured_strategies(dict(session.strategies), configuration, strategy)
    with ExitStack() as opened:
        reader = opened.enter_context(BarReader.open(session.home))
        series = reader.series()
        refuse_where_nothing_is_stored(series, wanted, moment_ms)
        choice = choose(
            series,
            configuration,
            pairs=[symbol],
            timeframe=timeframe,
            provider=provider,
            start_ms=moment_ms - DAY_MS,
            end_ms=moment_ms,
        )
        longest = max(scan_timeframe(entry.strategy, choice.base).ms for entry in entries)
        end_ms = choice.base.floor(moment_ms)
        market = gather(
            StoredBars(reader, choice.provider_of, choice.history),
            configuration,
            entries,
            choice.symbols,
            reference_symbol=choice.reference_symbol,
            base=choice.base,
            start_ms=end_ms - 2 * longest,
            end_ms=end_ms,
        )
        told = explain_symbol(
            market,
            entries,
            wanted,
            near_miss_readiness=configuration.decisions.near_miss_readiness,
            answers=_answers(session, opened, account, version(configuration)),
        )
    if json_output:
        emit_json(
            {
                "symbol": str(wanted),
                "at": parse_time(at),
                "base": str(choice.base),
                "configuration_version": version(configuration),
                "strategies": [_document(item) for item in told],
            }
        )
        return
    _show(session, str(wanted), at, told)


def _configuration_then(session: Session, name: str, moment_ms: int) -> "Configuration":
    """The configuration of an account at its last minute before a moment, or the one it has now."""
    from crypto_tracker.app.accounts import read_account
    from crypto_tracker.core.timeframes import MINUTE_MS
    from crypto_tracker.store.trading_views import TradingViews
    from crypto_tracker.trading.setting import stored_configuration

    with TradingViews.open(read_account(session.home, name).folder) as views:
        minute_ms = moment_ms - moment_ms % MINUTE_MS - MINUTE_MS
        return stored_configuration(views.configuration(views.version_at(minute_ms)), session.strategies)


def _answers(session: Session, opened: "ExitStack", name: str | None, version: str) -> "list[Answers]":
    """Where to look for the portfolio's answer: accounts, the newest first, then recorded runs."""
    from crypto_tracker.app.accounts import accounts, read_account
    from crypto_tracker.app.explaining import answers_of_account, answers_of_runs
    from crypto_tracker.store.runs import RunStore
    from crypto_tracker.store.trading_views import TradingViews

    places = accounts(session.home)[::-1] if name is None else [read_account(session.home, name)]
    found = [
        answers_of_account(place.name, opened.enter_context(TradingViews.open(place.folder)), version)
        for place in places
    ]
    runs = RunStore.open_to_read(session.home) if name is None else None
    if runs is not None:
        opened.callback(runs.close)
        found.append(answers_of_runs(runs, version))
    return found


def _document(item: "StrategyExplanation") -> dict[str, Any]:
    from dataclasses import asdict

    from crypto_tracker.core.timeframes import from_ms

    return {
        "name": item.strategy,
        "timeframe": item.timeframe,
        "scan_time": from_ms(item.scan_time_ms),
        "verdict": item.verdict.value,
        "reason": item.reason.code,
        "readiness": item.readiness,
        "confidence": item.confidence,
        "measurements": item.measurements,
        "gates": [asdict(gate) for gate in item.gates],
        "stopped_by": next((gate.sentence for gate in item.gates if not gate.passed), None),
        "portfolio": None if item.portfolio is None else asdict(item.portfolio),
    }


def _show(session: Session, symbol: str, at: str, told: list["StrategyExplanation"]) -> None:
    from rich.text import Text

    from crypto_tracker.app.screen.text import whole
    from crypto_tracker.core.decisions import Verdict
    from crypto_tracker.core.timeframes import from_ms

    out = session.out
    colours = {Verdict.TAKE: "green", Verdict.NEAR_MISS: "yellow", Verdict.SKIP: "red"}
    out.print(Text(f"{symbol} at {parse_time(at):%Y-%m-%d %H:%M} UTC", style="bold"))
    for item in told:
        head = Text()
        head.append(f"\n{item.strategy}", style="bold")
        head.append(f"  {item.timeframe} scan of {from_ms(item.scan_time_ms):%Y-%m-%d %H:%M}  ", style="dim")
        word = "SETUP" if item.verdict is Verdict.TAKE else item.verdict.value
        head.append(word, style=f"bold {colours[item.verdict]}")
        if item.verdict is not Verdict.TAKE:
            head.append(f" {item.reason.code}", style=colours[item.verdict])
        out.print(head)
        stopped = False
        for gate in item.gates:
            mark, colour = ("✓", "green") if gate.passed else ("✗", "red")
            _point(
                session,
                mark,
                gate.sentence,
                mark_style="dim" if stopped and not gate.passed else colour,
                style="dim" if stopped else "",
            )
            stopped = stopped or not gate.passed
        if item.portfolio is not None:
            mark, colour = ("✓", "green") if item.portfolio.verdict == Verdict.TAKE else ("✗", "red")
            _point(
                session,
                mark,
                f"portfolio ({item.portfolio.source}): {item.portfolio.sentence}",
                mark_style=colour,
            )
        elif item.verdict is Verdict.TAKE:
            _point(
                session,
                "?",
                "no account and no recorded run of this configuration covers it: a backtest tells the answer",
                mark_style="dim",
                style="dim",
            )
        if item.readiness == item.readiness:
            _point(
                session,
                " ",
                f"readiness {whole(item.readiness)}, confidence {item.confidence:.2f}",
                mark_style="",
                style="dim",
            )


def _point(session: Session, mark: str, sentence: str, *, mark_style: str, style: str = "") -> None:
    """Print one point of a list: further lines begin below its first word, and no % leaves its number."""
    from textwrap import wrap

    from rich.text import Text

    lines = wrap(sentence.replace(" %", "\N{NO-BREAK SPACE}%"), max(session.out.width - 4, 20))
    for place, line in enumerate(lines):
        text = Text("  ").append(mark if place == 0 else " ", style=mark_style)
        session.out.print(text.append(f" {line}".replace("\N{NO-BREAK SPACE}", " "), style=style))

"""What recorded runs, bundles, accounts and fresh runs of a configuration have to show, as evidence.

A run and a bundle do not keep their equity bar by bar. That of a run is put together again from its fills and
the closes in the store; a bundle has it by day.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np

import crypto_tracker
from crypto_tracker.app.accounts import AccountPlace
from crypto_tracker.config.tree import Configuration
from crypto_tracker.config.universe import Universe
from crypto_tracker.config.versions import canonical, version
from crypto_tracker.core.arrays import BoolArray, FloatArray, IntArray
from crypto_tracker.core.decisions import Reason, Verdict
from crypto_tracker.core.errors import DataError, StoreError, UsageError
from crypto_tracker.core.orders import ExitReason, Fill, FillKind, Trade
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import DAY_MS, MINUTE_MS, Timeframe, from_ms, to_ms
from crypto_tracker.research.backtest import Backtest, setup_rows
from crypto_tracker.research.bundle import Bundle, read_bundle
from crypto_tracker.research.bundle_contents import TradeRow
from crypto_tracker.simulation import ledger
from crypto_tracker.simulation.evidence import (
    Answer,
    Days,
    Evidence,
    Setup,
    Source,
    day_numbers,
    days_of,
    setup_of,
)
from crypto_tracker.simulation.kernel import QUOTE
from crypto_tracker.simulation.scorecard import DayShares
from crypto_tracker.store import intervals
from crypto_tracker.store.choice import Choice, choose, obeying
from crypto_tracker.store.feed import UNKNOWN
from crypto_tracker.store.reader import SOURCES, BarReader
from crypto_tracker.store.run_views import RunViews
from crypto_tracker.store.runs import Run
from crypto_tracker.store.sources import StoredBars
from crypto_tracker.store.trading_journal import TradingJournal
from crypto_tracker.store.trading_records import Account
from crypto_tracker.store.trading_views import TradingViews, Where
from crypto_tracker.store.universes import universes
from crypto_tracker.trading.seen import decode_revisions

_SYNTHETIC = "synthetic"
_AT_ONCE_MS = 31 * DAY_MS  # of an account's minutes
_NOTHING = 1e-12  # coins: what floats leave of a position that is sold
_OUTSIDE = 0.03  # of the price: how far slippage may lead a fill out of its bar


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """A side that was recorded, and the bars over which another may be run to be held against it."""

    evidence: Evidence
    choice: Choice


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountMinutes:
    """The minutes that an account has stepped; arrays (minutes,).

    `known` counts the traded symbols of which the bar, or that there was none, was known when it was stepped;
    empty where nobody asked.
    """

    time_ms: IntArray
    equity: FloatArray
    recorded_at_ms: IntArray
    known: IntArray


# --- a run of this moment ----------------------------------------------------------------------


def evidence_of_backtest(name: str, run: Backtest, choice: Choice, configuration: Configuration) -> Evidence:
    """What a configuration did that was just run."""
    panel, result, rules = run.scenario.panel, run.result, run.scenario.rules
    names = (panel.symbols, run.scenario.strategies)
    answers = {
        (row.symbol, row.strategy, row.time_ms): Answer(row.reason, row.confidence)
        for row in setup_rows(run.scenario, result)
    }
    return Evidence(
        name=name,
        source=Source.CONFIGURATION,
        start_ms=run.market.start_ms,
        end_ms=run.market.end_ms,
        base=str(choice.base),
        symbols=panel.symbols,
        strategies=run.scenario.strategies,
        synthetic=_SYNTHETIC in choice.provider_of.values(),
        timezone=rules.timezone,
        capital_quote=rules.capital_quote,
        configuration=json.loads(canonical(configuration)),
        configuration_version=version(configuration),
        code_version=crypto_tracker.__version__,
        data_hash=run.data_hash.total,
        trades=tuple(ledger.trades(result.trades, *names)),
        open_trades=tuple(ledger.trades(result.open_trades, *names)),
        running=(),
        carried=0,
        answers=answers,
        days=days_of(panel.open_time_ms, result.equity_e8 / QUOTE, rules.capital_quote, rules.timezone),
    )


# --- a recorded run ----------------------------------------------------------------------------


def recorded_run(home: Path, run_id: int, configuration: Configuration) -> Recorded:
    """A run of HOME/runs.db; `configuration` says whose bars are read where several have them."""
    with RunViews.open(home) as views:
        run = views.run(run_id)
        trades, fills = views.trades(run_id), views.fills(run_id)
        answers = {
            (each.symbol, each.strategy, each.time_ms): Answer(each.reason, each.confidence)
            for each in views.setups(run_id)
        }
    settings = json.loads(run.configuration)
    start = float(settings["trading"]["capital_quote"])
    zone = settings["trading"]["timezone"]
    notes: list[str] = []
    days: Days | None = None
    try:
        with BarReader.open(home) as reader:
            choice = _choice_of(reader, run, configuration)
            if any(answer.reason is Reason.NOT_IN_UNIVERSE for answer in answers.values()):
                choice = obeying(choice, _configured(settings), universes(home))
            equity = marked_equity(reader, run, choice, fills, start)
        times = run.start_ms + np.arange(len(equity)) * Timeframe.parse(run.base).ms
        days = days_of(times, equity, start, zone)
    except (DataError, UsageError) as error:
        choice = _choice_without_bars(run)
        notes.append(f"its marked equity is not known: {error}")
    return Recorded(
        evidence=Evidence(
            name=f"run {run_id}",
            source=Source.RUN,
            start_ms=run.start_ms,
            end_ms=run.end_ms,
            base=run.base,
            symbols=run.symbols,
            strategies=run.strategies,
            synthetic=run.synthetic,
            timezone=zone,
            capital_quote=start,
            configuration=settings,
            configuration_version=run.configuration_version,
            code_version=run.code_version,
            data_hash=None,
            trades=tuple(trade for trade in trades if trade.exit_reason is not ExitReason.NONE),
            open_trades=tuple(trade for trade in trades if trade.exit_reason is ExitReason.NONE),
            running=(),
            carried=0,
            answers=answers,
            days=days,
            notes=tuple(notes),
        ),
        choice=choice,
    )


def marked_equity(
    reader: BarReader, run: Run, choice: Choice, fills: Sequence[Fill], capital_quote: float
) -> FloatArray:
    """The equity of a run at each close: cash after all fills so far, and what is held at its last closes.

    Raises DataError where the bars of the store are not those in which the run was filled.
    """
    base = Timeframe.parse(run.base)
    bars = (run.end_ms - run.start_ms) // base.ms
    cash = np.zeros(bars)
    held = np.zeros(bars)
    fills_of: dict[Symbol, list[Fill]] = {}
    for fill in fills:
        fills_of.setdefault(fill.symbol, []).append(fill)
    for symbol, mine in sorted(fills_of.items()):
        panel = StoredBars(reader, choice.provider_of, choice.history).panel(
            [symbol], base, run.start_ms, run.end_ms
        )
        quantity = np.zeros(bars)
        for fill in mine:
            row = (to_ms(fill.bar_open_time) - run.start_ms) // base.ms
            price = float(fill.price)
            inside = panel.low[row, 0] * (1.0 - _OUTSIDE) <= price <= panel.high[row, 0] * (1.0 + _OUTSIDE)
            if not inside and fill.exit_reason is not ExitReason.DATA_LOST:
                raise DataError(
                    f"the stored bars of {symbol} are not those of the run: it was filled at {price:g} at "
                    f"{from_ms(panel.open_time_ms[row]):%Y-%m-%d %H:%M}; backtest it again"
                )
            bought = 1.0 if fill.kind is not FillKind.EXIT else -1.0
            quantity[row] += bought * float(fill.quantity)
            cash[row] -= bought * float(fill.notional_quote) + float(fill.fee_quote)
        still = np.cumsum(quantity)
        marks = np.where(still > _NOTHING, still * _last_known(panel.close[:, 0]), 0.0)
        held += marks
    return capital_quote + np.cumsum(cash) + held


def _last_known(close: FloatArray) -> FloatArray:
    """At each bar the last close so far."""
    rows = np.where(np.isnan(close), 0, np.arange(len(close)))
    return np.asarray(close[np.maximum.accumulate(rows)])


def _choice_of(reader: BarReader, run: Run, configuration: Configuration) -> Choice:
    return choose(
        reader.series(),
        configuration,
        pairs=tuple(map(str, run.symbols)),
        timeframe=run.base,
        provider=None,
        start_ms=run.start_ms,
        end_ms=run.end_ms,
    )


def _configured(settings: Mapping[str, Any]) -> tuple[Symbol, ...]:
    """The universe in the configuration of a run."""
    universe = Universe.model_validate_json(json.dumps(settings["universe"]))
    return universe.members(settings["trading"]["quote"])


def _choice_without_bars(run: Run) -> Choice:
    return Choice(
        symbols=run.symbols,
        base=Timeframe.parse(run.base),
        start_ms=run.start_ms,
        end_ms=run.end_ms,
        provider_of={},
        reference_symbol=None,
        notes=(),
    )


# --- a bundle ----------------------------------------------------------------------------------


def recorded_bundle(path: Path) -> Recorded:
    """The result that a bundle holds, as it was written; raises DataError where it was changed since."""
    bundle = read_bundle(path)
    bundle.refuse_changed()
    return Recorded(evidence=_of_bundle(f"bundle {path.name}", bundle), choice=bundle.choice)


def _of_bundle(name: str, bundle: Bundle) -> Evidence:
    contents = bundle.contents
    figures, periods = contents.figures, contents.figures.breakdown.day
    equity = np.array([row.equity_final for row in periods], dtype=np.float64)
    before = np.concatenate([[figures.equity_start], equity[:-1]])
    return Evidence(
        name=name,
        source=Source.BUNDLE,
        start_ms=to_ms(figures.start),
        end_ms=to_ms(figures.end),
        base=figures.base,
        symbols=tuple(map(Symbol.parse, figures.symbols)),
        strategies=figures.strategies,
        synthetic=figures.synthetic,
        timezone=contents.configuration.trading.timezone,
        capital_quote=figures.equity_start,
        configuration=bundle.document["configuration"],
        configuration_version=contents.configuration_version,
        code_version=contents.code.version,
        data_hash=contents.data.hash,
        trades=tuple(map(_trade_of, contents.trades)),
        open_trades=tuple(map(_trade_of, contents.open_trades)),
        running=(),
        carried=0,
        answers=None,
        days=Days(
            day=np.array([row.first_day.toordinal() for row in periods], dtype=np.int64),
            start=figures.equity_start,
            equity=equity,
            high=np.maximum(before, equity),
            low=np.minimum(before, equity),
            drawdown=np.array([row.max_drawdown for row in periods], dtype=np.float64),
            exact=False,
        ),
        known_drawdown=figures.max_drawdown,
    )


def _trade_of(row: TradeRow) -> Trade:
    return Trade(
        trade_group_id=row.trade_group_id,
        symbol=Symbol.parse(row.symbol),
        strategy=row.strategy,
        decision_time=row.decision_time,
        entry_time=row.entry_time,
        exit_time=row.exit_time,
        entry_price=_exact(row.entry_price),
        exit_price=None if row.exit_price is None else _exact(row.exit_price),
        quantity=_exact(row.quantity),
        invested_quote=_exact(row.invested_quote),
        fee_quote=_exact(row.fee_quote),
        slippage_quote=_exact(row.slippage_quote),
        pnl_quote=_exact(row.pnl_quote),
        return_net=row.return_net,
        exit_reason=ExitReason.NONE if row.exit_reason is None else ExitReason[row.exit_reason.upper()],
        entry_fills=row.entry_fills,
        ambiguous=row.ambiguous,
        fallback=row.fallback,
    )


def _exact(value: float) -> Decimal:
    return Decimal(str(value))


# --- an account --------------------------------------------------------------------------------


def recorded_account(
    place: AccountPlace, *, count_known: bool = False
) -> tuple[Recorded, Account, AccountMinutes]:
    """A trading account up to its last minute; raises DataError where it has stepped none.

    With `count_known` the journal is also asked what was known of each minute, which takes a while.
    """
    with TradingViews.open(place.folder) as views:
        account, end_ms = views.account(), views.cursor_ms()
        if end_ms <= account.start_ms:
            raise DataError(f"the account {place.name} has traded no minute yet: let it run first")
        row, versions = views.configuration(), views.versions()
        trades = views.trades()
        positions = [each.trade for each in views.positions()]
        answers = _answers(views, (*trades, *positions))
    minutes = _minutes(place, account, end_ms, count_known=count_known)
    settings = json.loads(row.canonical)
    capital = float(account.capital_quote)
    zone = settings["trading"]["timezone"]
    notes = []
    if len(versions) > 1:
        notes.append(
            f"it has traded under {len(versions)} configurations; the last is {row.version}, since "
            f"{from_ms(versions[-1][1]):%Y-%m-%d %H:%M}"
        )
    evidence = Evidence(
        name=f"account {place.name}",
        source=Source.ACCOUNT,
        start_ms=account.start_ms,
        end_ms=end_ms,
        base=str(Timeframe.M1),
        symbols=account.symbols,
        strategies=account.strategies,
        synthetic=_SYNTHETIC in account.providers.values(),
        timezone=zone,
        capital_quote=capital,
        configuration=settings,
        configuration_version=row.version,
        code_version=account.code_version,
        data_hash=None,
        trades=tuple(trades),
        open_trades=tuple(positions),
        running=(),
        carried=0,
        answers=answers,
        days=days_of(minutes.time_ms, minutes.equity, capital, zone),
        notes=tuple(notes),
    )
    choice = Choice(
        symbols=account.symbols,
        base=Timeframe.M1,
        start_ms=account.start_ms,
        end_ms=end_ms,
        provider_of=account.providers,
        reference_symbol=account.reference,
        notes=(),
        history=settings["market_data"].get("history", ""),
    )
    return Recorded(evidence=evidence, choice=choice), account, minutes


def _answers(views: TradingViews, trades: Iterable[Trade]) -> dict[Setup, Answer]:
    """What became of every setup; how an order without a fill ended stands with the order."""
    traded = {setup_of(trade) for trade in trades}
    found = {
        (each.symbol, each.strategy, each.time_ms): Answer(each.reason, each.confidence)
        for each in views.setups(Where(verdicts=(Verdict.TAKE, Verdict.SKIP)))
    }
    unfilled = {
        ledger.trade_group_id(setup[0], setup[1], from_ms(setup[2])): setup
        for setup, answer in found.items()
        if answer.reason is Reason.ACCEPTED and setup not in traded
    }
    for group, orders in views.orders(list(unfilled)).items():
        ended = next((order.reason for order in orders if order.reason is not None), None)
        if ended is not None:
            setup = unfilled[group]
            found[setup] = Answer(ended, found[setup].confidence)
    return found


def _minutes(place: AccountPlace, account: Account, end_ms: int, *, count_known: bool) -> AccountMinutes:
    traded = len(account.symbols)
    known_of: dict[bytes, int] = {}
    parts: list[tuple[IntArray, IntArray, IntArray, IntArray]] = []
    with TradingJournal.open(place.folder) as journal:
        for start_ms in range(account.start_ms, end_ms, _AT_ONCE_MS):
            minutes = journal.minutes(start_ms, min(start_ms + _AT_ONCE_MS, end_ms))
            asked = minutes.seen if count_known else []
            for seen in set(asked) - known_of.keys():
                known_of[seen] = int((decode_revisions(seen)[:traded] != UNKNOWN).sum())
            known = np.array([known_of[seen] for seen in asked], dtype=np.int64)
            parts.append((minutes.time_ms, minutes.equity_e8, minutes.recorded_at_ms, known))
    times, equity, recorded, known = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    return AccountMinutes(time_ms=times, equity=equity / QUOTE, recorded_at_ms=recorded, known=known)


def account_uptime(
    account: Account, minutes: AccountMinutes, timezone: str, late_seconds: float
) -> DayShares | str:
    """Minutes that were recorded in time after their close, by day; a replay keeps no time."""
    if account.end_ms is not None:
        return "a replay keeps no time"
    due_ms = minutes.time_ms + MINUTE_MS + round(late_seconds * 1_000)
    return _by_day(
        minutes.time_ms,
        (minutes.recorded_at_ms <= due_ms).astype(np.float64),
        np.ones(len(minutes.time_ms)),
        timezone,
        f"minutes recorded at most {late_seconds:g} s after their close, by the account's journal",
    )


def account_quality(account: Account, minutes: AccountMinutes, timezone: str) -> DayShares:
    """Bars that were known when their minute was stepped, by day."""
    return _by_day(
        minutes.time_ms,
        minutes.known.astype(np.float64),
        np.full(len(minutes.time_ms), float(len(account.symbols))),
        timezone,
        "bars known when their minute was stepped, by the account's journal",
    )


def stored_quality(home: Path, evidence: Evidence, choice: Choice) -> DayShares | str:
    """What the store knows of the base bars of a span, by day, as it is now."""
    if not choice.provider_of:
        return "the store does not have its bars"
    base = Timeframe.parse(evidence.base)
    bars = (evidence.end_ms - evidence.start_ms) // base.ms
    known = np.zeros(bars)
    missing = []
    try:
        with BarReader.open(home) as reader:
            series = reader.series()
    except (DataError, StoreError) as error:
        return f"the store cannot be read: {error}"
    for symbol in evidence.symbols:
        pairs = [
            pair
            for info in series
            if info.symbol == symbol
            and info.provider in {choice.provider_of.get(symbol), choice.history}
            and info.timeframe in SOURCES[base]
            for pair in info.known
        ]
        if not pairs:
            missing.append(str(symbol))
        covered: BoolArray = intervals.covered_cells(
            intervals.as_intervals(pairs), evidence.start_ms, bars, base.ms
        )
        known += covered
    if len(missing) == len(evidence.symbols):
        return "the store does not have its bars"
    times = evidence.start_ms + np.arange(bars) * base.ms
    return _by_day(
        times,
        known,
        np.full(bars, float(len(evidence.symbols))),
        evidence.timezone,
        f"{base} bars known to the store now",
    )


def _by_day(
    time_ms: IntArray, good: FloatArray, everything: FloatArray, timezone: str, source: str
) -> DayShares:
    day, member = np.unique(day_numbers(time_ms, timezone), return_inverse=True)
    return DayShares(
        day=day,
        good=np.bincount(member, weights=good).astype(np.float64),
        all=np.bincount(member, weights=everything).astype(np.float64),
        source=source,
    )

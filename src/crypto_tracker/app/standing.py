"""How a trading account stands: what it is worth, whether it may open anything, and if not, why not.

Times of the market are compared with the account's cursor, the close of the last minute that was stepped,
never with the wall clock: an account that lags behind, or a replay, has its own present.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from decimal import Decimal

import numpy as np

from crypto_tracker.app.accounts import AccountPlace
from crypto_tracker.config.tree import Configuration
from crypto_tracker.core.arrays import CodeArray
from crypto_tracker.core.decisions import Condition, Regime, SlowRegime
from crypto_tracker.core.money import to_decimal
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import DAY_MS, HOUR_MS, MINUTE_MS, Timeframe, from_ms
from crypto_tracker.market.quality import why_doubtful
from crypto_tracker.portfolio.parameters import CORRELATION_HOURS, Limits
from crypto_tracker.portfolio.regime import follow_market, reference_lead_ms
from crypto_tracker.portfolio.trend import slow_regime_codes
from crypto_tracker.simulation.state import EMPTY, NO_HOUR
from crypto_tracker.store.control import Check
from crypto_tracker.store.quality import QualityRow, quality_at
from crypto_tracker.store.reader import BarReader
from crypto_tracker.store.sources import StoredBars
from crypto_tracker.store.trading_records import REFERENCE, Account, PositionRecord, Session
from crypto_tracker.store.trading_views import (
    Answered,
    Halted,
    Minute,
    Sums,
    TradingViews,
    checks,
    waiting_commands,
)
from crypto_tracker.strategies.base import Strategy
from crypto_tracker.strategies.needs import TREND_SPANS
from crypto_tracker.trading.seen import decode_cells, decode_rows
from crypto_tracker.trading.setting import stored_configuration
from crypto_tracker.trading.state import TraderState
from crypto_tracker.trading.window import Series

PERSON, CONFIGURATION, VOLATILITY, NO_SHARE = "person", "configuration", "volatility", "no_share"
HALTS_TOLD = 5
PRICE_AGE_MS = 10 * MINUTE_MS


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One account as it stood at one moment, its state decoded."""

    place: AccountPlace
    views: TradingViews
    account: Account
    cursor_ms: int
    state: TraderState
    configuration: Configuration
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Entries:
    """Whether any setup may be admitted; `why_not` are sentences, the most general first."""

    allowed: bool
    paused: bool
    paused_since_ms: int | None
    halted: str | None
    day_base_quote: Decimal
    day_pnl_quote: Decimal
    day_loss: float  # of the base, marked; negative while the day gains
    day_loss_max: float
    day_latched: bool
    peak_quote: Decimal  # highest equity at a close since the start or the last resume
    drawdown: float  # of the peak
    drawdown_max: float
    drawdown_latched: bool
    why_not: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketStanding:
    """The market at the last close. `returns` are of the reference, by hours; what is not known is None."""

    reference: Symbol | None
    regime: Regime
    forced: bool
    size_factor: float  # of the regime
    volatility: float | None
    returns: dict[int, float | None]
    condition: Condition | None
    favoured: str | None
    slow_regime: SlowRegime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StrategyStanding:
    """One strategy: who switched it off, its losing streak, and what it has at work.

    `used_quote` are the marks of its positions and the reserves of its orders, `share_quote` the most that
    they may come to when something is admitted: its share, or its largest exposure where that is less.
    """

    name: str
    off_by: tuple[str, ...]
    losing_streak: int
    rests_until_ms: int | None
    open_positions: int
    used_quote: Decimal
    share_quote: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class CoinStanding:
    """One symbol of which something is to be told: stops in a row, a cooldown, a block, doubtful bars.

    `score` is that of its data where it is too low to open anything, and `why` says what is wrong and what
    helps; None where it is not, or not measured.
    """

    symbol: Symbol
    stops: int
    cooldown_until_ms: int | None
    blocked: bool
    score: float | None
    why: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Breadth:
    """How many symbols stand above their price of 24 h ago, of those whose prices are known."""

    rising: int
    symbols: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CorrelationStanding:
    """What the correlation limit knows: hourly returns so far, and how many a coin must have."""

    hours: int
    hours_min: int
    limit: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Protection:
    """Everything that keeps the account from opening positions."""

    entries: Entries
    market: MarketStanding
    strategies: tuple[StrategyStanding, ...]
    coins: tuple[CoinStanding, ...]
    halts: tuple[Halted, ...]
    correlation: CorrelationStanding | None  # None where the limit is off
    losing_streak_limit: int
    cooldown_stops_limit: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Glance:
    """What the last minute alone says of the account, however long it has been traded."""

    entries: Entries
    regime: Regime
    forced: bool
    session: Session | None
    lag_ms: int | None  # of paper: how far the cursor is behind the clock
    progress: float | None  # of a replay
    minute: Minute | None
    equity_quote: Decimal
    cash_quote: Decimal
    reserved_quote: Decimal
    return_net: float
    open_positions: int
    pending_orders: int
    unrealised_quote: Decimal
    last_answer: Answered | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Status(Glance):
    """The account at a glance. Fractions are of one; None where a figure does not exist yet."""

    drawdown: float
    max_drawdown: float
    sums: Sums
    waiting_commands: int
    last_check: Check | None
    newest_bar_ms: int | None


@contextmanager
def reading(place: AccountPlace, strategies: Mapping[str, Strategy]) -> Iterator[Reading]:
    """Read an account; raises ConfigError where its configuration needs a strategy that is not installed."""
    with TradingViews.open(place.folder) as views:
        row = views.configuration()
        yield Reading(
            place=place,
            views=views,
            account=views.account(),
            cursor_ms=views.cursor_ms(),
            state=TraderState.from_bytes(views.state()),
            configuration=stored_configuration(row, strategies),
            version=row.version,
        )


def status(read: Reading, *, newest_bar_ms: int | None, now_ms: int) -> Status:
    """The account at a glance; `newest_bar_ms` is the end of the newest stored minute that it watches.

    What it adds up takes as long as the account is old: `glance` is what does not.
    """
    views, capital = read.views, read.account.capital_quote
    seen = glance(read, read.views.positions(), now_ms=now_ms)
    peak = max(views.peak_equity() or capital, capital)
    found = checks(read.place.folder, limit=1)
    return Status(
        **{each.name: getattr(seen, each.name) for each in fields(seen)},
        drawdown=float(1 - seen.equity_quote / peak),
        max_drawdown=views.max_drawdown(),
        sums=views.sums(),
        waiting_commands=waiting_commands(read.place.folder, views),
        last_check=found[0] if found else None,
        newest_bar_ms=newest_bar_ms,
    )


def glance(read: Reading, held: Sequence[PositionRecord], *, now_ms: int | None) -> Glance:
    """What the last minute alone says of the account, and of all that it holds; bounded whatever its age.

    Without the time of the clock nothing is said of how far it lags behind.
    """
    views, account = read.views, read.account
    book = read.state.portfolio.book[0]
    equity = to_decimal(book["equity"])
    sessions, answers = views.sessions(limit=1), views.answers(limit=1)
    span_ms = None if account.end_ms is None else account.end_ms - account.start_ms
    return Glance(
        entries=entries(read, now_ms=now_ms),
        regime=_regime(read.state),
        forced=read.state.forced_regime is not None,
        session=sessions[0] if sessions else None,
        lag_ms=None if now_ms is None or account.end_ms is not None else max(now_ms - read.cursor_ms, 0),
        progress=None if span_ms is None else (read.cursor_ms - account.start_ms) / span_ms,
        minute=views.latest_minute(),
        equity_quote=equity,
        cash_quote=to_decimal(book["cash"]),
        reserved_quote=to_decimal(book["reserved"]),
        return_net=float(equity / account.capital_quote - 1),
        open_positions=len(held),
        pending_orders=views.pending_orders(),
        unrealised_quote=sum((each.trade.pnl_quote for each in held), Decimal(0)),
        last_answer=answers[0] if answers else None,
    )


def protection(read: Reading, *, reader: BarReader | None, now_ms: int | None = None) -> Protection:
    """Everything that keeps the account from opening positions."""
    rules = read.configuration.protection
    return Protection(
        entries=entries(read, now_ms=now_ms),
        market=market_standing(read, reader=reader),
        strategies=strategy_standings(read, read.views.positions()),
        coins=coin_standings(read, reader=reader),
        halts=tuple(read.views.halts(limit=HALTS_TOLD)),
        correlation=_correlation(read),
        losing_streak_limit=rules.losing_streak,
        cooldown_stops_limit=rules.cooldown_stops,
    )


def strategy_standings(read: Reading, held: Sequence[PositionRecord]) -> tuple[StrategyStanding, ...]:
    """Every strategy of the account, with what it has of all that is held."""
    portfolio, limits = read.state.portfolio, read.configuration.limits
    equity = int(portfolio.book["equity"][0])
    mine: dict[str, list[PositionRecord]] = {name: [] for name in read.account.strategies}
    for each in held:
        mine[each.trade.strategy].append(each)
    return tuple(
        StrategyStanding(
            name=name,
            off_by=_off_by(read, index),
            losing_streak=int(portfolio.strategies[index]["streak"]),
            rests_until_ms=_still(portfolio.strategies[index]["blocked_ms"], read.cursor_ms),
            open_positions=len(mine[name]),
            used_quote=_used(read, index, mine[name]),
            share_quote=to_decimal(round(_share_of_equity(limits, name) * equity)),
        )
        for index, name in enumerate(read.account.strategies)
    )


def coin_standings(read: Reading, *, reader: BarReader | None) -> tuple[CoinStanding, ...]:
    """The symbols of which something is to be told."""
    doubtful, quality = _doubtful(read, reader), read.configuration.market_data.quality
    return tuple(
        CoinStanding(
            symbol=symbol,
            stops=int(coin["stops"]),
            cooldown_until_ms=_still(coin["cooldown_ms"], read.cursor_ms),
            blocked=bool(coin["blocked"]),
            score=doubtful[symbol].score if symbol in doubtful else None,
            why=why_doubtful(doubtful[symbol], quality) if symbol in doubtful else None,
        )
        for symbol, coin in zip(read.account.symbols, read.state.portfolio.coins, strict=True)
        if coin["stops"] or coin["blocked"] or coin["cooldown_ms"] > read.cursor_ms or symbol in doubtful
    )


def breadth(read: Reading, *, reader: BarReader | None) -> Breadth | None:
    """How many symbols rose in 24 h, by stored bars; None where no price of then is known."""
    if reader is None:
        return None
    then_ms = read.cursor_ms - DAY_MS
    start_ms = Timeframe.M1.floor(then_ms - breadth_age_ms(read.configuration))
    source = StoredBars(reader, read.account.providers, read.configuration.market_data.history)
    closes = source.panel(read.account.symbols, Timeframe.M1, start_ms, then_ms).close
    before = {
        symbol: float(known[-1])
        for column, symbol in enumerate(read.account.symbols)
        if len(known := closes[~np.isnan(closes[:, column]), column])
    }
    return breadth_since(read.account, read.state, before)


def breadth_age_ms(configuration: Configuration) -> int:
    """How old a price may be to be that of 24 h ago."""
    return max(round(configuration.protection.fast_regime.max_age_minutes * MINUTE_MS), MINUTE_MS)


def breadth_since(account: Account, state: TraderState, before: Mapping[Symbol, float]) -> Breadth | None:
    """How many symbols stand above a price of before; None where there is none of any."""
    rising = known = 0
    for symbol, price in zip(account.symbols, state.portfolio.coins["last_close"].tolist(), strict=True):
        if symbol in before and not np.isnan(price):
            known += 1
            rising += price > before[symbol]
    return Breadth(rising=rising, symbols=known) if known else None


SILENT_MS = 10 * MINUTE_MS
"""Without a bar for so long by the clock, paper trading is said to have none."""


def silence(account: Account, cursor_ms: int, now_ms: int) -> str | None:
    """What to say where paper trading has no bars to trade on, None where it has or is a replay."""
    if account.end_ms is not None or now_ms - cursor_ms < SILENT_MS:
        return None
    since = f"{from_ms(cursor_ms):%Y-%m-%d %H:%M} UTC"
    return f"no minute was stepped since {since}: nothing is bought or sold until bars come and it is traded"


def entries(read: Reading, *, now_ms: int | None = None) -> Entries:
    """Whether any setup may be admitted, and what stands against it.

    With the time of the clock, also whether paper trading has bars at all.
    """
    book, state = read.state.portfolio.book[0], read.state
    rules = read.configuration.protection
    limit = rules.day_loss_max
    base, equity = to_decimal(book["day_base"]), to_decimal(book["equity"])
    loss = float((base - equity) / base) if base else 0.0
    peak = to_decimal(book["peak"])
    drawdown = float((peak - equity) / peak) if peak else 0.0
    paused = bool(book["paused"])
    since_ms = read.views.last_applied_ms("pause") if paused else None
    silent = None if now_ms is None else silence(read.account, read.cursor_ms, now_ms)
    why_not = [] if silent is None else [silent]
    if state.halted is not None:
        why_not.append(f"halted by a critical error, until a person resumes: {state.halted}")
    elif paused:
        since = "" if since_ms is None else f" since {from_ms(since_ms):%Y-%m-%d %H:%M} UTC"
        why_not.append(f"paused by a person{since}")
    if book["day_latched"]:
        why_not.append(
            f"the day has lost {100 * loss:.2f} % (at {100 * limit:g} % nothing is opened until it ends)"
        )
    if book["drawdown_latched"]:
        why_not.append(
            f"equity is {100 * drawdown:.2f} % below its peak of {peak:,.2f} "
            f"(at {100 * rules.drawdown_max:g} % nothing is opened until a person resumes)"
        )
    if _regime(state) is Regime.PANIC:
        why_not.append("the market is in PANIC, which opens nothing")
    off = [name for index, name in enumerate(read.account.strategies) if _off_by(read, index)]
    if len(off) == len(read.account.strategies):
        why_not.append("every strategy is switched off")
    return Entries(
        allowed=not why_not,
        paused=paused,
        paused_since_ms=since_ms,
        halted=state.halted,
        day_base_quote=base,
        day_pnl_quote=equity - base,
        day_loss=loss,
        day_loss_max=limit,
        day_latched=bool(book["day_latched"]),
        peak_quote=peak,
        drawdown=drawdown,
        drawdown_max=rules.drawdown_max,
        drawdown_latched=bool(book["drawdown_latched"]),
        why_not=tuple(why_not),
    )


def market_standing(read: Reading, *, reader: BarReader | None) -> MarketStanding:
    """The market at the last close: the regime as the trader holds it, the rest from the reference's bars."""
    minute = read.views.latest_minute()
    rules = read.configuration.protection
    regime = _regime(read.state)
    factors = rules.fast_regime.size_factors
    returns: dict[int, float | None] = dict.fromkeys((1, 4, 24, 48))
    condition: Condition | None = None
    favoured: str | None = None
    reference = read.account.reference
    if reference is not None and reader is not None and minute is not None:
        lead_ms = reference_lead_ms(rules)
        source = StoredBars(reader, read.account.providers, read.configuration.market_data.history)
        panel = source.panel([reference], Timeframe.M1, minute.time_ms - lead_ms, minute.time_ms + MINUTE_MS)
        forced: CodeArray = np.array([read.state.forced], dtype=np.int8)
        market, _ = follow_market(panel, read.account.strategies, rules, forced, read.state.carry)
        returns = {
            hours: _number(value) for hours, value in zip(returns, market.returns[-1].tolist(), strict=True)
        }
        condition = Condition(int(market.condition[-1]))
        preferred = int(market.preferred[-1])
        favoured = read.account.strategies[preferred] if preferred >= 0 else None
    return MarketStanding(
        reference=reference,
        regime=regime,
        forced=read.state.forced_regime is not None,
        size_factor=float(getattr(factors, regime.name.lower())),
        volatility=None if minute is None else minute.volatility,
        returns=returns,
        condition=condition,
        favoured=favoured,
        slow_regime=_slow_regime(read),
    )


def reference_price(read: Reading, *, reader: BarReader | None) -> float | None:
    """The last close of the reference that is no older than some minutes; None where there is none."""
    account = read.account
    reference = account.reference
    if reference is None:
        return None
    if reference in account.symbols:
        return _number(float(read.state.portfolio.coins["last_close"][account.symbols.index(reference)]))
    if reader is None:
        return None
    span = read.cursor_ms - PRICE_AGE_MS, read.cursor_ms
    panel = reader.panel([reference], Timeframe.M1, *span, provider=account.providers[reference])
    known = panel.close[~np.isnan(panel.close[:, 0]), 0]
    return float(known[-1]) if len(known) else None


def _doubtful(read: Reading, reader: BarReader | None) -> dict[Symbol, QualityRow]:
    """The symbols that open nothing now, as their bars score too little; a replay asks for no score."""
    if reader is None or read.account.end_ms is not None:
        return {}
    settings = read.configuration.market_data.quality
    rows = reader.consistently(
        lambda connection: quality_at(connection, read.cursor_ms, settings.valid_minutes)
    )
    return {
        symbol: row
        for symbol in read.account.symbols
        if (row := rows.get((read.account.providers[symbol], symbol))) is not None
        and row.score < settings.score_min
    }


def _used(read: Reading, index: int, positions: Sequence[PositionRecord]) -> Decimal:
    """Marks of a strategy's positions and reserves of its orders, as the limits count them."""
    portfolio = read.state.portfolio
    mine = (portfolio.slots["phase"] != EMPTY) & (portfolio.slots["strategy"] == index)
    parts = portfolio.parts[mine]
    reserves = int(parts["reserve"][parts["open"]].sum())
    marks = sum(round(float(each.open_quantity) * each.mark_price * 1e8) for each in positions)
    return to_decimal(reserves + marks)


def _share_of_equity(limits: Limits, name: str) -> float:
    return min(limits.shares.get(name, 0.0) * (1.0 - limits.reserve), limits.max_strategy_exposure)


def _correlation(read: Reading) -> CorrelationStanding | None:
    limits = read.configuration.limits
    if not limits.correlation_limit:
        return None
    newest_ms = read.cursor_ms - read.cursor_ms % HOUR_MS
    kept = read.state.portfolio.hours_ms
    hours = int(((kept > NO_HOUR) & (kept >= newest_ms - CORRELATION_HOURS * HOUR_MS)).sum())
    return CorrelationStanding(
        hours=max(hours - 1, 0), hours_min=limits.correlation_hours_min, limit=limits.max_correlation
    )


def _slow_regime(read: Reading) -> SlowRegime | None:
    """The trend at the last daily close, of the reference's days as they were seen; None without any."""
    if read.account.reference is None:
        return None
    rules = read.configuration.protection.slow_regime
    wanted = TREND_SPANS * rules.trend_bars
    history, seen, healed = read.views.seen_bars(REFERENCE, Timeframe.D1, limit=wanted)
    days = Series(Timeframe.D1, (read.account.reference,))
    if history is not None and len(seen) < wanted:
        days.extend(decode_rows(history))
    for block in seen:
        days.extend(decode_rows(block.block))
    for block in healed:
        days.set_cells(decode_cells(block.block))
    return SlowRegime(int(slow_regime_codes(days.panel(), rules)[-1])) if len(days) else None


def _regime(state: TraderState) -> Regime:
    forced = state.forced_regime
    return state.carry.regime if forced is None else forced


def _off_by(read: Reading, index: int) -> tuple[str, ...]:
    """Who switched a strategy off; nobody where it may trade."""
    name, configuration = read.account.strategies[index], read.configuration
    found = []
    if read.state.portfolio.strategies[index]["off"]:
        found.append(PERSON)
    if name in configuration.trading.switched_off:
        found.append(CONFIGURATION)
    if not read.state.carry.switched_on[index]:
        found.append(VOLATILITY)
    if not configuration.limits.shares.get(name):
        found.append(NO_SHARE)
    return tuple(found)


def _still(until_ms: int, cursor_ms: int) -> int | None:
    """A time that has not come yet, else None."""
    return int(until_ms) if until_ms > cursor_ms else None


def _number(value: float) -> float | None:
    return None if np.isnan(value) else value

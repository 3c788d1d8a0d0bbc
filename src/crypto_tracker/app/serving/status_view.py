"""How an account stands, as pages show it: what it is worth, where that is, and whether all is well."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from crypto_tracker.app.serving.equity_levels import EquityLevels
from crypto_tracker.app.serving.market_view import MarketNow
from crypto_tracker.app.serving.present import Present
from crypto_tracker.app.serving.trade_columns import Totals
from crypto_tracker.app.standing import SILENT_MS, Entries
from crypto_tracker.core.money import QUOTE_SCALE, added, to_decimal
from crypto_tracker.core.timeframes import MINUTE_MS, from_ms
from crypto_tracker.desk.views import accounts as views
from crypto_tracker.store.control import Check, Command
from crypto_tracker.store.trading_records import PositionRecord

WAITING_LONG_MS = 3 * MINUTE_MS
"""Paper trading answers a command before its next minute; one that waits for longer than this is told of."""
BAR_OLD_MS = 5 * MINUTE_MS
"""The newest bar of paper trading is told of once it ended longer ago than this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Around:
    """What is known of an account besides its own records.

    Attributes
    ----------
    running : whether a process trades it now
    waiting : commands that have no answer yet, oldest first
    newest_bar_ms : end of the newest stored minute that it watches
    """

    now_ms: int
    running: bool
    synthetic: bool
    waiting: Sequence[Command]
    last_check: Check | None
    newest_bar_ms: int | None


def status_view(
    present: Present, around: Around, *, closed: Totals, equity: EquityLevels, market: MarketNow
) -> views.Status:
    """The account at a glance."""
    account, glance, scope = present.account, present.glance, present.scope
    limits, now_ms = scope.configuration.limits, around.now_ms
    entries = present.entries(now_ms)
    held, sums = [each.trade for each in present.held], closed.view()
    invested = float(added(each.invested_quote for each in held))
    unrealised = float(glance.unrealised_quote)
    light, why = light_of(present, around, entries)
    base = float(entries.day_base_quote)
    day_pnl = float(entries.day_pnl_quote)
    return views.Status.model_validate(
        {
            "account": scope.account,
            "kind": account.kind,
            "running": around.running,
            "synthetic": around.synthetic,
            "light": light,
            "light_why": why,
            "now_ms": now_ms,
            "start_ms": account.start_ms,
            "end_ms": account.end_ms,
            "until_ms": present.cursor_ms,
            "lag_ms": None if account.end_ms is not None else max(now_ms - present.cursor_ms, 0),
            "progress": glance.progress,
            "ended": present.ended and account.end_ms is not None,
            "configuration_version": scope.version,
            "timezone": scope.configuration.trading.timezone,
            "quote": scope.quote,
            "capital_quote": float(account.capital_quote),
            "equity_quote": float(glance.equity_quote),
            "cash_quote": float(glance.cash_quote),
            "reserved_quote": float(glance.reserved_quote),
            "invested_quote": invested,
            "exposure_quote": sum(map(_worth_e8, present.held)) / QUOTE_SCALE,
            "unrealised_quote": unrealised,
            "unrealised_fraction": unrealised / invested if invested else None,
            "realised_quote": sums.pnl_quote,
            "realised_fraction": sums.return_on_invested,
            "return_net": glance.return_net,
            "day_pnl_quote": day_pnl,
            "day_return": day_pnl / base if base else None,
            "drawdown": equity.drawdown,
            "max_drawdown": equity.max_drawdown,
            "fee_quote": float(to_decimal(closed.fee_e8) + added(each.fee_quote for each in held)),
            "slippage_quote": float(
                to_decimal(closed.slippage_e8) + added(each.slippage_quote for each in held)
            ),
            "open_positions": glance.open_positions,
            "max_open_positions": limits.max_open,
            "pending_orders": glance.pending_orders,
            "counters": [
                views.Counter(
                    strategy=each.name,
                    open=each.open_positions,
                    max_open=limits.max_open_per_strategy,
                    used_quote=float(each.used_quote),
                    share_quote=float(each.share_quote),
                )
                for each in present.strategies
            ],
            "closed": sums,
            "regime": glance.regime.name,
            "regime_forced": glance.forced,
            "reference": None if account.reference is None else str(account.reference),
            "reference_price": market.reference_price,
            "reference_return_24h": market.standing.returns.get(24),
            "entries": entries_view(entries),
            "waiting_commands": len(around.waiting),
            "newest_bar_ms": around.newest_bar_ms,
            "process": _process(present),
            "last_check": None if around.last_check is None else _check(around.last_check),
        }
    )


def entries_view(entries: Entries) -> views.Entries:
    """Whether any setup may be admitted."""
    return views.Entries(
        allowed=entries.allowed,
        why_not=list(entries.why_not),
        paused=entries.paused,
        paused_since_ms=entries.paused_since_ms,
        halted=entries.halted,
        day_base_quote=float(entries.day_base_quote),
        day_pnl_quote=float(entries.day_pnl_quote),
        day_loss=entries.day_loss,
        day_loss_max=entries.day_loss_max,
        day_latched=entries.day_latched,
        peak_quote=float(entries.peak_quote),
        drawdown=entries.drawdown,
        drawdown_max=entries.drawdown_max,
        drawdown_latched=entries.drawdown_latched,
    )


def light_of(present: Present, around: Around, entries: Entries) -> tuple[str, list[str]]:
    """Green, yellow, red or off, and the sentences that say why it is not green."""
    account = present.account
    if present.ended and account.end_ms is not None:
        return "off", [f"it has come to its end at {_minute(account.end_ms)}"]
    wrong = _wrong(present, around)
    if wrong:
        return "red", [*wrong, *(each for each in _told(present, around, entries) if each not in wrong)]
    if not around.running and account.end_ms is not None:
        way = int(100 * (present.cursor_ms - account.start_ms) / (account.end_ms - account.start_ms))
        where = f"stopped at {_minute(present.cursor_ms)}, {way} % of the way"
        return "off", [f"{where}: `crypto-tracker trade` goes on with it"]
    if not around.running:
        session = present.glance.session
        since = (
            "" if session is None or session.ended_at_ms is None else f" since {_minute(session.ended_at_ms)}"
        )
        return "off", [f"nobody trades it{since}: `crypto-tracker trade` goes on with it"]
    told = _told(present, around, entries)
    return ("yellow", told) if told else ("green", [])


def balance_view(present: Present) -> views.Balance:
    """Cash, reserves and positions, by strategy and by symbol."""
    scope, glance = present.scope, present.glance
    equity = float(glance.equity_quote)
    by_strategy: dict[str, int] = defaultdict(int)  # in 1e-8 quote, as all that follows
    by_symbol: dict[str, int] = defaultdict(int)
    for each in present.held:
        by_strategy[each.trade.strategy] += _worth_e8(each)
        by_symbol[str(each.trade.symbol)] += _worth_e8(each)
    symbol_limit = scope.configuration.limits.max_symbol_exposure * equity
    parts = [
        _part("cash", "cash", float(glance.cash_quote), equity, None),
        _part("reserved", "reserved", float(glance.reserved_quote), equity, None),
        *(
            _part(
                each.name, "strategy", by_strategy[each.name] / QUOTE_SCALE, equity, float(each.share_quote)
            )
            for each in present.strategies
        ),
        *(
            _part(name, "symbol", worth_e8 / QUOTE_SCALE, equity, symbol_limit)
            for name, worth_e8 in sorted(by_symbol.items(), key=lambda pair: (-pair[1], pair[0]))
        ),
    ]
    return views.Balance(
        quote=scope.quote,
        equity_quote=equity,
        cash_quote=float(glance.cash_quote),
        reserved_quote=float(glance.reserved_quote),
        exposure_quote=sum(by_symbol.values()) / QUOTE_SCALE,
        parts=parts,
    )


def _wrong(present: Present, around: Around) -> list[str]:
    """Why it does not do what it should."""
    halted, session = present.state.halted, present.glance.session
    wrong = [] if halted is None else [f"halted by a critical error, until a person resumes: {halted}"]
    if not around.running and session is not None and session.ended_at_ms is None:
        wrong.append(
            f"the process {session.pid} on {session.host} that traded it has gone without a word: "
            "`crypto-tracker trade` goes on where it stopped"
        )
    silent = present.account.end_ms is None and around.now_ms - present.cursor_ms >= SILENT_MS
    if silent and around.running:
        wrong.append(
            f"no minute was stepped since {_minute(present.cursor_ms)}: "
            "nothing is bought or sold until bars come"
        )
    return wrong


def _told(present: Present, around: Around, entries: Entries) -> list[str]:
    """What a person should know though it trades."""
    now_ms, cursor_ms = around.now_ms, present.cursor_ms
    told = list(entries.why_not)
    late = [each for each in around.waiting if _waits_long(each, cursor_ms, now_ms)]
    if late:
        several = f"{len(late)} commands wait" if len(late) > 1 else f"the command {late[0].kind} waits"
        told.append(f"{several} for an answer since {_minute(late[0].created_at_ms)}")
    check = around.last_check
    if check is not None and check.differences:
        plural = "s" if check.differences > 1 else ""
        told.append(
            f"the last parity check found {check.differences} difference{plural} between "
            f"{_minute(check.start_ms)} and {_minute(check.end_ms)}: `crypto-tracker parity` shows them"
        )
    newest = around.newest_bar_ms
    if present.account.end_ms is None and (newest is None or now_ms - newest >= BAR_OLD_MS):
        told.append(
            "no bar of its symbols is stored"
            if newest is None
            else f"the newest bar of its symbols is of {_minute(newest)}: the collector brings no others"
        )
    return told


def _waits_long(command: Command, cursor_ms: int, now_ms: int) -> bool:
    due = command.not_before_ms is None or command.not_before_ms <= cursor_ms
    return due and now_ms - command.created_at_ms >= WAITING_LONG_MS


def _part(name: str, kind: str, value: float, equity: float, limit: float | None) -> views.Allocation:
    return views.Allocation.model_validate(
        {
            "name": name,
            "kind": kind,
            "value_quote": value,
            "fraction": value / equity if equity else 0.0,
            "limit_quote": limit,
        }
    )


def _process(present: Present) -> views.Process | None:
    session = present.glance.session
    if session is None:
        return None
    return views.Process(
        pid=session.pid,
        host=session.host,
        started_at_ms=session.started_at_ms,
        ended_at_ms=session.ended_at_ms,
        code_version=session.code_version,
    )


def _check(check: Check) -> views.LastCheck:
    return views.LastCheck(
        start_ms=check.start_ms,
        end_ms=check.end_ms,
        differences=check.differences,
        created_at_ms=check.created_at_ms,
    )


def _worth_e8(record: PositionRecord) -> int:
    """What a position is worth at its mark, in 1e-8 quote."""
    return round(float(record.open_quantity) * record.mark_price * QUOTE_SCALE)


def _minute(time_ms: int) -> str:
    return f"{from_ms(time_ms):%Y-%m-%d %H:%M} UTC"

"""What the commands that read a trading account print for people, within 80 columns."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from rich.table import Table
from rich.text import Text

from crypto_tracker.app.cli.backtest_view import percent
from crypto_tracker.app.cli.common import Session
from crypto_tracker.app.decided import Decided
from crypto_tracker.app.screen.text import whole
from crypto_tracker.app.standing import (
    CONFIGURATION,
    NO_SHARE,
    PERSON,
    VOLATILITY,
    Breadth,
    CorrelationStanding,
    Entries,
    MarketStanding,
    Protection,
    Reading,
    Status,
    StrategyStanding,
)
from crypto_tracker.core.decisions import Condition, Reason, Regime, Verdict
from crypto_tracker.core.orders import Trade
from crypto_tracker.core.timeframes import DAY_MS, HOUR_MS, MINUTE_MS, from_ms
from crypto_tracker.store.trading_records import OrderRecord, PositionRecord
from crypto_tracker.store.trading_views import Sums, Where

_WIDE = 96  # columns from which on tables have air between their columns
_REASONS_NAMED = 6
_OFF_BY = {
    PERSON: "a person",
    CONFIGURATION: "the configuration",
    VOLATILITY: "volatility",
    NO_SHARE: "having no share of the capital",
}
_VERDICT_COLOURS = {Verdict.TAKE: "green", Verdict.NEAR_MISS: "yellow", Verdict.SKIP: "red"}


def show_heading(session: Session, read: Reading) -> None:
    """The first line of every command: which account, whether it is traded now, and up to which minute."""
    place, account = read.place, read.account
    line = Text(f"Account {place.name}", style="bold")
    if not place.name.startswith(account.kind):
        line.append(f" ({account.kind})", style="not bold")
    running = "traded now" if place.running else "not traded now"
    line.append(f"  {running}", style="not bold green" if place.running else "not bold yellow")
    if read.cursor_ms == account.start_ms:
        line.append(f", starts at {_minute(account.start_ms)} UTC", style="not bold dim")
    else:
        line.append(f", up to {_minute(read.cursor_ms)} UTC", style="not bold dim")
    session.out.print(line)


def show_status(session: Session, read: Reading, status: Status, now_ms: int) -> None:
    """The account at a glance."""
    out = session.out
    show_heading(session, read)
    out.print(Text("\n".join(_life(read, status, now_ms)), style="dim"))
    out.print()
    sums = status.sums
    left = [
        ("Equity, marked", Text(_money(status.equity_quote))),
        ("Free cash", Text(_money(status.cash_quote))),
        ("Reserved for orders", Text(_money(status.reserved_quote))),
        ("Day so far", _gain(status.entries.day_pnl_quote)),
        ("Return since the start", _share(status.return_net)),
        ("Below the highest equity", Text(percent(status.drawdown))),
        ("Maximum drawdown", Text(percent(status.max_drawdown))),
    ]
    right = [
        ("Open positions", Text(f"{status.open_positions:,}")),
        ("Their result, marked", _gain(status.unrealised_quote)),
        ("Waiting buy orders", Text(f"{status.pending_orders:,}")),
        ("Closed trades", Text(f"{sums.trades:,}")),
        ("Win rate", Text(percent(sums.win_rate))),
        ("Result of closed trades", _gain(sums.pnl_quote)),
        ("Fees of closed trades", Text(_money(sums.fee_quote))),
    ]
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 3, 0, 0))
    for _ in range(2):
        table.add_column(style="dim")
        table.add_column(justify="right", no_wrap=True)
    for (name, value), (name_right, value_right) in zip(left, right, strict=True):
        table.add_row(name, value, name_right, value_right)
    out.print(table)
    out.print()
    _show_entries(session, status.entries)
    out.print(Text("Regime ").append_text(_regime(status.regime, forced=status.forced)))
    if status.last_answer is not None:
        result = status.last_answer.result
        out.print(
            Text(
                f"Last command: {result.kind} {result.status} at {_minute(status.last_answer.time_ms)} UTC: "
                f"{result.sentence}",
                style="" if result.status == "applied" else "yellow",
            )
        )
    if status.waiting_commands:
        out.print(
            Text(f"{_counted(status.waiting_commands, 'command')} without an answer yet", style="yellow")
        )
    check = status.last_check
    if check is not None:
        span = f"{_minute(check.start_ms)} to {_minute(check.end_ms)} UTC"
        what = _counted(check.differences, "difference") if check.differences else "no difference"
        out.print(Text(f"Last parity check: {span}, {what}", style="red" if check.differences else ""))
    out.print(Text(f"configuration {read.version}", style="dim"))


def show_trades(session: Session, read: Reading, where: Where, trades: Sequence[Trade]) -> None:
    """Closed trades, the last one at the end, and the sums of all that were asked for."""
    out = session.out
    show_heading(session, read)
    sums = read.views.sums(where)
    if not sums.trades:
        out.print("No trade has closed yet." if where == Where() else "No closed trade is like that.")
        return
    if len(trades) < sums.trades:
        out.print(
            Text(
                f"the last {len(trades):,} of {sums.trades:,} trades; --limit or --json have more",
                style="dim",
            )
        )
    out.print()
    table = _table(_gap(session))
    for name in ("Closed", "Symbol", "Strategy"):
        table.add_column(name, overflow="fold", no_wrap=name == "Closed")
    for name in ("Held", "Invested", "P&L", "Return"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("Exit", overflow="fold")
    for trade in trades:
        closed = trade.exit_time or trade.entry_time
        table.add_row(
            format(closed, "%Y-%m-%d %H:%M" if session.out.width >= _WIDE else "%m-%d %H:%M"),
            str(trade.symbol),
            trade.strategy,
            _length(int((closed - trade.entry_time).total_seconds() * 1_000)),
            _money(trade.invested_quote),
            _gain(trade.pnl_quote),
            _share(trade.return_net),
            trade.exit_reason.code.replace("_", " "),
        )
    out.print(table)
    out.print()
    out.print(_sums_line(sums))


def show_positions(
    session: Session,
    read: Reading,
    held: Sequence[PositionRecord],
    orders: Mapping[str, Sequence[OrderRecord]],
) -> None:
    """What is held, one after the other."""
    out = session.out
    show_heading(session, read)
    if not held:
        out.print("Nothing is held.")
        return
    total = sum((each.trade.pnl_quote for each in held), Decimal(0))
    out.print(Text(f"{_counted(len(held), 'position')}, marked ").append_text(_gain(total)))
    for each in held:
        trade = each.trade
        out.print()
        line = Text(str(trade.symbol), style="bold")
        line.append(f"  {trade.strategy}  ", style="not bold dim")
        line.append_text(_gain(trade.pnl_quote)).append("  ").append_text(_share(trade.return_net))
        out.print(line)
        _point(
            session,
            f"{_amount(each.open_quantity)} bought at {_price(trade.entry_price)} from "
            f"{trade.entry_time:%Y-%m-%d %H:%M} UTC on for {_money(trade.invested_quote)}, "
            f"now at {_price(each.mark_price)}",
        )
        stop = "trailing stop" if each.trailing_armed else "stop"
        _point(
            session,
            f"{stop} {_price(each.stop_price)} ({_from(each.mark_price, each.stop_price)}), "
            f"target {_price(each.target_price)} ({_from(each.mark_price, each.target_price)})"
            f"{'' if each.trailing_armed else ', trailing stop not armed'}",
        )
        left_ms = each.due_ms - read.cursor_ms
        _point(
            session,
            f"closed by time at {_minute(each.due_ms)} UTC, in {_length(left_ms)}"
            if left_ms > 0
            else f"closed by time since {_minute(each.due_ms)} UTC, at the next open",
        )
        if each.exit_pending is not None:
            _point(session, f"being closed: {each.exit_pending.code.replace('_', ' ')}", style="yellow")
        for order in orders.get(trade.trade_group_id, ()):
            _point(session, _order(order), style="dim")


def show_protection(session: Session, read: Reading, found: Protection, risen: Breadth | None) -> None:
    """Everything that keeps the account from opening positions."""
    out = session.out
    show_heading(session, read)
    out.print()
    _show_entries(session, found.entries)
    entries = found.entries
    _point(
        session,
        f"the day began with {_money(entries.day_base_quote)} and stands at {_signed(entries.day_pnl_quote)} "
        f"({100 * (0.0 - entries.day_loss):+.2f} %); at {100 * -entries.day_loss_max:+g} % it opens "
        "nothing more",
    )
    _point(
        session,
        f"the peak of the equity is {_money(entries.peak_quote)}, it stands {percent(entries.drawdown)} "
        f"below; at {100 * entries.drawdown_max:g} % nothing is opened until a person resumes",
    )
    for halted in found.halts:
        found_at = _minute(halted.time_ms + MINUTE_MS)
        _point(session, f"{found_at} UTC {halted.halt.cause}: {halted.halt.sentence}", style="red")
    out.print()
    _show_market(session, found.market)
    if risen is not None:
        _point(session, f"{risen.rising} of {risen.symbols} symbols stand above their price of 24 h ago")
    if found.correlation is not None:
        _point(session, _correlation(found.correlation))
    out.print()
    table = _table(_gap(session), "Strategies")
    for name in ("", "Open", "At work", "Of at most", "Losses in a row", ""):
        table.add_column(name, justify="right" if name else "left", overflow="fold")
    for each in found.strategies:
        table.add_row(
            each.name,
            f"{each.open_positions:,}",
            _money(each.used_quote),
            _money(each.share_quote),
            f"{each.losing_streak} of {found.losing_streak_limit}",
            _strategy(each, read.cursor_ms),
        )
    out.print(table)
    if found.coins:
        out.print()
        symbols = _table(_gap(session), "Symbols")
        symbols.add_column("", overflow="fold")
        symbols.add_column("Stops in a row", justify="right")
        symbols.add_column("", overflow="fold")
        for coin in found.coins:
            words = ["blocked by a person"] if coin.blocked else []
            if coin.cooldown_until_ms is not None:
                words.append(f"cools down {_until(coin.cooldown_until_ms, read.cursor_ms)}")
            if coin.score is not None:
                words.append(f"opens nothing, its bars score {coin.score:.2f}: {coin.why}")
            symbols.add_row(
                str(coin.symbol),
                f"{coin.stops} of {found.cooldown_stops_limit}",
                Text(", ".join(words), style="yellow"),
            )
        out.print(symbols)


def show_decisions(
    session: Session,
    read: Reading,
    found: Sequence[Decided],
    counts: Mapping[tuple[Verdict, Reason], int],
    *,
    everything: bool,
) -> None:
    """Decisions, the last one at the end."""
    out = session.out
    show_heading(session, read)
    total = sum(counts.values())
    if not everything and len(found) < total:
        out.print(
            Text(f"the last {len(found):,} of {total:,} decisions; --limit or --json have more", style="dim")
        )
    if not found:
        out.print("No scan was like that." if everything else "No setup and no near miss was like that.")
        return
    for each in found:
        line = Text(f"{_minute(each.time_ms)}  ", style="dim")
        line.append(f"{each.symbol} {each.strategy} ", style="not dim bold")
        line.append(f" {each.verdict.value}", style=f"not dim {_VERDICT_COLOURS[each.verdict]}")
        reason = each.reason if each.ending is None else each.ending.reason
        if reason is not Reason.ACCEPTED:
            line.append(f" {reason.code}", style=f"not dim {_VERDICT_COLOURS[each.verdict]}")
        if each.readiness == each.readiness:
            line.append(f"  readiness {whole(each.readiness)}")
        out.print(line)
        if each.sentence is not None:
            _point(session, each.sentence)
    out.print()
    if counts and not everything:
        named = [
            f"{verdict.value}{'' if reason is Reason.ACCEPTED else f' {reason.code}'} {count:,}"
            for (verdict, reason), count in list(counts.items())[:_REASONS_NAMED]
        ]
        more = len(counts) - _REASONS_NAMED
        out.print(Text(", ".join(named) + (f" and {more} more" if more > 0 else ""), style="dim"))
    last = found[-1]
    out.print(
        Text(
            f"Why? crypto-tracker explain {last.symbol} --at {from_ms(last.time_ms):%Y-%m-%dT%H:%M} "
            f"--account {read.place.name}",
            style="dim",
        ),
        soft_wrap=True,
    )


def show_accounts(session: Session, found: Sequence[Mapping[str, Any]]) -> None:
    """All accounts of a home, from `account_document`."""
    table = _table(_gap(session))
    table.add_column("Account", overflow="fold")
    table.add_column("Now", no_wrap=True)
    table.add_column("Up to (UTC)", no_wrap=True)
    for name in ("Trades", "Open", "Equity", "Return"):
        table.add_column(name, justify="right", no_wrap=True)
    for each in found:
        until: datetime = each["until"]
        table.add_row(
            each["account"],
            Text("traded", style="green") if each["running"] else Text("-", style="dim"),
            f"{until:%Y-%m-%d %H:%M}",
            f"{each['trades']:,}",
            f"{each['open_positions']:,}",
            f"{each['equity_quote']:,.2f}",
            _share(each["equity_quote"] / each["capital_quote"] - 1),
        )
    session.out.print(table)


# --- parts of the pages ------------------------------------------------------------------------


def _life(read: Reading, status: Status, now_ms: int) -> list[str]:
    """Since when and by whom the account is traded, and how far it has come."""
    lines = []
    last = status.session
    if last is not None and read.place.running:
        lines.append(f"by process {last.pid} on {last.host} since {_minute(last.started_at_ms)} UTC")
    elif last is not None and last.ended_at_ms is not None:
        lines.append(f"last traded until {_minute(last.ended_at_ms)} UTC")
    elif last is not None:
        lines.append(
            f"the process {last.pid} that traded it since {_minute(last.started_at_ms)} UTC was killed"
        )
    end_ms = read.account.end_ms
    if status.progress is not None and end_ms is not None:
        lines.append(f"replay of {_minute(read.account.start_ms)} to {_minute(end_ms)} UTC")
        lines[-1] += f", {percent(status.progress)} done"
    elif status.lag_ms is not None:
        lines.append(
            f"started on {_minute(read.account.start_ms)} UTC, {_length(status.lag_ms)} behind the clock"
        )
    if status.newest_bar_ms is not None and status.progress is None:
        lines.append(f"newest stored bar closed {_length(max(now_ms - status.newest_bar_ms, 0))} ago")
    return lines


def _show_entries(session: Session, entries: Entries) -> None:
    if entries.allowed:
        session.out.print(Text("Entries are allowed", style="green"))
        return
    session.out.print(Text("Nothing is bought", style="red"))
    for sentence in entries.why_not:
        _point(session, sentence)


def _show_market(session: Session, market: MarketStanding) -> None:
    out = session.out
    line = Text("Market ", style="bold").append_text(_regime(market.regime, forced=market.forced))
    if market.size_factor != 1.0:
        line.append(f", sizes x {market.size_factor:g}", style="not bold")
    out.print(line)
    if market.reference is None:
        _point(session, "no reference coin: the regime stays NORMAL", style="dim")
        return
    moves = ", ".join(
        f"{hours} h {'-' if value is None else f'{100 * value:+.2f} %'}"
        for hours, value in market.returns.items()
    )
    _point(session, f"{market.reference}: {moves}")
    _point(session, f"24 h range, mean of the last hours: {percent(market.volatility)}")
    if market.condition is not None:
        favoured = "favours no strategy" if market.favoured is None else f"favours {market.favoured}"
        condition = (
            "of no clear kind" if market.condition is Condition.NONE else market.condition.name.lower()
        )
        _point(session, f"the market is {condition}, which {favoured}")
    trend = "not known" if market.slow_regime is None else market.slow_regime.name
    _point(session, f"slow regime, by days: {trend}")


def _correlation(standing: CorrelationStanding) -> str:
    what = f"what moved with what is held by more than {standing.limit:g} on average is refused"
    if standing.hours >= standing.hours_min:
        return f"{what}, over {standing.hours} hours"
    return f"{what}, once {standing.hours_min} hours are known; now {standing.hours} are"


def _strategy(each: StrategyStanding, cursor_ms: int) -> Text:
    words = []
    if each.off_by:
        words.append(f"off by {' and '.join(_OFF_BY[who] for who in each.off_by)}")
    if each.rests_until_ms is not None:
        words.append(f"rests {_until(each.rests_until_ms, cursor_ms)}")
    return Text(", ".join(words) or "on", style="yellow" if words else "green")


def _regime(regime: Regime, *, forced: bool) -> Text:
    colours = {
        Regime.NORMAL: "green",
        Regime.CAUTION: "yellow",
        Regime.EUPHORIA: "yellow",
        Regime.PANIC: "red",
    }
    text = Text(regime.name, style=colours[regime])
    return text.append(", forced by a person", style="yellow") if forced else text


def _order(order: OrderRecord) -> str:
    what = "market buy" if order.kind == "market" else f"rung {order.rung}"
    price = "" if order.limit_price is None else f" at {_price(order.limit_price)}"
    why = "" if order.reason is None else f" ({order.reason.code.replace('_', ' ')})"
    return f"{what}{price} for {_money(order.quote)}: {order.status.replace('_', ' ')}{why}"


def _sums_line(sums: Sums) -> Text:
    line = Text(f"{_counted(sums.trades, 'trade')}, win rate {percent(sums.win_rate)}, P&L ")
    line.append_text(_gain(sums.pnl_quote))
    return line.append(f", their fees {_money(sums.fee_quote)} and slippage {_money(sums.slippage_quote)}")


def _point(session: Session, sentence: str, *, style: str = "") -> None:
    """One point of a list; further lines begin below its first word."""
    from textwrap import wrap

    for line in wrap(sentence.replace(" %", "\N{NO-BREAK SPACE}%"), max(session.out.width - 2, 20)):
        session.out.print(Text(f"  {line}".replace("\N{NO-BREAK SPACE}", " "), style=style))


def _table(gap: int, title: str | None = None) -> Table:
    return Table(
        box=None,
        pad_edge=False,
        padding=(0, gap, 0, 0),
        title=title,
        title_justify="left",
        title_style="bold",
        header_style="dim",
    )


def _gap(session: Session) -> int:
    return 2 if session.out.width >= _WIDE else 1


def _until(until_ms: int, cursor_ms: int) -> str:
    return f"until {_minute(until_ms)} UTC ({_length(until_ms - cursor_ms)} left)"


def _minute(time_ms: int) -> str:
    return f"{from_ms(time_ms):%Y-%m-%d %H:%M}"


def _length(span_ms: int) -> str:
    """A span of time in its two largest units.

    >>> _length(90_000_000), _length(125_000), _length(20_000)
    ('1d 1h', '2m', '20s')
    """
    if span_ms < MINUTE_MS:
        return f"{span_ms // 1_000}s"
    days, rest = divmod(span_ms, DAY_MS)
    hours, rest = divmod(rest, HOUR_MS)
    minutes = rest // MINUTE_MS
    parts = [f"{number}{unit}" for number, unit in ((days, "d"), (hours, "h"), (minutes, "m")) if number]
    return " ".join(parts[:2])


def _from(mark: float, level: float) -> str:
    """How far a level is from the last close."""
    return f"{100 * (level / mark - 1):+.2f} %"


def _price(value: Decimal | float) -> str:
    """A price to eight digits, which is finer than any tick; the exact one is in the JSON document.

    >>> _price(110235.65582500001), _price(Decimal("0.00001234")), _price(Decimal("120"))
    ('110235.66', '0.00001234', '120')
    """
    return _amount(Decimal(f"{value:.8g}"))


def _amount(value: Decimal) -> str:
    """A price or a quantity as it is, without zeros at its end.

    >>> _amount(Decimal("0.01250")), _amount(Decimal("100"))
    ('0.0125', '100')
    """
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _money(value: Decimal) -> str:
    return f"{value:,.2f}"


def _signed(value: Decimal) -> str:
    return f"{value:+,.2f}"


def _gain(value: Decimal) -> Text:
    return Text(_signed(value), style="green" if value > 0 else "red" if value < 0 else "")


def _share(value: float) -> Text:
    return Text(f"{100 * value:+.2f} %", style="green" if value > 0 else "red" if value < 0 else "")


def _counted(number: int, noun: str) -> str:
    """A number and its noun.

    >>> _counted(1, "trade"), _counted(1_200, "trade")
    ('1 trade', '1,200 trades')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"

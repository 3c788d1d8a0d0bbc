"""The terminal view: pure functions from a snapshot to what Rich draws.

Every section is a list of lines of a fixed width; the view only puts them together. Small terminals get
sections under each other (made for 80 x 24), larger ones get boxes beside each other (made for 120 x 40).
"""

import math
import textwrap
from collections.abc import Callable, Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.panel import Panel as Box
from rich.table import Table
from rich.text import Text

from crypto_tracker.app.screen import charts
from crypto_tracker.app.screen.snapshot import (
    DecisionFacts,
    Kind,
    Notice,
    PositionFacts,
    Snapshot,
    StrategyFacts,
    Tone,
)
from crypto_tracker.app.screen.text import (
    FLAT,
    MUTED,
    UNKNOWN,
    Cell,
    age,
    clock,
    clock_or_date,
    day_clock,
    direction,
    fitted,
    lag,
    line,
    money,
    percent,
    price,
    whole,
)
from crypto_tracker.core.decisions import Condition, Regime
from crypto_tracker.core.timeframes import DAY_MS, MINUTE_MS, from_ms

WIDE_FROM_COLUMNS, WIDE_FROM_LINES = 110, 34
SMALLEST = (60, 16)
REGIME_STYLES = {
    Regime.NORMAL: "green",
    Regime.CAUTION: "black on yellow",
    Regime.EUPHORIA: "black on magenta",
    Regime.PANIC: "bold white on red",
}
CONDITION_WORDS = {
    Condition.NONE: "no clear trend",
    Condition.SIDEWAYS: "sideways",
    Condition.FALLING: "falling",
    Condition.RISING: "rising",
}
SHORT_EXITS = {
    "take_profit": "target",
    "stop_loss": "stop",
    "trailing_stop": "trail",
    "time_exit": "time",
    "manual": "manual",
    "market_transition": "market",
    "data_lost": "lost",
    "end_of_data": "end",
}
KIND_STYLES = {
    Kind.TAKEN: "bold green",
    Kind.REFUSED: "yellow",
    Kind.NEAR_MISS: "blue",
    Kind.MARKET: "bold magenta",
    Kind.PERSON: "bold cyan",
    Kind.HALT: "bold white on red",
}
BADGE_STYLES = {
    Tone.GOOD: "bold black on green",
    Tone.NOTE: "bold black on cyan",
    Tone.WARNING: "bold black on yellow",
    Tone.BAD: "bold white on red",
}
WORDS_STYLES = {Tone.GOOD: "green", Tone.NOTE: MUTED, Tone.WARNING: "yellow", Tone.BAD: "bold red"}
NOTICE_LINES = 2  # of one notice
SLOW_MS = 3 * MINUTE_MS  # a lag from which on it is worth a colour


def render(snapshot: Snapshot, *, width: int, height: int) -> RenderableType:
    """The whole view for a terminal of that size: exactly `height` lines of at most `width` characters."""
    if width < SMALLEST[0] or height < SMALLEST[1]:
        title = snapshot.heading.badge.title
        return Text(f"{title} - make this window at least {SMALLEST[0]} x {SMALLEST[1]}", style="yellow")
    if width >= WIDE_FROM_COLUMNS and height >= WIDE_FROM_LINES:
        return _wide(snapshot, width, height)
    return Group(*_narrow(snapshot, width, height))


# --------------------------------------------------------------------------------------------- arrangement


def _narrow(snapshot: Snapshot, width: int, height: int) -> list[Text]:
    told = notices(snapshot.notices, width, height // 8)
    fixed = 2 + 1 + 1 + 4 + len(told)  # header and clock, equity, market, and the titles of four sections
    rows = _shares(height - fixed, {"chart": 3, "positions": 5, "readiness": 3, "decisions": 3, "trades": 2})
    lines = [
        header(snapshot, width),
        clock_line(snapshot, width),
        *told,
        equity_line(snapshot, width, name="EQUITY "),
    ]
    lines += _with_scale(snapshot, width, rows["chart"])
    lines.append(market_line(snapshot, width))
    lines += positions(snapshot.positions, width, rows["positions"] + 1)
    lines += readiness(snapshot.strategies, width, rows["readiness"] + 1)
    lines.append(charts.title("DECISIONS", width=width, note="why a coin was bought, or not"))
    lines += decisions(snapshot, width, rows["decisions"])
    lines.append(charts.title("CLOSED", width=width, style="bold cyan", note=_record(snapshot)))
    lines += trades(snapshot, width, rows["trades"])
    return lines


def _wide(snapshot: Snapshot, width: int, height: int) -> RenderableType:
    borders = 2 * 4
    told = notices(snapshot.notices, width, height // 8)
    rows = _shares(
        height - 2 - borders - len(told), {"chart": 7, "positions": 9, "readiness": 6, "decisions": 8}
    )
    right = 40
    left = width - right
    top = rows["chart"] + 2
    lower_left = width - 43
    open_count = f"open positions [{len(snapshot.positions)}]"
    return Group(
        header(snapshot, width),
        clock_line(snapshot, width),
        *told,
        _beside(
            _boxed(
                f"equity{_over(snapshot)}",
                [
                    equity_line(snapshot, left - 4),
                    *_with_scale(snapshot, left - 4, rows["chart"] - 1),
                ],
                left,
                top,
            ),
            _boxed("market", market_block(snapshot, right - 4, rows["chart"]), right, top),
        ),
        _boxed(
            open_count,
            positions(snapshot.positions, width - 4, rows["positions"], with_title=False),
            width,
            rows["positions"] + 2,
        ),
        _boxed(
            "readiness: how near each strategy is to its next setup, and what it lacks",
            readiness(snapshot.strategies, width - 4, rows["readiness"]),
            width,
            rows["readiness"] + 2,
        ),
        _beside(
            _boxed(
                "decisions",
                decisions(snapshot, lower_left - 4, rows["decisions"]),
                lower_left,
                rows["decisions"] + 2,
            ),
            _boxed(
                f"closed trades: {_record(snapshot)}",
                trades(snapshot, width - lower_left - 4, rows["decisions"]),
                width - lower_left,
                rows["decisions"] + 2,
            ),
        ),
    )


def _shares(available: int, wanted: dict[str, int]) -> dict[str, int]:
    """Give `available` lines to sections in proportion to what they want, at least one each."""
    total = sum(wanted.values())
    given = {name: max(1, available * lines // total) for name, lines in wanted.items()}
    for name in sorted(wanted, key=lambda each: available * wanted[each] % total, reverse=True):
        if sum(given.values()) < available:
            given[name] += 1
    while sum(given.values()) > available:
        largest = max(given, key=lambda each: given[each])
        given[largest] -= 1
    return given


def _boxed(name: str, lines: Sequence[Text], width: int, height: int) -> Box:
    return Box(
        Group(*lines),
        title=Text(name, style="bold cyan"),
        title_align="left",
        box=box.ROUNDED,
        border_style=MUTED,
        width=width,
        height=height,
        padding=(0, 1),
    )


def _beside(*parts: RenderableType) -> Table:
    grid = Table.grid(padding=0)
    for _ in parts:
        grid.add_column()
    grid.add_row(*parts)
    return grid


# --------------------------------------------------------------------------------------------- sections


def header(snapshot: Snapshot, width: int) -> Text:
    """Whose picture this is."""
    heading = snapshot.heading
    out = Text(no_wrap=True, overflow="crop")
    out.append(f" {heading.program} ", style="bold black on cyan")
    out.append(f" {heading.badge.title} ", style=BADGE_STYLES[heading.badge.tone])
    hint = f"{heading.hint} "
    note = fitted(f" {heading.note}", max(width - len(out) - len(hint) - 1, 0))
    out.append(note, style=MUTED)
    out.append(" " * max(width - len(out) - len(hint), 0))
    out.append(hint, style=MUTED)
    return out


def clock_line(snapshot: Snapshot, width: int) -> Text:
    """The market's clock, how far the run is, how fast it goes and how far it lags."""
    left = f" {from_ms(snapshot.time_ms):%a %Y-%m-%d %H:%M} UTC"
    day = (snapshot.time_ms - snapshot.start_ms) // DAY_MS + 1
    if snapshot.end_ms is None:
        middle = f"  day {day}, since {from_ms(snapshot.start_ms):%Y-%m-%d %H:%M} "
    else:
        days = max(-(-(snapshot.end_ms - snapshot.start_ms) // DAY_MS), 1)
        middle = f"  day {min(day, days)} of {days} "
    right, style = "" if math.isnan(snapshot.speed) else f" x{snapshot.speed:,.0f} ", MUTED
    if snapshot.lag_ms is not None:
        right, style = (
            f" {lag(snapshot.lag_ms)} behind ",
            MUTED if snapshot.lag_ms < SLOW_MS else "bold yellow",
        )
    out = Text(no_wrap=True, overflow="crop")
    out.append(left, style="bold")
    out.append(middle, style=MUTED)
    room = max(width - len(left) - len(middle) - len(right), 0)
    if snapshot.end_ms is None:
        out.append(" " * room)
    else:
        out.append_text(charts.progress_bar(snapshot.progress, width=room, style="cyan"))
    out.append(right, style=style)
    return out


def notices(told: Sequence[Notice], width: int, rows: int) -> list[Text]:
    """What is out of the ordinary, in at most `rows` lines, the last of which counts what did not fit."""
    blocks = [_notice(each, width) for each in told]
    lines: list[Text] = []
    for number, block in enumerate(blocks):
        if len(lines) + len(block) > rows - (number + 1 < len(blocks)):
            rest = len(blocks) - number
            return [*lines, Text(f" and {rest} more: see `crypto-tracker protection`", style="yellow")]
        lines += block
    return lines


def _notice(told: Notice, width: int) -> list[Text]:
    badge = f" {told.title} "
    wrapped = textwrap.wrap(told.words, max(width - len(badge) - 2, 20)) or [""]
    if len(wrapped) > NOTICE_LINES:
        last = " ".join(wrapped[NOTICE_LINES - 1 :])
        wrapped = [*wrapped[: NOTICE_LINES - 1], fitted(last, max(width - len(badge) - 2, 20))]
    lines = []
    for number, words in enumerate(wrapped):
        out = Text(no_wrap=True, overflow="crop")
        out.append(badge if number == 0 else " " * len(badge), BADGE_STYLES[told.tone] if number == 0 else "")
        out.append(f" {words}", style=WORDS_STYLES[told.tone])
        lines.append(out)
    return lines


def equity_line(snapshot: Snapshot, width: int, *, name: str = "") -> Text:
    """Equity, what was gained or lost so far, and how far below its highest point it is."""
    gained = snapshot.equity - snapshot.equity_start
    out = Text(no_wrap=True, overflow="crop")
    out.append(name, style="bold cyan")
    out.append(money(snapshot.equity), style="bold")
    out.append(f" {snapshot.quote}  ")
    change = f"{money(gained, signed=True)} ({percent(gained / snapshot.equity_start)})"
    out.append(change, style=f"bold {direction(gained)}".replace(" default", ""))
    note = f"  drawdown {percent(snapshot.drawdown, signed=False)}  fees {money(snapshot.fees_quote)}"
    out.append(fitted(note, max(width - len(out), 0)), style=MUTED)
    return out


def _with_scale(snapshot: Snapshot, width: int, height: int) -> list[Text]:
    """The equity curve, with its highest and lowest level and what it is compared to at the right."""
    labels = 8
    base = snapshot.curve_base
    lines = charts.area_chart(snapshot.equity_curve, width=width - labels, height=height, base=base)
    scale = charts.scale_of(snapshot.equity_curve, height=height, base=base)
    marks = {height - 1: scale.lowest, 0: scale.highest}
    if 0 < scale.above - 1 < height - 1 or height == 1:
        marks[scale.above - 1] = base
    for row, text in enumerate(lines):
        text.append((f"{marks[row]:,.0f}" if row in marks else "").rjust(labels), style=MUTED)
    return lines


def market_line(snapshot: Snapshot, width: int) -> Text:
    """The state of the market in one line."""
    market = snapshot.market
    out = Text(no_wrap=True, overflow="crop")
    out.append("MARKET ", style="bold cyan")
    out.append_text(_regime(snapshot))
    out.append(f"  {market.reference} {price(market.reference_price)} ")
    out.append(percent(market.reference_change), style=direction(market.reference_change))
    if market.rising is not None:
        out.append(f"  {market.rising}/{market.symbols} up", style=MUTED)
    words = f"trend {UNKNOWN}" if market.condition is None else CONDITION_WORDS[market.condition]
    favours = f": {market.favoured}" if market.favoured else ""
    note = f"  vol {percent(market.volatility, signed=False)}  {words}{favours}"
    out.append(fitted(note, max(width - len(out), 0)), style=MUTED)
    return out


def market_block(snapshot: Snapshot, width: int, rows: int) -> list[Text]:
    """The state of the market and of the account, one fact a line."""
    market = snapshot.market
    favours = f": {market.favoured} first" if market.favoured else ""
    invested = snapshot.equity - snapshot.cash - snapshot.reserved

    def fact(name: str, value: str | Text) -> Text:
        shown = value if isinstance(value, Text) else Text(fitted(value, width - 12))
        return line([Cell(name, 11, MUTED), shown])

    reference = Text(f"{price(market.reference_price)}  ")
    reference.append(percent(market.reference_change), style=direction(market.reference_change))
    breadth = Text(UNKNOWN)
    if market.rising is not None:
        breadth = charts.level_bar(market.rising / max(market.symbols, 1), width=12, style="green")
        breadth.append(f" {market.rising}/{market.symbols} up")
    switched_off = [strategy.name for strategy in snapshot.strategies if strategy.off]
    volatility = percent(market.volatility, signed=False)
    facts = [
        fact("regime", _regime(snapshot)),
        fact("trend", UNKNOWN if market.condition is None else CONDITION_WORDS[market.condition] + favours),
        fact("volatility", volatility + (f", {', '.join(switched_off)} off" if switched_off else "")),
        fact(f"{market.reference} 24 h", reference),
        fact("breadth", breadth),
        fact("invested", f"{invested:,.0f}, {snapshot.reserved:,.0f} in orders"),
        fact("cash", money(snapshot.cash)),
        fact("slippage", money(snapshot.slippage_quote)),
    ]
    return _padded(facts, rows)


def _regime(snapshot: Snapshot) -> Text:
    regime = snapshot.market.regime
    name = f" {regime.name}, forced " if snapshot.market.forced else f" {regime.name} "
    return Text(name, style=REGIME_STYLES[regime])


def positions(held: Sequence[PositionFacts], width: int, rows: int, *, with_title: bool = True) -> list[Text]:
    """Open positions, newest first: now, stop and target, with a gauge between them. Takes `rows` lines."""
    wide = width >= 100
    gaps = 10 if wide else 8
    used = (6 + 8 + 4 + 10 * 4 + 9 + 8 + 6) if wide else (5 + 7 + 10 * 3 + 8 + 8 + 5)
    gauge = max(width - used - gaps, 3)

    def row(cells: dict[str, Cell | Text]) -> Text:
        order = [
            "coin",
            "strategy",
            "fills",
            "entry",
            "stop",
            "gauge",
            "target",
            "now",
            "pnl",
            "return",
            "age",
        ]
        if not wide:
            order = ["coin", "strategy", "now", "stop", "gauge", "target", "pnl", "return", "age"]
        return line([cells[name] for name in order])

    def cells(texts: Callable[[str], tuple[str, str]], middle: Text) -> dict[str, Cell | Text]:
        widths = {
            "coin": 6 if wide else 5,
            "strategy": 8 if wide else 7,
            "fills": 4,
            "pnl": 9 if wide else 8,
            "return": 8,
        }
        widths |= {"age": 6 if wide else 5, "entry": 10, "stop": 10, "target": 10, "now": 10}
        made: dict[str, Cell | Text] = {"gauge": middle}
        for name, size in widths.items():
            text, style = texts(name)
            left = name in {"coin", "strategy"} or (name == "target")
            made[name] = Cell(text, size, style, "left" if left else "right")
        return made

    names = {
        "coin": "OPEN" if with_title else "coin",
        "strategy": str(len(held)) if with_title else "strategy",
        "fills": "buys",
        "entry": "entry",
        "now": "now",
        "stop": "stop",
        "target": "target",
        "pnl": "P&L",
        "return": "%",
        "age": "age",
    }
    heading = row(
        cells(
            lambda name: (names[name], "bold cyan" if with_title and name in {"coin", "strategy"} else MUTED),
            Text(
                "stop to target"[:gauge].center(gauge, "─") if gauge >= 14 else "─" * gauge,
                style=MUTED,
                end="",
            ),
        )
    )
    shown = list(held[: rows - 1])
    if len(held) > len(shown):
        shown = shown[:-1]
    lines = [heading]
    for position in shown:
        values = {
            "coin": (position.coin, "bold"),
            "strategy": (position.strategy, ""),
            "fills": (f"{position.fills}/{position.levels}", MUTED),
            "entry": (price(position.entry_price), ""),
            "now": (price(position.price), direction(position.price - position.entry_price)),
            "stop": (price(position.stop_price), MUTED),
            "target": (price(position.target_price), MUTED),
            "pnl": (money(position.pnl_quote, signed=True), direction(position.pnl_quote)),
            "return": (percent(position.return_net), direction(position.return_net)),
            "age": (age(position.age_ms), MUTED),
        }
        lines.append(
            row(
                cells(
                    values.__getitem__,
                    charts.stop_to_target(
                        stop=position.stop_price,
                        entry=position.entry_price,
                        price=position.price,
                        target=position.target_price,
                        width=gauge,
                    ),
                )
            )
        )
    if len(held) > len(shown):
        rest = held[len(shown) :]
        total = sum(position.pnl_quote for position in rest)
        lines.append(Text(f"and {len(rest)} more, {money(total, signed=True)} together", style=MUTED))
    if not held:
        lines.append(Text("nothing is held: the strategies wait for their setups", style=MUTED))
    return _padded(lines, rows)


def readiness(strategies: Sequence[StrategyFacts], width: int, rows: int) -> list[Text]:
    """The nearest symbols of every strategy, one column each. The first line names the strategies."""
    count = max(len(strategies), 1)
    column = (width - 2 * (count - 1)) // count
    blocks = [_readiness_column(strategy, column, rows) for strategy in strategies]
    return (
        [line([block[row] for block in blocks], gap=2) for row in range(rows)]
        if blocks
        else _padded([], rows)
    )


def _readiness_column(strategy: StrategyFacts, width: int, rows: int) -> list[Text]:
    wide = width >= 34
    note = ""
    if strategy.off:
        note = f"off: {strategy.off}" if wide else "off"
    elif strategy.scanned_ms is not None and wide:
        note = f"at {clock(strategy.scanned_ms)}"
    lines = [charts.title(strategy.name, width=width, note=note)]
    bar = 8 if wide else width - (6 + 4 + 8)
    for each in strategy.nearest[: rows - 1]:
        word, style = charts.readiness_style(each.readiness)
        parts: list[Cell | Text] = [
            Cell(each.coin, 5, "bold" if each.readiness >= charts.READY else ""),
            charts.level_bar(each.readiness / 100.0, width=max(bar, 3), style=style),
            Cell(whole(each.readiness), 3, style, "right"),
            Cell(word, 7, style),
        ]
        if wide:
            parts.append(Cell(each.words, width - 5 - bar - 3 - 7 - 4, MUTED))
        lines.append(line(parts))
    if len(lines) == 1:
        lines.append(line([Cell("warming up", width, MUTED)]))
    return _padded(lines, rows, width=width)


def decisions(snapshot: Snapshot, width: int, rows: int) -> list[Text]:
    """The last decisions with their reasons, newest first; those older than a day with their date."""
    lines = []
    for each in snapshot.decisions[:rows]:
        style = KIND_STYLES[each.kind]
        cells: list[Cell | Text] = [
            Cell(clock_or_date(each.time_ms, snapshot.time_ms), 5, MUTED),
            Cell(each.kind.value, 4, style),
        ]
        if each.coin:
            cells += [Cell(each.coin, 8, "bold"), Cell(each.strategy, 7)]
        used = sum(cell.width + 1 for cell in cells if isinstance(cell, Cell))
        cells.append(Cell(each.words, width - used, _words_style(each)))
        lines.append(line(cells))
    if not lines:
        lines.append(Text("no setup yet", style=MUTED))
    return _padded(lines, rows)


def _words_style(told: DecisionFacts) -> str:
    if told.kind is Kind.HALT:
        return WORDS_STYLES[Tone.BAD]
    return KIND_STYLES[told.kind] if told.kind is Kind.MARKET else ""


def trades(snapshot: Snapshot, width: int, rows: int) -> list[Text]:
    """The last closed trades, newest first."""
    lines = []
    for each in snapshot.trades[:rows]:
        style = direction(each.pnl_quote)
        cells: list[Cell | Text] = [
            Cell(day_clock(each.time_ms), 8, MUTED)
            if width >= 60
            else Cell(clock_or_date(each.time_ms, snapshot.time_ms), 5, MUTED),
            Cell(each.coin, 5, "bold"),
        ]
        if width >= 50:
            cells.append(Cell(each.strategy, 7))
        cells.append(Cell(money(each.pnl_quote, signed=True), 8, style, "right"))
        cells.append(Cell(percent(each.return_net), 8, style, "right"))
        wide = width >= 50
        cells.append(
            Cell(
                each.exit_reason.replace("_", " ") if wide else SHORT_EXITS[each.exit_reason],
                13 if wide else 6,
            )
        )
        if width >= 60:
            cells.append(Cell(f"after {age(each.age_ms)}", 12, MUTED))
        lines.append(line(cells))
    if not lines:
        lines.append(Text("none yet", style=MUTED))
    return _padded(lines, rows)


def _record(snapshot: Snapshot) -> str:
    if not snapshot.n_trades:
        return "none"
    if snapshot.n_wins is None:
        return f"{snapshot.n_trades:,}"
    losses = snapshot.n_trades - snapshot.n_wins
    return f"{snapshot.n_trades:,}, {snapshot.n_wins:,} won, {losses:,} lost"


def _over(snapshot: Snapshot) -> str:
    return f", {snapshot.curve_words}" if snapshot.curve_words else ""


def _padded(lines: list[Text], rows: int, *, width: int = 0) -> list[Text]:
    """The lines, cut or filled up to `rows` of them."""
    return lines[:rows] + [Text(" " * width, style=FLAT) for _ in range(rows - len(lines))]

"""What `trade` tells while it runs and when it ends."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.status import Status

from crypto_tracker.app.cli.common import Session
from crypto_tracker.app.trading import DailyParity, Watcher
from crypto_tracker.app.trading import Session as Trading
from crypto_tracker.core.decisions import Regime
from crypto_tracker.core.orders import FillKind, Trade
from crypto_tracker.core.timeframes import HOUR_MS, MINUTE_MS, from_ms, to_ms
from crypto_tracker.simulation.state import HELD
from crypto_tracker.store.trading_records import StepRecord
from crypto_tracker.store.trading_views import TradingViews

_COMPILES = " (compiles for about 20 s the first time on a machine)"
_HELD_MS = 15 * MINUTE_MS  # after which a change of the regime is told
_QUIET_MS = 10 * MINUTE_MS  # without a new bar, after which a person is told


class Narrator(Watcher):
    """Tells on standard error what happens, a line for each event; in a terminal with a bar for replays."""

    def __init__(self, session: Session, running: Trading, name: str, *, quiet: bool) -> None:
        self._session = session
        self._running = running
        self._name = name
        self._quiet = quiet
        self._regime: Regime | None = None
        self._regime_since_ms = 0
        self._told_regime: Regime | None = None
        self._progress: Progress | None = None
        self._status: Status | None = None
        self._told_quiet_ms: int | None = None
        self._daily: DailyParity | None = None

    def with_daily(self, daily: DailyParity) -> "Narrator":
        """The same narrator, which also looks after the daily check."""
        self._daily = daily
        return self

    def began(self, wanted_version: str) -> None:
        """Say what is traded and from where on."""
        account, state = self._running.account, self._running.trader.state
        span = f"from {_minute(state.cursor_ms)} UTC"
        if account.end_ms is not None:
            span += f" to {_minute(account.end_ms)} UTC"
        if account.end_ms is not None and state.cursor_ms >= account.end_ms:
            self.say(f"Account {self._name} has ended its replay: --fresh begins it anew")
            return
        what = "opened" if self._running.opened else "goes on"
        self.say(
            f"Account {self._name} ({account.kind}) {what}: {len(account.symbols)} symbols, "
            f"{', '.join(account.strategies)}, {span}, configuration {state.version}"
        )
        if account.end_ms is None:
            self._say_if_bars_are_old()
        if state.version != wanted_version:
            self.say(
                f"Your configuration now is {wanted_version}, the account trades under {state.version}: "
                "`config apply FILE` changes that",
                style="yellow",
            )
        if state.halted is not None:
            self.say(f"Entries are halted: {state.halted}; `resume` when it is mended", style="bold red")
        elif bool(state.portfolio.book["paused"][0]):
            self.say("Entries are paused; `resume` starts them again", style="yellow")

    def _say_if_bars_are_old(self) -> None:
        newest_ms = self._running.feed.watermark_ms()
        if newest_ms is None or to_ms(self._session.now()) - newest_ms >= _QUIET_MS:
            since = (
                "there is no bar of these symbols"
                if newest_ms is None
                else f"bars end at {_minute(newest_ms)} UTC"
            )
            self.alarm(f"{since}: is a collector running? Nothing is opened or closed until bars come")

    @contextmanager
    def showing(self) -> Iterator[None]:
        """In a terminal a progress bar for a replay, and a line that lives for paper trading."""
        account = self._running.account
        if self._quiet or not self._session.err.is_terminal:
            yield
            return
        if account.end_ms is None:
            with self._session.err.status(f"waiting for the first minute{_COMPILES}") as status:
                self._status = status
                yield
                self._status = None
            return
        with Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:3.0f} %"),
            TimeRemainingColumn(),
            console=self._session.err,
            transient=True,
        ) as progress:
            progress.add_task(
                f"starting{_COMPILES}",
                total=(account.end_ms - account.start_ms) // MINUTE_MS,
                completed=(self._running.trader.state.cursor_ms - account.start_ms) // MINUTE_MS,
            )
            self._progress = progress
            yield
            self._progress = None

    def stepped(self, record: StepRecord, seconds: float) -> None:  # noqa: ARG002 - others measure it
        """Tell of what the minute brought."""
        self._told_quiet_ms = None
        self._tell_regime(record)
        for result in record.results:
            self._tell(record, f"command {result.kind} {result.status}: {result.sentence}", "cyan")
        for halt in record.halts:
            self._tell(record, f"ENTRIES HALTED: {halt.sentence}", "bold red", at_close=True)
        for fill in record.fills if self._running.account.end_ms is None else ():
            if fill.kind is not FillKind.EXIT:
                rung = "" if fill.kind is FillKind.ENTRY else f" rung {fill.rung}"
                self._tell(
                    record,
                    f"bought {fill.symbol} {fill.strategy}{rung}: {fill.quantity} at {fill.price}",
                    "green",
                )
        for trade in record.trades:
            self._tell(record, closed_words(trade), "green" if trade.pnl_quote > 0 else "red")
        if self._running.account.end_ms is None:
            self._beat(record)
        if self._progress is not None:
            task = self._progress.tasks[0]
            self._progress.update(task.id, advance=1, description=f"{from_ms(record.time_ms):%Y-%m-%d}")
        if self._daily is not None:
            self._daily.look(record.time_ms + MINUTE_MS, self)

    def _tell_regime(self, record: StepRecord) -> None:
        """PANIC at once; other changes once they have held for a while, since some last for minutes only."""
        if self._told_regime is None:
            self._told_regime = record.regime
        if record.regime is not self._regime:
            self._regime, self._regime_since_ms = record.regime, record.time_ms
        if record.regime is self._told_regime:
            return
        held_ms = record.time_ms + MINUTE_MS - self._regime_since_ms
        if Regime.PANIC in {record.regime, self._told_regime} or held_ms >= _HELD_MS:
            words = f"regime {self._told_regime.name} -> {record.regime.name}"
            if held_ms > MINUTE_MS:
                words += f" since {from_ms(self._regime_since_ms + MINUTE_MS):%H:%M}"
            self._tell(record, words, "magenta", at_close=True)
            self._told_regime = record.regime

    def _beat(self, record: StepRecord) -> None:
        """Show that paper trading lives: in a terminal after each minute, else once an hour."""
        close_ms = record.time_ms + MINUTE_MS
        held = int((self._running.trader.state.portfolio.slots["phase"] == HELD).sum())
        words = f"{_minute(close_ms)}  {record.regime.name}  equity {record.equity_quote:,.2f}  {held} open"
        if self._status is not None:
            self._status.update(f"{words}, waiting for the next minute")
        elif close_ms % HOUR_MS == 0:
            self.say(words)

    def waiting(self, minute_ms: int, now_ms: int) -> None:
        """Say once when bars stay away."""
        if self._running.account.end_ms is not None or now_ms - minute_ms < _QUIET_MS:
            return
        if self._told_quiet_ms != minute_ms:
            self._told_quiet_ms = minute_ms
            self.alarm(
                f"no bar has come since {_minute(minute_ms)} UTC: is a collector running? "
                "Nothing is opened or closed until bars come"
            )

    def alarm(self, sentence: str) -> None:
        """Something that a person should know."""
        self.say(sentence, style="bold yellow")

    def say(self, sentence: str, *, style: str = "") -> None:
        """One line on standard error."""
        if not self._quiet:
            self._session.err.print(sentence, style=style, soft_wrap=True, markup=False)

    def _tell(self, record: StepRecord, words: str, style: str, *, at_close: bool = False) -> None:
        """What happened in the minute, under its open time as all records have it; or at its close."""
        time_ms = record.time_ms + MINUTE_MS if at_close else record.time_ms
        self.say(f"{_minute(time_ms)}  {words}", style=style)


def closed_words(trade: Trade) -> str:
    """A closed trade in a line."""
    return (
        f"closed {trade.symbol} {trade.strategy} by {trade.exit_reason.code}: "
        f"{trade.pnl_quote:+,.2f} ({100.0 * trade.return_net:+.2f} %)"
    )


def summary_document(running: Trading, folder: Path, name: str) -> dict[str, Any]:
    """Where the account stands when `trade` ends."""
    account, state = running.account, running.trader.state
    with TradingViews.open(folder) as views:
        sums, minute, positions = views.sums(), views.latest_minute(), views.positions()
        fees, slippage = views.fill_costs()
    equity = account.capital_quote if minute is None else minute.equity_quote
    return {
        "account": name,
        "kind": account.kind,
        "start": from_ms(account.start_ms),
        "end": None if account.end_ms is None else from_ms(account.end_ms),
        "stands_at": from_ms(state.cursor_ms),
        "finished": account.end_ms is not None and state.cursor_ms >= account.end_ms,
        "configuration_version": state.version,
        "symbols": [str(symbol) for symbol in account.symbols],
        "trades": sums.trades,
        "wins": sums.wins,
        "pnl_quote": float(sums.pnl_quote),
        "fee_quote": float(fees),
        "slippage_quote": float(slippage),
        "open_positions": len(positions),
        "regime": None if minute is None else minute.regime.name,
        "equity_quote": float(equity),
        "return_marked": float(equity / account.capital_quote) - 1.0,
    }


def summary(session: Session, running: Trading, folder: Path, name: str) -> None:
    """The same in a few lines."""
    facts = summary_document(running, folder, name)
    done = "finished" if facts["finished"] else "stopped"
    session.out.print(
        f"Account {name} {done} at {_minute(running.trader.state.cursor_ms)} UTC\n"
        f"  equity {facts['equity_quote']:,.2f} ({100.0 * facts['return_marked']:+.2f} %), "
        f"{facts['trades']} closed trades ({facts['pnl_quote']:+,.2f}, {facts['wins']} won), "
        f"{facts['open_positions']} open, regime {facts['regime']}\n"
        f"  all fills so far: {facts['fee_quote']:,.2f} of fees, {facts['slippage_quote']:,.2f} of slippage\n"
        f"See show-trades, status and decisions with --account {name}; parity --account {name} proves it.",
        soft_wrap=True,
    )


def _minute(time_ms: int) -> str:
    return f"{from_ms(time_ms):%Y-%m-%d %H:%M}"

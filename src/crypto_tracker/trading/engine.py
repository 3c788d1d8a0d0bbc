"""The trader: one minute after the other, each as one record that can be written whole.

A step reads the minute from the store, lets strategies scan what closed, and hands bars, market, setups and
commands to the simulator's step. It writes nothing: whoever drives it commits the record, and drops the
trader where that fails. All that one step hands to the next is in the trader's state and in the journal, so
starting is recovering (`trading.recovery`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from crypto_tracker.core.arrays import CodeArray, RecordArray
from crypto_tracker.core.decisions import Reason, Regime, Verdict
from crypto_tracker.core.errors import ConfigError, SimulationError
from crypto_tracker.core.money import to_decimal
from crypto_tracker.core.orders import FillKind
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import DAY_MS, MINUTE_MS, Timeframe, from_ms
from crypto_tracker.portfolio.parameters import SizingMode
from crypto_tracker.portfolio.regime import NO_FORCE, MarketState, follow_market
from crypto_tracker.portfolio.sizing import sized
from crypto_tracker.simulation import ledger
from crypto_tracker.simulation.books import OrderBooks, in_columns
from crypto_tracker.simulation.live import Stepped, Stepper
from crypto_tracker.simulation.records import CommandKind
from crypto_tracker.simulation.state import EMPTY, HELD, PortfolioState
from crypto_tracker.store.books import BookSource
from crypto_tracker.store.control import Command
from crypto_tracker.store.feed import UNKNOWN, MinuteBars, MinuteFeed
from crypto_tracker.store.trading_records import (
    REFERENCE,
    TRADED,
    Account,
    AppliedCommand,
    ConfigurationRow,
    Doubt,
    Halt,
    SeenBlock,
    SetupRecord,
    StepRecord,
)
from crypto_tracker.strategies.base import EVENT_SETUP, SETUP_DTYPE, Detection, Strategy
from crypto_tracker.strategies.decisions import encode_block, near_misses, scan_block
from crypto_tracker.strategies.needs import scan_timeframe
from crypto_tracker.strategies.scan import scan, setup_events
from crypto_tracker.trading import book
from crypto_tracker.trading.applied import CONFIGURE, forced_after, kernel_commands
from crypto_tracker.trading.book import SteppedMinute
from crypto_tracker.trading.commands import Answers, Situation, answer
from crypto_tracker.trading.doubts import withhold_doubtful
from crypto_tracker.trading.medians import RangeMedians
from crypto_tracker.trading.seen import (
    SeenRows,
    bars_digest,
    books_digest,
    encode_cells,
    encode_revisions,
    encode_rows,
)
from crypto_tracker.trading.setting import Setting, setting, untradable
from crypto_tracker.trading.state import TraderState
from crypto_tracker.trading.window import SeenWindow

SCAN_FAILED = "scan_failed"
LEDGER_MISMATCH = "ledger_mismatch"
INVARIANT_BROKEN = "invariant_broken"


class People(Protocol):
    """What people have told the account, as the trader asks for it before each minute."""

    def commands(self) -> Sequence[Command]:
        """Commands that have no answer yet, in their order."""
        ...

    def configuration(self, version: str) -> ConfigurationRow | None:
        """A configuration that was offered, None where nobody did."""
        ...


@dataclass(slots=True, kw_only=True)
class _Found:
    """What the scans of one close came to."""

    setups: RecordArray
    blocks: list[tuple[int, str, bytes]]
    near: list[SetupRecord]
    halts: list[Halt]


class Trader:
    """Steps the minutes of one account.

    Parameters
    ----------
    strategies : all that are installed, by name
    books : recorded order books, needed once a configuration lets market fills walk them
    audit : holds the ledger that was written against the state, and returns what is wrong, None where
        nothing is; asked once a day
    """

    def __init__(  # noqa: PLR0913 - one argument for each part that it joins
        self,
        *,
        account: Account,
        strategies: Mapping[str, Strategy],
        active: Setting,
        versions: set[str],
        state: TraderState,
        window: SeenWindow,
        medians: RangeMedians,
        feed: MinuteFeed,
        people: People,
        audit: Callable[[TraderState], str | None],
        books: BookSource | None = None,
    ) -> None:
        self.account = account
        self.state = state
        self.setting = active
        self._strategies = strategies
        self._versions = set(versions)
        self._window = window
        self._medians = medians
        self._feed = feed
        self._people = people
        self._audit = audit
        self._books = books
        self._stepper = self._stepper_of(active)
        watched = account.watched
        self._reference = None if account.reference is None else watched.index(account.reference)

    def step(self) -> StepRecord:
        """Step the minute at the cursor, with the bars that are in the store now."""
        state, account = self.state, self.account
        minute_ms = state.cursor_ms
        close_ms = minute_ms + MINUTE_MS
        new_day = minute_ms % DAY_MS == 0
        before = state.to_bytes() if new_day or minute_ms == account.start_ms else None
        halts = self._daily_audit() if new_day and minute_ms != account.start_ms else []

        answers = self._answers(minute_ms)
        self._obey(answers.applied)
        fresh_configuration = self._configure(answers.applied)
        version = self.setting.version

        bars = self._feed.minute(minute_ms)
        books, books_seen = self._read_books(minute_ms)
        healed = self._heal(minute_ms) if new_day and minute_ms != account.start_ms else []
        rows = self._see(bars)
        market = self._market()
        found = self._scan(close_ms)
        halts += found.halts
        applied = self._halting(halts, answers.applied)
        medians = self._fill_in_medians(found.setups, close_ms)
        doubts = self._withhold(found.setups, close_ms)

        portfolio_before = state.portfolio.copy()
        try:
            stepped = self._stepped(bars, market, found.setups, applied, portfolio_before, books)
        except SimulationError as error:
            # The state before the minute is sound: without entries its exits may go on.
            state.portfolio.restore(portfolio_before)
            halts.append(Halt(cause=INVARIANT_BROKEN, sentence=str(error), strategy=None))
            applied = self._halting(halts, answers.applied)
            stepped = self._stepped(bars, market, found.setups, applied, portfolio_before, books)
        record = StepRecord(
            time_ms=minute_ms,
            version=version,
            seen=encode_revisions(bars.revision, books_seen),
            bars_digest=bars_digest(bars.values),
            equity_quote=to_decimal(stepped.equity_e8[-1]),
            cash_quote=to_decimal(stepped.cash_e8[-1]),
            reserved_quote=to_decimal(stepped.reserved_e8[-1]),
            regime=Regime(market.regime[-1]),
            volatility=_number(market.volatility[-1]),
            state=b"",
            next_version=version,
            state_before=before,
            rows=rows,
            healed=healed,
            blocks=found.blocks,
            commands=applied,
            results=answers.results,
            medians=medians,
            doubts=doubts,
            halts=halts,
            configuration=fresh_configuration,
        )
        minute = SteppedMinute(
            instruments=self.setting.instruments,
            strategies=account.strategies,
            before=portfolio_before,
            after=state.portfolio,
            setups=found.setups,
            first_setup_number=state.next_setup,
            stepped=stepped,
            version=version,
            versions=state.setup_versions,
        )
        record = self._with_ledger(record, minute, found.near)
        state.cursor_ms = close_ms
        if new_day:
            self._window.drop_before(close_ms)
        return replace(record, state=state.to_bytes())

    # --- before the minute ---------------------------------------------------------------------

    def _answers(self, minute_ms: int) -> Answers:
        waiting = self._people.commands()
        if not waiting:
            return Answers(applied=[], results=[])
        return answer(waiting, minute_ms=minute_ms, situation=self._situation())

    def _situation(self) -> Situation:
        state = self.state
        return Situation(
            portfolio=state.portfolio,
            positions=self._stepper.positions(),
            symbols=self.account.symbols,
            strategies=self.account.strategies,
            enabled=self.setting.enabled,
            forced=state.forced_regime,
            halted=state.halted,
            halt_persists=lambda: self._audit(state),
            configuration=self.setting.row,
            offered=self._people.configuration,
            untradable=self._untradable,
        )

    def _untradable(self, row: ConfigurationRow) -> str | None:
        """Why a configuration can not be traded here, None where it can."""
        try:
            return untradable(self.setting, setting(row, self.account, self._strategies))
        except ConfigError as error:
            return str(error)

    def _configure(self, applied: Sequence[AppliedCommand]) -> ConfigurationRow | None:
        """Take over the last configuration that was applied; returns it where it is new to the account."""
        versions = [command.value for command in applied if command.kind == CONFIGURE]
        if not versions:
            return None
        row = self._people.configuration(str(versions[-1]))
        if row is None:
            raise SimulationError(f"the configuration {versions[-1]} was applied, but nobody has offered it")
        self.setting = setting(row, self.account, self._strategies)
        self.state.version = row.version
        self._stepper = self._stepper_of(self.setting)
        if row.version in self._versions:
            return None
        self._versions.add(row.version)
        return row

    def _stepper_of(self, active: Setting) -> Stepper:
        stepper = Stepper(
            instruments=active.instruments,
            strategies=self.account.strategies,
            enabled=active.enabled,
            rules=active.rules,
            state=self.state.portfolio,
        )
        self.state.portfolio = stepper.state
        return stepper

    def _daily_audit(self) -> list[Halt]:
        if self.state.halted is not None:
            return []
        wrong = self._audit(self.state)
        return [] if wrong is None else [Halt(cause=LEDGER_MISMATCH, sentence=wrong, strategy=None)]

    def _obey(self, applied: Sequence[AppliedCommand]) -> None:
        """What commands change of the trader itself; the simulator does the rest."""
        self.state.forced = forced_after(self.state.forced, applied, no_force=NO_FORCE)
        if any(command.kind == CommandKind.RESUME.name.lower() for command in applied):
            self.state.halted = None

    def _halting(self, halts: Sequence[Halt], applied: list[AppliedCommand]) -> list[AppliedCommand]:
        """The commands of the minute; a critical error adds the trader's own pause."""
        if not halts:
            return applied
        self.state.halted = halts[0].sentence
        pause = AppliedCommand(
            kind=CommandKind.PAUSE.name.lower(), symbol=None, strategy=None, value=None, command_id=None
        )
        return [*applied, pause]

    # --- what is seen --------------------------------------------------------------------------

    def _heal(self, minute_ms: int) -> list[SeenBlock]:
        return [
            SeenBlock(part=part, timeframe=timeframe, time_ms=minute_ms, block=encode_cells(cells))
            for part in self._window.parts
            for timeframe, cells in self._window.heal(part, minute_ms, self._feed.source)
        ]

    def _see(self, bars: MinuteBars) -> list[SeenBlock]:
        """Take in the minute and the coarser bars that close with it; returns the latter."""
        close_ms = bars.open_time_ms + MINUTE_MS
        made = []
        for part in self._window.parts:
            self._window.series(part, Timeframe.M1).extend(seen_minute(bars, self.account, part))
            for timeframe, rows in self._window.close_bars(part, close_ms, self._feed.source):
                block = SeenBlock(
                    part=part, timeframe=timeframe, time_ms=rows.start_ms, block=encode_rows(rows)
                )
                made.append(block)
        return made

    def _read_books(self, minute_ms: int) -> tuple[OrderBooks | None, dict[int, bytes]]:
        """The order books that fills of the minute can walk, and their digests by column.

        Only slots that are taken before the minute can have a market fill in it: what is decided at its close
        is bought later. So only the books of their symbols are read.
        """
        if not self.setting.walks_books or self._books is None:
            return None, {}
        symbols = self.account.symbols
        columns = np.flatnonzero(self.state.portfolio.slots["phase"] != EMPTY)
        span = minute_ms - self.setting.book_lead_ms, minute_ms + MINUTE_MS
        found = self._books.books([symbols[column] for column in columns], *span)
        books = in_columns(found, columns, len(symbols))
        return books, {column: books_digest(books, column, *span) for column in columns.tolist()}

    def _market(self) -> MarketState:
        state = self.state
        reference = None
        if self._reference is not None:
            reference = self._window.series(REFERENCE, Timeframe.M1).panel()
        forced: CodeArray = np.array([state.forced], dtype=np.int8)
        market, state.carry = follow_market(
            reference, self.account.strategies, self.setting.rules.protection, forced, state.carry
        )
        return sized(market, self._trend(), self.setting.rules.sizing)

    def _trend(self) -> CodeArray | None:
        """The slow regime of the last day that is closed, where sizes ask for it and it is known."""
        if self.setting.rules.sizing.mode is not SizingMode.ADAPTIVE:
            return None
        days = self._window.slow_regime(self.setting.configuration.protection.slow_regime)
        return None if days is None or not len(days) else days[-1:]

    # --- what is decided -----------------------------------------------------------------------

    def _scan(self, close_ms: int) -> _Found:
        found = _Found(setups=np.zeros(0, dtype=SETUP_DTYPE), blocks=[], near=[], halts=[])
        parts = [found.setups]
        for index, entry in enumerate(self.setting.entries):
            timeframe = scan_timeframe(entry.strategy, Timeframe.M1)
            if close_ms % timeframe.ms:
                continue
            view = self._window.view(
                entry.strategy,
                timeframe,
                close_ms,
                self.setting.instruments,
                self.setting.configuration.protection.slow_regime,
            )
            try:
                scans = scan(entry.strategy, view, entry.parameters, close_ms - timeframe.ms, close_ms)
                detections = [detection for _, detection in scans]
                blocks = [
                    (block.time_ms, block.strategy, encode_block(block))
                    for block in (scan_block(each, 0, self.setting.version) for each in detections)
                ]
                events = setup_events(detections, index, self.state.was_setup[index])
            except Exception as error:  # noqa: BLE001 - a strategy is anybody's code; entries stop, exits go on
                name = entry.strategy.name
                sentence = (
                    f"the scan of {name} at {from_ms(close_ms):%Y-%m-%d %H:%M} UTC failed: "
                    f"{type(error).__name__}: {error}"
                )
                found.halts.append(Halt(cause=SCAN_FAILED, sentence=sentence, strategy=name))
                continue
            found.blocks += blocks
            found.near += [record for each in detections for record in self._near(each)]
            parts.append(events)
        setups = np.concatenate(parts)
        found.setups = setups[np.lexsort((setups["strategy"], setups["symbol"], setups["time_ms"]))]
        return found

    def _near(self, detection: Detection) -> list[SetupRecord]:
        readiness = self.setting.configuration.decisions.near_miss_readiness
        rows, columns = np.nonzero(near_misses(detection, readiness))
        return [
            SetupRecord(
                setup_number=None,
                time_ms=int(detection.panel.close_time_ms[row]),
                symbol=detection.panel.symbols[column],
                strategy=detection.strategy,
                verdict=Verdict.NEAR_MISS,
                reason=Reason(detection.reason[row, column]),
                readiness=float(detection.readiness[row, column]),
                confidence=float(detection.confidence[row, column]),
                rank=None,
                fallback=False,
                measured=None,
                limit=None,
                version=self.setting.version,
            )
            for row, column in zip(rows, columns, strict=True)
        ]

    def _fill_in_medians(self, setups: RecordArray, close_ms: int) -> list[tuple[Symbol, int, float | None]]:
        rows = np.flatnonzero(setups["kind"] == EVENT_SETUP)
        if not len(rows):
            return []
        days = self.setting.rules.fills.trailing_range_days
        columns = setups["symbol"][rows].tolist()
        medians, fresh = self._medians.of(columns, close_ms, self._feed.source, days)
        setups["range_median"][rows] = medians
        return [(symbol, day_ms, _number(median)) for symbol, day_ms, median in fresh]

    def _withhold(self, setups: RecordArray, close_ms: int) -> list[Doubt]:
        """Withhold setups of symbols whose bars are doubtful then; a replay knows no quality of its past."""
        if self.account.end_ms is not None or not len(setups):
            return []
        symbols = self.account.symbols
        quality = self.setting.configuration.market_data.quality
        scores = self._feed.scores(close_ms, quality.valid_minutes)[: len(symbols)]
        return withhold_doubtful(setups, symbols, scores, quality.score_min)

    def _stepped(
        self,
        bars: MinuteBars,
        market: MarketState,
        setups: RecordArray,
        applied: Sequence[AppliedCommand],
        before: PortfolioState,
        books: OrderBooks | None,
    ) -> Stepped:
        """Step the portfolio; raises SimulationError where the outcome does not add up."""
        account = self.account
        commands = [(bars.open_time_ms, command) for command in applied]
        stepped = self._stepper.step(
            seen_minute(bars, account, TRADED).panel(Timeframe.M1, account.symbols),
            market,
            setups,
            kernel_commands(commands, account.symbols, account.strategies),
            first_setup_number=self.state.next_setup,
            books=books,
        )
        self._prove(before, stepped)
        return stepped

    # --- after the minute ----------------------------------------------------------------------

    def _prove(self, before: PortfolioState, stepped: Stepped) -> None:
        """Raise SimulationError where money came from nowhere: such an outcome is never written."""
        fills = stepped.fills
        sold = fills["kind"] == FillKind.EXIT
        signed = np.where(sold, fills["notional_e8"], -fills["notional_e8"]) - fills["fee_e8"]
        money = int(before.book["cash"][0] + before.book["reserved"][0]) + int(signed.sum())
        book_after = self.state.portfolio.book
        held = int(book_after["cash"][0] + book_after["reserved"][0])
        reserves = int(self.state.portfolio.parts["reserve"][self.state.portfolio.parts["open"]].sum())
        if held != money or reserves != int(book_after["reserved"][0]):
            raise SimulationError(
                f"the minute {from_ms(self.state.cursor_ms):%Y-%m-%d %H:%M} UTC does not add up: free and "
                f"reserved cash should be {to_decimal(money)} with {to_decimal(reserves)} reserved, the "
                f"simulator has {to_decimal(held)} with {to_decimal(int(book_after['reserved'][0]))}: "
                "report this with the account's trading.db"
            )

    def _with_ledger(self, record: StepRecord, minute: SteppedMinute, near: list[SetupRecord]) -> StepRecord:
        """The record with setups, orders, fills, trades and positions; the state counts them on."""
        state, symbols, strategies = self.state, self.account.symbols, self.account.strategies
        stepped, positions = minute.stepped, self._stepper.positions()
        setups = book.setup_records(minute)
        held = len(positions) or bool((minute.before.slots["phase"] == HELD).any())
        record = replace(
            record,
            # Setups in the order of their numbers, which is that of the account's strategies, not of names.
            setups=[*setups, *near],
            orders=book.order_records(minute),
            fills=ledger.fills(stepped.fills, [stepped.trades, positions], symbols, strategies),
            first_fill=state.next_fill,
            trades=ledger.trades(stepped.trades, symbols, strategies),
            first_trade=state.next_trade,
            trade_versions=minute.trade_versions(),
            positions=book.position_records(minute, positions) if held else None,
        )
        state.setup_versions = minute.versions_after()
        state.next_setup += len(setups)
        state.next_fill += len(stepped.fills)
        state.next_trade += len(stepped.trades)
        return record


def seen_minute(bars: MinuteBars, account: Account, part: str) -> SeenRows:
    """One minute of the symbols of a part."""
    columns = list(range(len(account.symbols)))
    if part == REFERENCE and account.reference is not None:
        columns = [account.watched.index(account.reference)]
    return SeenRows(
        start_ms=bars.open_time_ms,
        step_ms=MINUTE_MS,
        values=bars.values[:, np.newaxis, columns],
        covered=(bars.revision != UNKNOWN)[np.newaxis, columns],
    )


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)

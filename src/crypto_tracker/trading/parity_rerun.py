"""A recorded span once more on the path of a backtest: whole stretches scanned and stepped at once.

The trader takes one minute and one scan at a time. Here the strategies scan all closes of a stretch together,
and the portfolio is stepped over the stretch in one go. Stretches end only where a configuration version
changes, where bars came in later, at the turn of a month, and where memory would grow too large.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np

from crypto_tracker.core.arrays import CodeArray, RecordArray
from crypto_tracker.core.bars import Panel
from crypto_tracker.core.decisions import Reason, SlowRegime, Verdict
from crypto_tracker.core.money import decimal_of
from crypto_tracker.core.orders import Fill
from crypto_tracker.core.timeframes import DAY_MS, HOUR_MS, MINUTE_MS, Timeframe, from_ms, next_month_ms
from crypto_tracker.features.align import align_codes
from crypto_tracker.features.blocks import anchor_ms
from crypto_tracker.portfolio.parameters import SizingMode
from crypto_tracker.portfolio.regime import NO_FORCE, MarketState, follow_market
from crypto_tracker.portfolio.sizing import sized
from crypto_tracker.portfolio.trend import slow_regime_codes
from crypto_tracker.simulation import ledger
from crypto_tracker.simulation.live import Stepped, Stepper
from crypto_tracker.simulation.state import PortfolioState
from crypto_tracker.store.trading_journal import TradingJournal
from crypto_tracker.store.trading_records import (
    REFERENCE,
    TRADED,
    Account,
    AppliedCommand,
    Doubt,
    SetupRecord,
)
from crypto_tracker.strategies.base import (
    EVENT_SETUP,
    SETUP_DTYPE,
    Detection,
    Features,
    MarketView,
    Strategy,
    StrategyEntry,
)
from crypto_tracker.strategies.decisions import encode_block, near_misses, scan_block
from crypto_tracker.strategies.needs import (
    REFERENCE_LEAD_DAYS,
    TREND_SPANS,
    reference_warmup,
    scan_timeframe,
    traded_warmup,
)
from crypto_tracker.strategies.scan import cut, scan, setup_events
from crypto_tracker.trading.applied import forced_after, kernel_commands
from crypto_tracker.trading.doubts import withhold_again
from crypto_tracker.trading.parity_bars import PieceBars
from crypto_tracker.trading.parity_books import PieceBooks
from crypto_tracker.trading.parity_report import Closes, Held, Records
from crypto_tracker.trading.setting import Setting, setting
from crypto_tracker.trading.state import TraderState

_PIECE_CELLS = 2_000_000  # minutes x symbols that are held at once
_BOOKS_MS = HOUR_MS  # of order books that are held at once: a day of one symbol can be a gigabyte

Scan = tuple[Features, Detection]


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A stretch [start_ms, end_ms) under one configuration."""

    start_ms: int
    end_ms: int
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """What came into the span from outside, besides bars.

    Attributes
    ----------
    versions : each configuration version with the minute from which on it held, the first from the start
    commands : with the minute before whose OPEN each acted
    failed : close time and strategy of scans that failed when they were due, and are left out
    doubts : minutes and symbols whose setups were withheld, as their bars were doubtful
    """

    account: Account
    start_ms: int
    end_ms: int
    versions: Sequence[tuple[int, str]]
    commands: Sequence[tuple[int, AppliedCommand]]
    failed: frozenset[tuple[int, str]]
    doubts: Sequence[tuple[int, Doubt]]
    settings: Mapping[str, Setting]

    @classmethod
    def read(
        cls,
        journal: TradingJournal,
        account: Account,
        strategies: Mapping[str, Strategy],
        *,
        start_ms: int,
        end_ms: int,
        version: str,
    ) -> "Script":
        """The script of a span whose first minute would be stepped under `version`, from the journal."""
        held = {start_ms: version}
        last = version
        for day_ms in range(start_ms, end_ms, DAY_MS):
            minutes = journal.minutes(day_ms, min(day_ms + DAY_MS, end_ms))
            for time_ms, name in zip(minutes.time_ms.tolist(), minutes.version, strict=True):
                if name != last:
                    held[time_ms] = last = name
        return cls(
            account=account,
            start_ms=start_ms,
            end_ms=end_ms,
            versions=sorted(held.items()),
            commands=journal.commands_applied(start_ms, end_ms),
            failed=frozenset(
                (time_ms + MINUTE_MS, halt.strategy)
                for time_ms, halt in journal.halts(start_ms, end_ms)
                if halt.strategy is not None
            ),
            doubts=journal.doubts(start_ms, end_ms),
            settings={
                name: setting(journal.configuration(name), account, strategies)
                for name in dict.fromkeys(held.values())
            },
        )

    def pieces(self, cuts: set[int]) -> list[Piece]:
        """The span in stretches of one version and one calendar month each, cut at `cuts` and where long."""
        longest_ms = max(_PIECE_CELLS // len(self.account.watched) * MINUTE_MS // DAY_MS, 1) * DAY_MS
        version_at = dict(self.versions)
        edges = {self.start_ms, self.end_ms, *version_at, *cuts}
        month_ms = next_month_ms(self.start_ms)
        while month_ms < self.end_ms:
            edges.add(month_ms)
            month_ms = next_month_ms(month_ms)
        result: list[Piece] = []
        version = self.versions[0][1]
        ordered = sorted(edges)
        for first_ms, last_ms in pairwise(ordered):
            version = version_at.get(first_ms, version)
            for start_ms in range(first_ms, last_ms, longest_ms):
                end_ms = min(start_ms + longest_ms, last_ms)
                result.append(Piece(start_ms=start_ms, end_ms=end_ms, version=version))
        return result


def first_reads(active: Setting, account: Account, moment_ms: int) -> dict[str, dict[Timeframe, int]]:
    """The open time of the first bar that strategies and the slow regime read at a moment, by part."""
    strategies = [entry.strategy for entry in active.entries]
    traded: dict[Timeframe, int] = {}
    for strategy in strategies:
        for timeframe, bars in traded_warmup([strategy], scan_timeframe(strategy, Timeframe.M1)).items():
            first_ms = anchor_ms(timeframe, bars, moment_ms)
            traded[timeframe] = min(first_ms, traded.get(timeframe, first_ms))
    starts = {TRADED: traded}
    if account.reference is not None:
        needed = reference_warmup(strategies, trend_days=_trend_days(active))
        starts[REFERENCE] = {each: anchor_ms(each, bars, moment_ms) for each, bars in needed.items()}
    return starts


@dataclass(slots=True, kw_only=True)
class Replayed:
    """What a piece came to; `failed` says what went wrong with scans that could not be made now."""

    piece: Piece
    records: Records
    failed: dict[tuple[int, str], str]


@dataclass(slots=True)
class _Found:
    """What the scans of a piece came to."""

    events: list[RecordArray] = field(default_factory=list)
    blocks: dict[tuple[int, str], bytes] = field(default_factory=dict)
    near: list[SetupRecord] = field(default_factory=list)
    failed: dict[tuple[int, str], str] = field(default_factory=dict)


class Rerun:
    """Goes through a span piece by piece.

    Parameters
    ----------
    state : of the trader before the span; changed in place, and that of the end once all pieces are through
    keep_scans : whether scans and near misses are among the records
    books : needed where a version lets market fills walk recorded order books
    """

    def __init__(
        self,
        script: Script,
        bars: PieceBars,
        state: TraderState,
        *,
        keep_scans: bool,
        books: PieceBooks | None = None,
    ) -> None:
        self._script = script
        self._books = books
        self._account = script.account
        self._bars = bars
        self._state = state
        self._keep_scans = keep_scans

    def through(self, pieces: Sequence[Piece], tell: Callable[[str], None]) -> Iterator[Replayed]:
        """What each piece comes to; `tell` is given what is going on, in words."""
        for piece in pieces:
            tell(f"{from_ms(piece.start_ms):%Y-%m-%d} to {from_ms(piece.end_ms - 1):%Y-%m-%d}")
            active = self._script.settings[piece.version]
            self._bars.go_to(first_reads(active, self._account, piece.start_ms), piece.start_ms, piece.end_ms)
            commands = [each for each in self._script.commands if piece.start_ms <= each[0] < piece.end_ms]
            market = self._market(piece, active, commands)
            found = _Found()
            for index, entry in enumerate(active.entries):
                self._scan(piece, active, index, entry, found)
            records = self._step(piece, active, commands, market, found)
            yield Replayed(piece=piece, records=records, failed=found.failed)

    def held(self) -> list[Held]:
        """What is held now."""
        return held_in(self._script, self._state.portfolio)

    # --- the market ----------------------------------------------------------------------------

    def _market(
        self, piece: Piece, active: Setting, commands: Sequence[tuple[int, AppliedCommand]]
    ) -> MarketState:
        """The market of every close of the piece; what is carried and forced at its end is remembered."""
        state = self._state
        count = (piece.end_ms - piece.start_ms) // MINUTE_MS
        forced: CodeArray = np.full(count, state.forced, dtype=np.int8)
        for time_ms, command in commands:
            state.forced = forced_after(state.forced, [command], no_force=NO_FORCE)
            forced[(time_ms - piece.start_ms) // MINUTE_MS :] = state.forced
        reference = None
        if self._account.reference is not None:
            lead_ms = piece.start_ms - REFERENCE_LEAD_DAYS * DAY_MS
            reference = self._bars.panel(REFERENCE, Timeframe.M1, lead_ms, piece.end_ms)
        market, state.carry = follow_market(
            reference, self._account.strategies, active.rules.protection, forced, state.carry
        )
        return sized(market, self._trend(piece, active, count), active.rules.sizing)

    def _trend(self, piece: Piece, active: Setting, count: int) -> CodeArray | None:
        """The slow regime at every close of the piece, where sizes ask for it and there is a reference."""
        if active.rules.sizing.mode is not SizingMode.ADAPTIVE or self._account.reference is None:
            return None
        needed = reference_warmup([], trend_days=_trend_days(active))
        days = self._panels(REFERENCE, needed, piece)[Timeframe.D1]
        codes = slow_regime_codes(days, active.configuration.protection.slow_regime)
        closes = piece.start_ms + MINUTE_MS * np.arange(1, count + 1, dtype=np.int64)
        return align_codes(codes, days.close_time_ms, closes, unknown=SlowRegime.UNKNOWN)

    # --- scans ---------------------------------------------------------------------------------

    def _scan(self, piece: Piece, active: Setting, index: int, entry: StrategyEntry, found: _Found) -> None:
        """Scan the whole piece with one strategy; scans that failed when they were due are left out."""
        name = entry.strategy.name
        left_out = [close_ms for close_ms, strategy in self._script.failed if strategy == name]
        failed: dict[int, str] = {}
        scans = _scans(entry, self._view(piece, active, entry.strategy), piece.start_ms, piece.end_ms, failed)
        kept = [part for each in scans for part in _without(each, left_out)]
        found.failed.update(
            {(close_ms, name): why for close_ms, why in failed.items() if close_ms not in left_out}
        )
        if self._keep_scans:
            for detection in kept:
                found.near += _near(detection, active)
                for row in range(len(detection.panel)):
                    block = scan_block(detection, row, active.version)
                    found.blocks[block.time_ms, block.strategy] = encode_block(block)
        found.events.append(setup_events(kept, index, self._state.was_setup[index]))

    def _view(self, piece: Piece, active: Setting, strategy: Strategy) -> MarketView:
        """What a strategy may look at over the piece, from the anchor of its month on."""
        timeframe = scan_timeframe(strategy, Timeframe.M1)
        panels = self._panels(TRADED, traded_warmup([strategy], timeframe), piece)
        reference: dict[Timeframe, Panel] = {}
        trend = None
        if self._account.reference is not None:
            needed = reference_warmup([strategy], trend_days=_trend_days(active))
            reference = self._panels(REFERENCE, needed, piece)
            trend = slow_regime_codes(reference[Timeframe.D1], active.configuration.protection.slow_regime)
        return MarketView(
            timeframe=timeframe,
            panels=panels,
            reference=reference,
            instruments=active.instruments,
            slow_regime=trend,
        )

    def _panels(self, part: str, warmup: Mapping[Timeframe, int], piece: Piece) -> dict[Timeframe, Panel]:
        return {
            each: self._bars.panel(part, each, anchor_ms(each, bars, piece.start_ms), piece.end_ms)
            for each, bars in warmup.items()
        }

    # --- the portfolio -------------------------------------------------------------------------

    def _step(
        self,
        piece: Piece,
        active: Setting,
        commands: Sequence[tuple[int, AppliedCommand]],
        market: MarketState,
        found: _Found,
    ) -> Records:
        """Step the portfolio over the whole piece."""
        state, account = self._state, self._account
        setups = np.concatenate([np.zeros(0, dtype=SETUP_DTYPE), *found.events])
        setups = setups[np.lexsort((setups["strategy"], setups["symbol"], setups["time_ms"]))]
        rows = np.flatnonzero(setups["kind"] == EVENT_SETUP)
        setups["range_median"][rows] = self._bars.medians(
            setups[rows], active.rules.fills.trailing_range_days
        )
        withhold_again(
            setups,
            account.symbols,
            [each for each in self._script.doubts if piece.start_ms <= each[0] < piece.end_ms],
        )
        stepper = _stepper(active, account, state.portfolio)
        state.portfolio = stepper.state
        names = account.symbols, account.strategies
        steps: list[Stepped] = []
        fills: list[Fill] = []
        for part in _parts(piece, active):
            new = setups[(setups["time_ms"] > part.start_ms) & (setups["time_ms"] <= part.end_ms)]
            acting = [each for each in commands if part.start_ms <= each[0] < part.end_ms]
            first, stop = ((at - piece.start_ms) // MINUTE_MS for at in (part.start_ms, part.end_ms))
            stepped = stepper.step(
                self._bars.panel(TRADED, Timeframe.M1, part.start_ms, part.end_ms),
                market.rows(first, stop),
                new,
                kernel_commands(acting, *names),
                first_setup_number=state.next_setup,
                books=None if self._books is None else self._books.read(active, part.start_ms, part.end_ms),
            )
            state.next_setup += int((new["kind"] == EVENT_SETUP).sum())
            fills += ledger.fills(stepped.fills, (stepped.trades, stepper.positions()), *names)
            steps.append(stepped)
        trades = ledger.trades(np.concatenate([each.trades for each in steps]), *names)
        state.next_fill += len(fills)
        state.next_trade += len(trades)
        state.cursor_ms, state.version = piece.end_ms, piece.version
        decisions = np.concatenate([each.decisions for each in steps])
        count = len(market.regime)
        return Records(
            blocks=found.blocks,
            setups=[*_answers(setups, rows, decisions, account, active.version), *found.near],
            fills=fills,
            trades=trades,
            closes=Closes(
                time_ms=piece.start_ms + MINUTE_MS * np.arange(count, dtype=np.int64),
                known=np.ones(count, dtype=np.bool_),
                equity_e8=np.concatenate([each.equity_e8 for each in steps]),
                cash_e8=np.concatenate([each.cash_e8 for each in steps]),
                reserved_e8=np.concatenate([each.reserved_e8 for each in steps]),
                regime=market.regime,
                volatility=market.volatility,
            ),
        )


def held_in(script: Script, portfolio: PortfolioState) -> list[Held]:
    """What a portfolio holds at the end of the script."""
    account = script.account
    rows = _stepper(script.settings[script.versions[-1][1]], account, portfolio).positions()
    return [
        Held(
            trade=trade,
            open_quantity=decimal_of(row["open_quantity"]),
            stop_price=float(row["stop_price"]),
            target_price=float(row["target_price"]),
        )
        for row, trade in zip(rows, ledger.trades(rows, account.symbols, account.strategies), strict=True)
    ]


def _stepper(active: Setting, account: Account, portfolio: PortfolioState) -> Stepper:
    return Stepper(
        instruments=active.instruments,
        strategies=account.strategies,
        enabled=active.enabled,
        rules=active.rules,
        state=portfolio,
    )


def _parts(piece: Piece, active: Setting) -> list[Piece]:
    """The stretches in which a piece is stepped: all of it, or as long as order books may be held."""
    step_ms = _BOOKS_MS if active.walks_books else piece.end_ms - piece.start_ms
    return [
        replace(piece, start_ms=start_ms, end_ms=min(start_ms + step_ms, piece.end_ms))
        for start_ms in range(piece.start_ms, piece.end_ms, step_ms)
    ]


def _trend_days(active: Setting) -> int:
    return TREND_SPANS * active.configuration.protection.slow_regime.trend_bars


def _scans(
    entry: StrategyEntry, view: MarketView, start_ms: int, end_ms: int, failed: dict[int, str]
) -> list[Scan]:
    """What the strategy says of every close in (start_ms, end_ms]; scans that fail are noted instead."""
    try:
        return list(scan(entry.strategy, view, entry.parameters, start_ms, end_ms))
    except Exception as error:  # noqa: BLE001 - a strategy is anybody's code: which scan fails is searched for
        step = view.timeframe.ms
        first_ms, last_ms = (start_ms // step + 1) * step, end_ms // step * step
        if first_ms >= last_ms:
            failed[first_ms] = f"{type(error).__name__}: {error}"
            return []
    middle_ms = first_ms + (last_ms - first_ms) // step // 2 * step
    return [
        *_scans(entry, view, start_ms, middle_ms, failed),
        *_scans(entry, view, middle_ms, end_ms, failed),
    ]


def _without(found: Scan, left_out: Sequence[int]) -> Iterator[Detection]:
    """The detection without the closes that are left out: the stretches between them."""
    features, detection = found
    closes = detection.panel.close_time_ms
    first = 0
    for stop in [*np.flatnonzero(np.isin(closes, left_out)).tolist(), len(closes)]:
        if stop > first:
            yield cut(features, detection, first, stop)[1]
        first = stop + 1


def _near(detection: Detection, active: Setting) -> list[SetupRecord]:
    rows, columns = np.nonzero(near_misses(detection, active.configuration.decisions.near_miss_readiness))
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
            version=active.version,
        )
        for row, column in zip(rows, columns, strict=True)
    ]


def _answers(
    setups: RecordArray, rows: RecordArray, decisions: RecordArray, account: Account, version: str
) -> list[SetupRecord]:
    """Every setup with the portfolio's answer."""
    records = []
    for row in rows:
        setup, decision = setups[row], decisions[row]
        reason = Reason(decision["reason"])
        records.append(
            SetupRecord(
                setup_number=None,
                time_ms=int(setup["time_ms"]),
                symbol=account.symbols[setup["symbol"]],
                strategy=account.strategies[setup["strategy"]],
                verdict=Verdict.TAKE if reason is Reason.ACCEPTED else Verdict.SKIP,
                reason=reason,
                readiness=float(setup["readiness"]),
                confidence=float(setup["confidence"]),
                rank=int(decision["rank"]) if decision["rank"] >= 0 else None,
                fallback=bool(decision["fallback"]),
                measured=_number(decision["measured"]),
                limit=_number(decision["limit"]),
                version=version,
            )
        )
    return records


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)

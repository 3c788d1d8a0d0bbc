"""What is known of one trading account now: read when something was written, kept until something else is.

Threads share it. Two things are followed apart: the records, which grow with every minute, and the bars of
the market, which are read once for each minute of the account that somebody asks about.
"""

from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock

from crypto_tracker.app.accounts import AccountPlace, account_place
from crypto_tracker.app.commanding import Standing
from crypto_tracker.app.serving.account_item import SYNTHETIC
from crypto_tracker.app.serving.account_scans import AccountScans
from crypto_tracker.app.serving.book_memory import BookMemory
from crypto_tracker.app.serving.data_view import newest_bars
from crypto_tracker.app.serving.follower import AccountFollower, Followed
from crypto_tracker.app.serving.home_bars import HomeBars, OfBars
from crypto_tracker.app.serving.log_pages import log_page
from crypto_tracker.app.serving.log_view import AccountLog, HalfDays
from crypto_tracker.app.serving.market_view import MarketNow
from crypto_tracker.app.serving.present import Present
from crypto_tracker.app.serving.recent import Recent
from crypto_tracker.app.serving.scope import Scope
from crypto_tracker.app.serving.status_view import Around, status_view
from crypto_tracker.app.serving.trade_columns import Totals
from crypto_tracker.app.serving.trade_view import tiers_of
from crypto_tracker.app.standing import CoinStanding, Reading, coin_standings
from crypto_tracker.config.tree import Configuration
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import MINUTE_MS, Timeframe
from crypto_tracker.desk.source import EVERY_LINE, LogFilter, TradeFilter
from crypto_tracker.desk.views.accounts import Status
from crypto_tracker.desk.views.decisions import Log, LogLine
from crypto_tracker.store.control import Check
from crypto_tracker.store.reader import BarReader
from crypto_tracker.store.trading import is_traded
from crypto_tracker.store.trading_records import ConfigurationRow
from crypto_tracker.strategies.base import Strategy
from crypto_tracker.trading.setting import stored_configuration
from crypto_tracker.trading.state import TraderState

LOG_LINES = 60
"""The newest lines of the log, which the stream tells."""

_NEWEST_BAR_AGE_MS = 5_000  # the newest bar of the store is looked up at most so often
_TRIES = 3  # a trader may commit between two reads
_VERSIONS_KEPT = 8
_HALF_DAYS_KEPT = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """An account at one close: what all its records say, and what stands after the last."""

    followed: Followed
    present: Present
    row: ConfigurationRow  # of the next minute
    last_check: Check | None


@dataclass(frozen=True, slots=True)
class _Rules:
    """What one configuration version means for the account."""

    configuration: Configuration
    tiers: Mapping[Symbol, str]


class Moments:
    """One account of a home, as it stands whenever somebody asks.

    Parameters
    ----------
    strategies : every one that is installed, by name
    """

    def __init__(
        self,
        stored: HomeBars,
        name: str,
        *,
        strategies: Callable[[], Mapping[str, Strategy]],
        now_ms: Callable[[], int],
    ) -> None:
        self.stored = stored
        self.name = name
        self.folder = account_place(stored.home, name).folder
        self.strategies = strategies
        self.now_ms = now_ms
        self.follower = AccountFollower(self.folder)
        self.scans = AccountScans(self.follower)
        self._making = Lock()
        self._moment: Moment | None = None
        self._memory = (0, BookMemory())
        self._rules: Recent[_Rules] = Recent(_VERSIONS_KEPT)
        self._market: tuple[Hashable, OfBars[MarketNow]] | None = None
        self._coins: Recent[tuple[CoinStanding, ...]] = Recent(1)
        self._closed: Recent[Totals] = Recent(1)
        self._status: Recent[Status] = Recent(1)
        self._log: Recent[list[LogLine]] = Recent(1)
        self._half_days: Recent[HalfDays] = Recent(1)
        self._newest_bar: Recent[tuple[int | None]] = Recent(1, age_ms=_NEWEST_BAR_AGE_MS)

    def now(self, *, wait: bool = False) -> Moment:
        """The account as it stands; raises StoreError where there is none, or it is being opened.

        While another thread reads what is new, it may be the state before; not so with `wait`.
        """
        self.follower.refresh(wait=wait)
        followed, known = self.follower.now, self._moment
        if known is not None and known.followed is followed:
            return known
        with self._making:
            known = self._moment
            for _ in range(_TRIES):
                followed = self.follower.now
                if known is not None and known.followed is followed:
                    break
                known = self._moment = self._read(followed)
                if known.present.cursor_ms == followed.cursor_ms:
                    break
                self.follower.refresh(wait=wait)
        if known is None:  # pragma: no cover - the first round makes one
            raise RuntimeError("no moment was read")
        return known

    def market(self, moment: Moment) -> MarketNow:
        """What bars say of the market at the account's last close."""
        present, kept = moment.present, self._market
        key = moment.followed.beginning, present.cursor_ms, present.scope.version
        if kept is None or kept[0] != key:
            kept = self._market = key, OfBars(self.stored, self._read_market, self.now_ms)
        return kept[1].get()

    def coins(self, moment: Moment) -> tuple[CoinStanding, ...]:
        """The symbols of which something is to be told."""

        def read() -> tuple[CoinStanding, ...]:
            with self.reading() as reading:
                return coin_standings(reading, reader=self.bars())

        return self._coins.made((moment.followed.generation, self.stored.state().made), read)

    def around(self, moment: Moment) -> Around:
        """What is known besides the records: the clock, the process, commands that wait, the newest bar."""
        now_ms = self.now_ms()
        (newest_bar_ms,) = self._newest_bar.made(
            None, lambda: (self._newest_bar_ms(moment.present),), now_ms=now_ms
        )
        return Around(
            now_ms=now_ms,
            running=is_traded(self.folder),
            synthetic=SYNTHETIC in moment.followed.account.providers.values(),
            waiting=moment.followed.waiting,
            last_check=moment.last_check,
            newest_bar_ms=newest_bar_ms,
        )

    def status(self, moment: Moment) -> Status:
        """The account at a glance; of its last minute it is made once a second, however many look."""
        around = self.around(moment)
        key = moment.followed.generation, around.running, around.newest_bar_ms, around.now_ms // 1_000
        made = self._status.made(
            key,
            lambda: status_view(
                moment.present,
                around,
                closed=self.closed(moment),
                equity=moment.followed.equity,
                market=self.market(moment),
            ),
        )
        lag_ms = None if made.lag_ms is None else max(around.now_ms - made.until_ms, 0)
        return made.model_copy(update={"now_ms": around.now_ms, "lag_ms": lag_ms})

    def closed(self, moment: Moment) -> Totals:
        """All closed trades added up."""
        trades, tiers = moment.followed.trades, moment.present.tiers
        key = moment.followed.beginning, len(trades)
        return self._closed.made(key, lambda: trades.totals(trades.select(TradeFilter(), tiers)))

    def log(self, moment: Moment) -> list[LogLine]:
        """The newest lines of the log."""
        return self._log.made(
            moment.followed.generation, lambda: list(self.log_page(moment, EVERY_LINE, limit=LOG_LINES).items)
        )

    def log_page(self, moment: Moment, where: LogFilter, *, limit: int, cursor: str | None = None) -> Log:
        """One page of the log, the newest lines first."""
        followed, until_ms = moment.followed, moment.present.cursor_ms
        with self.follower.views() as records:
            log = AccountLog(
                records=records,
                setups=followed.setups,
                trades=followed.trades,
                regimes=followed.regimes,
                tiers=moment.present.tiers,
                until_ms=until_ms,
                where=where,
                kept=self._half_days.made(followed.beginning, lambda: Recent(_HALF_DAYS_KEPT)),
            )
            return log_page(
                self.name,
                log.lines,
                log.words,
                where,
                limit=limit,
                cursor=cursor,
                until_ms=until_ms + MINUTE_MS,
            )

    def where(self, moment: Moment) -> Standing:
        """The account as commands are told to it."""
        return Standing(
            place=AccountPlace(self.name, self.folder, is_traded(self.folder)),
            account=moment.present.account,
            cursor_ms=moment.present.cursor_ms,
            configuration=moment.row,
        )

    def bars(self) -> BarReader | None:
        """The stored bars of the home; None where there are none."""
        return self.stored.reader() if self.stored.there else None

    @contextmanager
    def reading(self) -> Iterator[Reading]:
        """The account open for reading, one state while the block runs."""
        with self.follower.views() as records:
            row = records.configuration()
            yield Reading(
                place=AccountPlace(self.name, self.folder, running=False),
                views=records,
                account=records.account(),
                cursor_ms=records.cursor_ms(),
                state=TraderState.from_bytes(records.state()),
                configuration=self._rules_of(row, records.account().symbols).configuration,
                version=row.version,
            )

    def forget(self) -> None:
        """Let go of an account that is not there: of its files, and of all that was read of it."""
        self.follower.forget()
        with self._making:
            self._moment, self._memory = None, (0, BookMemory())

    def close(self) -> None:
        """Let go of every file for good."""
        self.follower.close()

    # --- reading -------------------------------------------------------------------------------

    def _read(self, followed: Followed) -> Moment:
        with self.follower.control() as control:
            checks = [] if control is None else control.checks(limit=1)
        with self.reading() as reading:
            row = reading.views.configuration()
            rules = self._rules_of(row, reading.account.symbols)
            scope = self._scope(reading, self._memory_of(followed, reading))
            return Moment(
                followed=followed,
                present=Present.read(reading, scope, rules.tiers, generation=followed.generation),
                row=row,
                last_check=checks[0] if checks else None,
            )

    def _scope(self, reading: Reading, memory: BookMemory) -> Scope:
        account, configuration = reading.account, reading.configuration
        return Scope(
            account=self.name,
            bars=self.stored,
            symbols=account.symbols,
            reference=account.reference,
            providers=account.providers,
            history=configuration.market_data.history,
            strategies=account.strategies,
            installed=self.strategies(),
            configuration=configuration,
            version=reading.version,
            quote=account.symbols[0].quote,
            start_ms=account.start_ms,
            until_ms=reading.cursor_ms,
            live=True,
            near_miss_readiness=configuration.decisions.near_miss_readiness,
            now_ms=self.now_ms,
            memory=memory,
        )

    def _memory_of(self, followed: Followed, reading: Reading) -> BookMemory:
        """What is kept of this account, and of none that was begun in its place before."""
        if reading.account != followed.account:
            return BookMemory()  # it was begun anew between two reads: this moment will not last
        if self._memory[0] != followed.beginning:
            self._memory = (followed.beginning, BookMemory())
        return self._memory[1]

    def _rules_of(self, row: ConfigurationRow, symbols: tuple[Symbol, ...]) -> _Rules:
        def read() -> _Rules:
            configuration = stored_configuration(row, self.strategies())
            return _Rules(configuration, tiers_of(configuration, symbols))

        return self._rules.made((row.version, row.document, symbols), read)

    def _read_market(self) -> tuple[MarketNow, bool]:
        """The market at the last close, and whether all of it is known."""
        with self.reading() as reading:
            found = MarketNow.read(reading, self.bars())
        known = found.reference_price is not None and None not in found.standing.returns.values()
        return found, found.bars and (known or found.standing.reference is None)

    def _newest_bar_ms(self, present: Present) -> int | None:
        """The end of the newest stored minute of any symbol that is watched; None where there is none."""
        if not self.stored.there:
            return None
        stored, providers = newest_bars(self.stored.home), present.account.providers
        ends = [
            stored.get((providers[symbol], symbol), {}).get(Timeframe.M1)
            for symbol in present.account.watched
        ]
        return max((end for end in ends if end is not None), default=None)

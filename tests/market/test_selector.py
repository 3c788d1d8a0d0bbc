"""The pair selector: its figures, its filters, its score, and what it asks a provider for."""

import asyncio
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from statistics import correlation as judged_correlation
from statistics import stdev

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto_tracker.config.universe import Selector
from crypto_tracker.core.bars import Panel
from crypto_tracker.core.errors import DataError, ProviderUnavailable, UnknownToProvider, UsageError
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import DAY_MS, Timeframe, to_ms
from crypto_tracker.market.providers.base import FetchedBars, MarketInfo, Reach
from crypto_tracker.market.selecting import Selected, select_pairs
from crypto_tracker.market.selector import (
    Figures,
    correlation,
    daily_returns,
    risk,
    select,
    volatility,
    window_days,
)
from crypto_tracker.store.batch import BarBatch
from tests.research.worlds import configuration

NOW_MS = to_ms(datetime(2025, 8, 20, 15, 30, tzinfo=UTC))
TODAY_MS = NOW_MS // DAY_MS * DAY_MS
BTC, ETH, DOGE, PEPE, USDT = (Symbol(coin, "USD") for coin in ("BTC", "ETH", "DOGE", "PEPE", "USDT"))


def settings(**changed: float | str) -> Selector:
    """The default settings, with others."""
    return configuration(*(f"selector.{name}={value}" for name, value in changed.items())).selector


def figures(symbol: Symbol, **changed: object) -> Figures:
    """A pair that passes every filter."""
    plain = Figures(
        symbol=symbol, active=True, volume_quote=5e6, volatility=0.05, correlation=0.5, listed_days=31
    )
    return replace(plain, **changed)


def reasons(*pairs: Figures, **changed: float | str) -> dict[str, str | None]:
    selected = select(pairs, settings(**changed), provider="kraken")
    return {pair.symbol.base: pair.reason for pair in selected}


# ----------------------------------------------------------------------------------------------- figures


def test_a_return_needs_both_of_its_closes():
    closes = np.array([100.0, 110.0, np.nan, 121.0, 0.0, 100.0, 105.0])
    np.testing.assert_allclose(daily_returns(closes, 6), [0.1, np.nan, np.nan, np.nan, np.nan, 0.05])
    np.testing.assert_allclose(daily_returns(closes[-2:], 3), [np.nan, np.nan, 0.05])


@given(st.lists(st.floats(-0.3, 0.4), min_size=4, max_size=40))
def test_volatility_is_the_sample_deviation_of_the_known_returns(values: list[float]):
    found = volatility(np.array([np.nan, *values]))
    assert found == pytest.approx(stdev(values), rel=1e-9, abs=1e-12)


def test_where_fewer_than_half_of_the_returns_are_known_there_is_no_volatility():
    half = np.array([0.01, 0.03, np.nan, np.nan])
    assert volatility(half) == pytest.approx(math.sqrt(0.0002))
    assert volatility(np.array([0.01, 0.03, np.nan, np.nan, np.nan])) is None
    assert volatility(np.array([0.01])) is None


@given(
    st.lists(st.tuples(st.integers(-300, 400), st.integers(-300, 400)), min_size=3, max_size=40).filter(
        lambda pairs: len({x for x, _ in pairs}) > 1 and len({y for _, y in pairs}) > 1
    )
)
def test_correlation_is_pearsons_over_the_days_that_both_have(pairs: list[tuple[int, int]]):
    own, other = (np.array(column) / 1000.0 for column in zip(*pairs, strict=True))
    gaps = np.array([np.nan, 0.5])
    found = correlation(np.concatenate([own, gaps]), np.concatenate([other, gaps[::-1]]))
    assert found == pytest.approx(judged_correlation(own.tolist(), other.tolist()), abs=1e-9)


def test_what_does_not_move_has_no_correlation():
    assert correlation(np.zeros(10), np.linspace(0.0, 0.1, 10)) is None
    assert correlation(np.array([0.1, np.nan, np.nan, 0.2]), np.array([np.nan, 0.1, 0.2, 0.3])) is None


def test_nothing_moves_more_like_the_benchmark_than_itself():
    own = np.array([0.013, -0.021, 0.0071, 0.03, -0.011])
    assert correlation(own, own) == pytest.approx(1.0)
    assert correlation(own, own) <= 1.0


# ----------------------------------------------------------------------------------------------- filters


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"active": False}, "kraken does not trade it"),
        ({"volume_quote": None}, "its volume of 24 h is not known"),
        ({"volume_quote": 999_999.0}, "999,999 traded in 24 h, below 1,000,000"),
        ({"volume_quote": 2e9}, "2,000,000,000 traded in 24 h, above 1,000,000,000"),
        ({"listed_days": None}, "no daily bar of it is known"),
        ({"listed_days": 0}, "no daily bar of it is known"),
        ({"listed_days": 29}, "29 days with a daily bar, below 30"),
        ({"volatility": None}, "too few daily returns in 30 days to know its volatility"),
        ({"volatility": 0.0004}, "volatility 0.04 %, below 1 %"),
        ({"volatility": 0.2501}, "volatility 25.01 %, above 25 %"),
        ({"correlation": None}, "its correlation with BTC is not known"),
        ({"correlation": 0.951}, "correlation 0.95 with BTC, above 0.95"),
    ],
)
def test_each_filter_says_what_it_saw_and_what_it_asks_for(changed: dict[str, object], sentence: str):
    found = reasons(figures(ETH), figures(DOGE, **changed), volume_max_quote=1e9, correlation_max=0.95)
    assert found == {"ETH": None, "DOGE": sentence}


def test_what_stands_exactly_on_a_border_passes():
    on = {"volume_quote": 1e6, "listed_days": 30, "volatility": 0.01, "correlation": 0.95}
    assert reasons(figures(ETH, **on), correlation_max=0.95) == {"ETH": None}
    assert reasons(figures(ETH, volatility=0.25, volume_quote=1e9), volume_max_quote=1e9) == {"ETH": None}


def test_of_several_reasons_the_first_filter_speaks():
    assert reasons(figures(ETH, active=False, volume_quote=None, volatility=None)) == {
        "ETH": "kraken does not trade it"
    }


# ----------------------------------------------------------------------------------------- score and risk


def test_the_score_is_the_weighted_mean_of_three_parts():
    # Volume: DOGE trades most (3 of 3), ETH is second, PEPE third. Volatility: the middle of 0.01 and 0.25 is
    # 0.13, so 0.13 gives 1, 0.07 gives 0.5 and 0.25 gives 0. Correlation: 0.5 gives 0.25, 0 gives 0.5, -1 gives 1.
    pairs = (
        figures(DOGE, volume_quote=9e6, volatility=0.13, correlation=0.5),
        figures(ETH, volume_quote=6e6, volatility=0.07, correlation=0.0),
        figures(PEPE, volume_quote=3e6, volatility=0.25, correlation=-1.0),
    )
    found = select(pairs, settings(), provider="kraken")
    assert [pair.symbol for pair in found] == [DOGE, ETH, PEPE]
    expected = [
        100.0 * (0.5 * 1.0 + 0.3 * 1.0 + 0.2 * 0.25),  # 85
        100.0 * (0.5 * 2 / 3 + 0.3 * 0.5 + 0.2 * 0.5),  # 58.33
        100.0 * (0.5 * 1 / 3 + 0.3 * 0.0 + 0.2 * 1.0),  # 36.67
    ]
    assert [pair.score for pair in found] == pytest.approx(expected)


def test_only_the_best_are_chosen_and_the_others_are_told_their_place():
    pairs = [
        figures(symbol, volume_quote=volume) for symbol, volume in ((ETH, 2e6), (DOGE, 3e6), (PEPE, 4e6))
    ]
    found = select(pairs, settings(count_max=2), provider="kraken")
    assert [(pair.symbol, pair.chosen, pair.reason) for pair in found] == [
        (PEPE, True, None),
        (DOGE, True, None),
        (ETH, False, "place 3, and the best 2 are taken"),
    ]
    assert found[2].score is not None


@given(st.permutations([BTC, ETH, DOGE, PEPE, USDT]))
def test_in_whatever_order_pairs_come_the_selection_is_the_same(order: list[Symbol]):
    known = {
        BTC: figures(BTC),
        ETH: figures(ETH),  # the same figures, so that the name decides
        DOGE: figures(DOGE, volume_quote=8e6),
        PEPE: figures(PEPE, volatility=None),
        USDT: figures(USDT, volatility=0.0001),
    }
    found = select([known[symbol] for symbol in order], settings(count_max=2), provider="kraken")
    assert [pair.symbol for pair in found] == [DOGE, BTC, ETH, PEPE, USDT]
    assert [pair.chosen for pair in found] == [True, True, False, False, False]


@pytest.mark.parametrize(
    ("changed", "level"),
    [
        ({"volatility": 0.0399, "volume_quote": 5e7}, "low"),
        ({"volatility": 0.0399, "volume_quote": 4.9e7}, "medium"),
        ({"volatility": 0.04, "volume_quote": 5e7}, "medium"),
        ({"volatility": 0.08, "volume_quote": 5e9}, "high"),
        ({"volatility": None}, None),
        ({"volume_quote": None}, None),
    ],
)
def test_risk_follows_the_configured_thresholds(changed: dict[str, object], level: str | None):
    assert risk(figures(ETH, **changed), settings()) == level


# ------------------------------------------------------------------------------------------- asking for it


class Told:
    """A provider that answers from what it was told, and remembers what it was asked."""

    name = "kraken"
    timeframes = (Timeframe.M1, Timeframe.D1)

    def __init__(
        self, markets: Sequence[MarketInfo], closes: Mapping[Symbol, Sequence[float]], **reach: int
    ) -> None:
        self._markets = markets
        self._closes = closes
        self._reach = reach
        self.asked: list[tuple[Symbol, int, int]] = []
        self.failing: Exception | None = None

    def reach(self, timeframe: Timeframe, now_ms: int) -> Reach:
        assert timeframe is Timeframe.D1
        assert now_ms == NOW_MS
        return Reach(page_bars=720, **self._reach)

    async def markets(self) -> Sequence[MarketInfo]:
        return self._markets

    async def fetch(self, symbol: Symbol, timeframe: Timeframe, start_ms: int, end_ms: int) -> FetchedBars:
        assert timeframe is Timeframe.D1
        self.asked.append((symbol, start_ms, end_ms))
        await asyncio.sleep(0)
        if self.failing is not None and symbol != BTC:
            raise self.failing
        if symbol not in self._closes:
            raise UnknownToProvider(f"{symbol} is not known")
        close = np.array(self._closes[symbol], dtype=np.float64)
        times = end_ms - DAY_MS * np.arange(len(close), 0, -1)
        inside = (times >= start_ms) & ~np.isnan(close)
        bars = BarBatch(
            open_time_ms=times[inside],
            open=close[inside],
            high=close[inside],
            low=close[inside],
            close=close[inside],
            volume=np.ones(int(inside.sum())),
        )
        return FetchedBars(bars=bars, covered=((start_ms, end_ms),))

    async def close(self) -> None:
        pass


def market(symbol: Symbol, volume: float | None = 5e6, *, active: bool = True) -> MarketInfo:
    return MarketInfo(symbol=symbol, provider_symbol=str(symbol), volume_quote=volume, active=active)


def a_walk(seed: int, scale: float = 0.05, days: int = 31) -> list[float]:
    rng = np.random.default_rng(seed)
    return (100.0 * np.cumprod(1.0 + rng.normal(0.0, scale, days))).tolist()


def asked_of(history: Told, stored=lambda *_: None, quote: str = "USD", **changed: float | str) -> Selected:
    return asyncio.run(
        select_pairs(
            history,
            stored,
            settings(**changed),
            quote=quote,
            now_ms=NOW_MS,
            parallel=2,
            progress=lambda *_: None,
        )
    )


def test_daily_bars_are_asked_for_of_those_pairs_only_that_trade_enough():
    perpetual = Symbol("ETH", "USD", "USD")
    history = Told(
        [
            market(BTC, 5e7),
            market(ETH),
            market(DOGE, 10.0),
            market(PEPE, active=False),
            market(Symbol("ETH", "EUR"), 9e9),
            market(perpetual, 9e9),
        ],
        {BTC: a_walk(1), ETH: a_walk(2)},
    )
    found = asked_of(history)
    assert sorted({symbol for symbol, _, _ in history.asked}) == [BTC, ETH]
    assert len(history.asked) == found.requested == 2  # the benchmark is asked for once
    assert {(start, end) for _, start, end in history.asked} == {(TODAY_MS - 31 * DAY_MS, TODAY_MS)}
    assert found.chosen == (BTC, ETH)
    assert {pair.symbol.base: pair.reason for pair in found.pairs if not pair.chosen} == {
        "DOGE": "10 traded in 24 h, below 1,000,000",
        "PEPE": "kraken does not trade it",
    }
    assert found.traded[PEPE] is False
    assert found.traded[perpetual] is True
    btc = found.pairs[0]
    assert btc.correlation == pytest.approx(1.0)
    assert btc.listed_days == 31
    returns = [later / earlier - 1.0 for earlier, later in zip(a_walk(1), a_walk(1)[1:], strict=False)]
    assert btc.volatility == pytest.approx(stdev(returns))


def test_days_that_the_store_knows_are_not_asked_for():
    kept = np.array(a_walk(7))

    def stored(symbol: Symbol, start_ms: int, end_ms: int) -> Panel | None:
        if symbol == DOGE:
            return None
        column = kept.reshape(-1, 1) if symbol == BTC else np.array(a_walk(8)).reshape(-1, 1)
        covered = np.ones(column.shape, dtype=np.bool_)
        covered[0, 0] = symbol == BTC  # a day of ETH is not known
        return Panel(
            timeframe=Timeframe.D1,
            symbols=(symbol,),
            open_time_ms=np.arange(start_ms, end_ms, DAY_MS),
            **dict.fromkeys(("open", "high", "low", "close", "volume"), column),
            covered=covered,
        )

    history = Told([market(BTC), market(ETH), market(DOGE)], {ETH: a_walk(2), DOGE: a_walk(3)})
    found = asked_of(history, stored)
    assert sorted(symbol for symbol, _, _ in history.asked) == [DOGE, ETH]
    assert set(found.chosen) == {BTC, ETH, DOGE}


def test_a_coin_that_was_listed_last_week_says_so():
    history = Told([market(BTC), market(ETH)], {BTC: a_walk(1), ETH: a_walk(2, days=7)})
    found = asked_of(history)
    assert found.pairs[-1].reason == "7 days with a daily bar, below 30"
    assert found.pairs[-1].listed_days == 7
    assert found.pairs[-1].volatility is None


def test_a_pair_that_the_provider_does_not_know_after_all_has_no_figures():
    history = Told([market(BTC), market(ETH)], {BTC: a_walk(1)})
    assert asked_of(history).pairs[-1].reason == "no daily bar of it is known"


def test_only_closed_days_within_the_reach_of_the_provider_are_asked_for():
    reach = {"oldest_ms": TODAY_MS - 20 * DAY_MS + 1, "newest_ms": TODAY_MS - 1}
    history = Told([market(BTC)], {BTC: a_walk(1)}, **reach)
    found = asked_of(history, days=10, listed_days_min=5)
    assert history.asked == [(BTC, TODAY_MS - 12 * DAY_MS, TODAY_MS - DAY_MS)]
    assert (found.start_ms, found.end_ms) == history.asked[0][1:]
    longer = Told([market(BTC)], {BTC: a_walk(1)}, **reach)
    asked_of(longer, days=30, listed_days_min=5)
    assert longer.asked == [(BTC, TODAY_MS - 19 * DAY_MS, TODAY_MS - DAY_MS)]


def test_a_failure_of_one_request_ends_the_selection_with_its_own_error():
    history = Told([market(BTC), market(ETH), market(DOGE)], {BTC: a_walk(1)})
    history.failing = ProviderUnavailable("kraken does not answer")
    with pytest.raises(ProviderUnavailable, match="does not answer"):
        asked_of(history)


@pytest.mark.parametrize(
    ("markets", "closes", "changed", "error", "sentence"),
    [
        ([], {}, {}, DataError, "named no market at all"),
        ([market(Symbol("BTC", "EUR"))], {}, {}, UsageError, "no pair against USD: choose --quote of EUR"),
        ([market(BTC)], {}, {}, DataError, "no daily bars of BTC/USD, the benchmark"),
        ([market(BTC)], {BTC: a_walk(1)}, {"benchmark": "USD"}, UsageError, "and so is the quote currency"),
    ],
)
def test_what_cannot_be_selected_from_is_said(markets, closes, changed, error, sentence):
    with pytest.raises(error, match=sentence):
        asked_of(Told(markets, closes), **changed)


def test_the_window_holds_a_return_for_each_day_and_every_day_that_is_counted():
    assert window_days(settings()) == 31
    assert window_days(settings(days=30, listed_days_min=90)) == 90

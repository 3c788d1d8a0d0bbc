"""Prices of all symbols at the account's present: of closed bars alone, made once a minute."""

import math
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto_tracker.app.serving import pairs as module
from crypto_tracker.app.serving.home_bars import HomeBars
from crypto_tracker.app.serving.pairs import UNKNOWN, pairs, prices
from crypto_tracker.app.serving.scope import Scope
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import DAY_MS, HOUR_MS, MINUTE_MS, Timeframe
from crypto_tracker.strategies.registry import builtin
from tests.store.shelf import BTC, ETH, at, drawn, run_of_minutes, store
from tests.trading.worlds import configuration

SOL = Symbol("SOL", "USDT")
START = at("2025-03-01 00:00")
NOON = at("2025-03-02 12:00")


def scope(home: Path, until_ms: int = NOON, **changed: object) -> Scope:
    whole = Scope(
        account=f"paper of {home.name}",
        bars=HomeBars(home),
        symbols=(ETH, BTC),
        reference=BTC,
        providers={BTC: "kraken", ETH: "kraken", SOL: "kraken"},
        history="",
        strategies=("DCA",),
        installed=builtin(),
        configuration=configuration(),
        version="1",
        quote="USDT",
        start_ms=START,
        until_ms=until_ms,
        live=True,
        near_miss_readiness=80.0,
        now_ms=lambda: until_ms,
    )
    return replace(whole, **changed)  # type: ignore[arg-type]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Two days of BTC, each minute one ten-thousandth higher; ETH traded three times in them."""
    with store(tmp_path) as opened:
        covered = [(START, START + 2 * DAY_MS)]
        opened.write("kraken", BTC, Timeframe.M1, run_of_minutes("2025-03-01 00:00", 2_880), covered)
        ticks = "2025-03-01 11:30 50\n2025-03-02 10:59 40\n2025-03-02 11:30 44"
        opened.write("kraken", ETH, Timeframe.M1, drawn(ticks), covered)
    return tmp_path


def bitcoin(minute: int) -> float:
    return 100 * (1 + 1e-4 * minute)


def test_a_price_is_the_last_close_and_returns_look_back_from_it(home: Path):
    found = prices(scope(home))[BTC]
    last = 36 * 60 - 1  # the minute that closes at noon of the second day
    assert found.price == pytest.approx(bitcoin(last))
    assert found.return_1h == pytest.approx(bitcoin(last) / bitcoin(last - 60) - 1)
    assert found.return_24h == pytest.approx(bitcoin(last) / bitcoin(last - 1_440) - 1)
    volume = sum((minute + 1) * bitcoin(minute) for minute in range(last - 1_439, last + 1))
    assert found.volume_24h_quote == pytest.approx(volume)
    assert found.day == pytest.approx([bitcoin(last - 60 * hour) for hour in range(24, -1, -1)])


def test_the_last_price_holds_while_nobody_trades(home: Path):
    found = prices(scope(home))[ETH]
    assert found.price == 44.0
    assert found.return_1h == pytest.approx(44 / 40 - 1)
    assert found.return_24h == pytest.approx(44 / 50 - 1)  # half an hour old at noon of the day before
    assert found.volume_24h_quote == pytest.approx(84.0)
    assert found.day[:23] == (50.0,) * 23
    assert found.day[23:] == (40.0, 44.0)
    assert found.day[-1] / found.day[0] - 1 == found.return_24h  # the line rises where the figure does


def test_nothing_after_the_accounts_present_is_seen(home: Path):
    early = prices(scope(home, NOON - 45 * MINUTE_MS))
    assert early[ETH].price == 40.0
    assert early[BTC].price == pytest.approx(bitcoin(36 * 60 - 46))


def test_what_is_not_known_is_nan(home: Path):
    found = prices(scope(home, START + 2 * HOUR_MS))
    assert math.isnan(found[ETH].price)
    assert not math.isnan(found[BTC].price)
    assert math.isnan(found[BTC].return_24h)
    assert math.isnan(found[BTC].day[0])


def test_a_symbol_without_bars_has_no_price_until_some_come(home: Path):
    now = scope(home, symbols=(BTC, SOL))
    assert prices(now)[SOL] == UNKNOWN
    with store(home) as opened:
        opened.write("kraken", SOL, Timeframe.M1, drawn("2025-03-02 12:00 9"), [(NOON, NOON + MINUTE_MS)])
    assert prices(replace(now, until_ms=NOON + MINUTE_MS))[SOL].price == 9.0


def test_a_home_without_bars_has_no_prices(tmp_path: Path):
    assert prices(scope(tmp_path)) == {BTC: UNKNOWN, ETH: UNKNOWN}


def test_the_store_is_asked_once_for_each_minute_of_the_account(home: Path):
    now = scope(home)
    with patch.object(module, "source_of", wraps=module.source_of) as asked:
        for _ in range(5):
            prices(now)
        assert asked.call_count == 1
        prices(replace(now, until_ms=NOON + MINUTE_MS))
        assert asked.call_count == 2


def test_an_account_in_the_past_reads_a_day_ahead(home: Path):
    now = scope(home, now_ms=lambda: NOON + 30 * DAY_MS)
    with patch.object(module, "source_of", wraps=module.source_of) as asked:
        for minute in range(0, 600, 50):
            found = prices(replace(now, until_ms=NOON + minute * MINUTE_MS))
            assert found[BTC].price == pytest.approx(bitcoin(36 * 60 - 1 + minute))
        assert asked.call_count == 1


def test_bars_that_come_late_are_taken_in_with_the_next_minute(home: Path):
    now = scope(home)
    assert prices(now)[ETH].price == 44.0
    with store(home) as opened:
        opened.write(
            "kraken", ETH, Timeframe.M1, drawn("2025-03-02 11:58 60"), [(NOON - 2 * MINUTE_MS, NOON)]
        )
    assert prices(now)[ETH].price == 44.0
    assert prices(replace(now, until_ms=NOON + MINUTE_MS))[ETH].price == 60.0


@settings(max_examples=25, deadline=None)
@given(steps=st.lists(st.integers(-90, 400), min_size=1, max_size=8))
def test_it_does_not_matter_which_minutes_were_asked_for_before(home_of_module: Path, steps: list[int]):
    until_ms, now = NOON, scope(home_of_module)
    for step in steps:
        until_ms = min(max(until_ms + step * MINUTE_MS, START + HOUR_MS), START + 2 * DAY_MS)
        walked = prices(replace(now, until_ms=until_ms, now_ms=lambda at=until_ms: at))
    alone = prices(scope(home_of_module, until_ms, account=f"alone at {until_ms}"))
    for symbol, price in alone.items():
        assert walked[symbol].price == pytest.approx(price.price, nan_ok=True)
        assert walked[symbol].day == pytest.approx(price.day, nan_ok=True)
        assert walked[symbol].volume_24h_quote == pytest.approx(price.volume_24h_quote, nan_ok=True)


@pytest.fixture(scope="module")
def home_of_module(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("walked")
    with store(folder) as opened:
        covered = [(START, START + 2 * DAY_MS)]
        opened.write("kraken", BTC, Timeframe.M1, run_of_minutes("2025-03-01 00:00", 2_880), covered)
        opened.write("kraken", ETH, Timeframe.M1, drawn("2025-03-01 11:30 50\n2025-03-02 10:59 40"), covered)
    return folder


def test_pairs_stand_by_name_with_tier_group_and_result(home: Path):
    shown = pairs(scope(home), held={ETH}, sums={}, scores={BTC: 0.98})
    assert [item.symbol for item in shown.items] == ["BTC/USDT", "ETH/USDT"]
    btc, eth = shown.items
    assert (btc.tier, btc.group, btc.provider) == ("large_cap", "core", "kraken")
    assert (btc.held, eth.held) == (False, True)
    assert (btc.score, eth.score) == (0.98, None)
    assert (btc.trades, btc.pnl_quote) == (0, 0.0)
    assert len(btc.day) == 25

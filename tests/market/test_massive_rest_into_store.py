"""What the store makes of a day of Massive on which everything is wrong that can be."""

import asyncio
import json

import numpy as np
from pydantic import SecretStr
from sqlalchemy import select

from crypto_tracker.core.timeframes import DAY_MS, MINUTE_MS, Timeframe, from_ms
from crypto_tracker.market.providers.base import FetchedBars
from crypto_tracker.market.providers.massive.rest import MassiveHistory
from crypto_tracker.store import tables
from crypto_tracker.store.bars import BarStore
from tests.market.massive_market import BTC, START, settings, small_market
from tests.net.patience import quick
from tests.servers.massive_rest import KEY, Fault, edited, massive_rest
from tests.store.shelf import store

MARKET = small_market()
NOW = START + 2 * DAY_MS


def fetched(*faults: Fault) -> FetchedBars:
    async def scene(url: str) -> FetchedBars:
        history = MassiveHistory(settings(url), quick(), SecretStr(KEY), now_ms=lambda: NOW)
        try:
            return await history.fetch(BTC, Timeframe.M1, START, START + DAY_MS)
        finally:
            await history.close()

    with massive_rest(MARKET, faults=faults) as server:
        return asyncio.run(scene(server.url))


def keep(shelf: BarStore, answer: FetchedBars) -> int:
    return shelf.write(
        "massive", BTC, Timeframe.M1, answer.bars, answer.covered, source="massive history", raw=answer.raw
    ).quarantined


def test_broken_bars_go_to_quarantine_as_they_came_and_good_ones_are_kept_once(tmp_path):
    def spoil(body):
        rows = body["results"]
        rows[10]["c"] = float("nan")
        rows[20]["o"] = ""
        rows[30]["h"] = "0.5"  # a number in quotation marks, and below the close
        rows[40]["t"] += 1
        rows[50]["t"] = START + 90 * DAY_MS
        del rows[60]["t"]
        rows.append(dict(rows[70]))
        rows.insert(71, rows.pop())

    spoiled = fetched(edited(spoil))
    with store(tmp_path / "home", now=from_ms(NOW)) as shelf:
        assert keep(shelf, spoiled) == 6
        assert keep(shelf, spoiled) == 6  # the second time nothing is added
        with shelf.reader._engine.connect() as connection:
            rows = connection.execute(select(tables.quarantine)).all()
        panel = shelf.reader.panel([BTC], Timeframe.M1, START, START + DAY_MS, provider="massive")
    assert sorted(row.rule for row in rows) == [
        "high_too_low",
        "in_future",
        "missing_field",
        "missing_field",
        "missing_field",
        "off_grid",
    ]
    raw = {row.rule: json.loads(row.raw) for row in rows if row.rule != "missing_field"}
    assert raw["high_too_low"]["h"] == "0.5"
    assert raw["in_future"]["t"] == START + 90 * DAY_MS
    source = MARKET[BTC]
    day = source.open_time_ms < START + DAY_MS
    minutes = (source.open_time_ms[day] - START) // MINUTE_MS
    spoilt = np.isin(np.arange(len(minutes)), (10, 20, 30, 40, 50, 60))
    np.testing.assert_array_equal(panel.close[minutes[~spoilt], 0], source.close[day][~spoilt])
    assert np.isnan(panel.close[minutes[spoilt], 0]).all()
    assert not panel.covered[minutes[spoilt], 0].any()  # unknown: nobody may think that there was no trade
    assert panel.covered[[7, 8, 9, 1000], 0].all()  # where there really was none


def test_fetching_twice_is_fetching_once(tmp_path):
    with store(tmp_path / "home", now=from_ms(NOW)) as shelf:
        for _ in range(2):
            assert keep(shelf, fetched()) == 0
        panel = shelf.reader.panel([BTC], Timeframe.M1, START, START + DAY_MS, provider="massive")
        with shelf.reader._engine.connect() as connection:
            revisions = connection.execute(select(tables.bars.c.revision).distinct()).scalars().all()
    assert np.isfinite(panel.close[:, 0]).sum() == 1440 - 4
    assert panel.covered.all()
    assert revisions in ([0], [])

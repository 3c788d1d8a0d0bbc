"""The same bars, traded by an account and backtested: the pages of both are answered alike."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from crypto_tracker.core.timeframes import MINUTE_MS
from tests.app.conftest import backtest
from tests.app.serving.accounts import new_desk
from tests.desk.served import CONTROL, application, running
from tests.trading import worlds

RESTING, ARMED = 330, 1_050  # minutes: rungs of ladders wait; a trailing stop is armed, an order is unfilled
RUN = "run:1"


class Api:
    """Asks the served API for one account or run."""

    def __init__(self, address: str, account: str) -> None:
        self._account = account
        self._http = httpx.Client(
            base_url=f"{address}/api/v1/", headers={"Authorization": f"Bearer {CONTROL}"}, timeout=60.0
        )

    def get(self, path: str, **parameters: Any) -> Any:
        """The document that is answered."""
        answer = self._http.get(path, params=parameters | {"account": self._account})
        assert answer.status_code == 200, answer.text
        return answer.json()

    def close(self) -> None:
        self._http.close()


@pytest.fixture(scope="module", params=[RESTING, ARMED])
def minutes(request: pytest.FixtureRequest) -> int:
    """How long is traded."""
    found: int = request.param
    return found


@pytest.fixture(scope="module")
def both(minutes: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Api, Api]]:
    """An account and a run over the same bars, served from one home."""
    home: Path = worlds.new_home(tmp_path_factory.mktemp("both") / "home")
    end_ms = worlds.START_MS + minutes * MINUTE_MS
    worlds.trade(home, end_ms=end_ms)
    backtest(home, "--timerange", worlds.timerange(end_ms=end_ms))
    desk = new_desk(home)
    with running(application(desk)) as address:
        account, run = Api(address, worlds.ACCOUNT), Api(address, RUN)
        yield account, run
        account.close()
        run.close()
    desk.close()


def test_what_is_held_stands_alike(both: tuple[Api, Api], minutes: int) -> None:
    held = [each.get("positions") for each in both]
    assert held[0] == held[1]
    items = held[1]["items"]
    assert held[1]["note"] is None
    assert len(items) >= 3
    for item in items:
        assert item["stop_price"] < item["mark_price"]
        assert 0.0 <= item["progress"] <= 1.0
        assert item["left_ms"] == item["due_ms"] - worlds.START_MS - minutes * MINUTE_MS
        assert item["orders"][0]["status"] == "filled"
    waiting = [order for item in items for order in item["orders"] if order["status"] == "open"]
    assert all(order["limit_price"] is not None and order["ended_ms"] is None for order in waiting)
    assert bool(waiting) == (minutes == RESTING)
    assert any(item["trailing_armed"] for item in items) == (minutes == ARMED)


def test_every_trade_comes_with_the_same_orders_fills_and_position(both: tuple[Api, Api]) -> None:
    pages = [each.get("trades", limit=500)["items"] for each in both]
    assert pages[0] == pages[1]
    assert len(pages[1]) >= 3
    groups = [trade["trade_group_id"] for trade in pages[0]]
    groups += [item["trade"]["trade_group_id"] for item in both[0].get("positions")["items"]]
    ends: Counter[tuple[str, str | None]] = Counter()
    for group in groups:
        of_account, of_run = (each.get(f"trades/{group}") for each in both)
        for name in ("trade", "position", "orders", "fills"):
            assert of_account[name] == of_run[name], (group, name)
        assert of_run["note"] is None
        assert of_account["decision"]["order"]["status"] == of_run["decision"]["order"]["status"]
        ends.update((order["status"], order["reason"]) for order in of_run["orders"])
    # Rungs that no bar came down to are among them: an exit cancelled these.
    assert ends["filled", None] > 5 < ends["cancelled", None]


def test_every_setup_that_was_given_an_order_ended_alike(both: tuple[Api, Api], minutes: int) -> None:
    found = [each.get("decisions", limit=500, verdict=["TAKE"])["items"] for each in both]
    assert len(found[0]) == len(found[1]) > 5
    assert ("open" in {each["order"]["status"] for each in found[1]}) == (minutes == ARMED)
    for of_account, of_run in zip(*found, strict=True):
        for name in ("time_ms", "symbol", "strategy"):
            assert of_account[name] == of_run[name]
        assert of_account["order"] == of_run["order"], json.dumps(of_run)


def test_the_chart_of_a_symbol_has_the_same_position_and_the_same_marks(
    both: tuple[Api, Api], minutes: int
) -> None:
    end_ms = worlds.START_MS + minutes * MINUTE_MS
    for item in both[0].get("positions")["items"]:
        asked = {"symbol": item["trade"]["symbol"], "start_ms": worlds.START_MS, "end_ms": end_ms}
        of_account, of_run = (each.get("pair_levels", **asked) for each in both)
        assert of_account["position"] == of_run["position"] == item
        assert of_account["marks"] == of_run["marks"]

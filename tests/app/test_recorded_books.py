"""Fills that walk the recorded book of BTC/USDT of 8 August 2024, held against the raw messages.

The minutes are made of the trades of the same capture. What fills must come to is computed here a second time,
from the JSON of the capture with fractions, and shares nothing with the program.
"""

import csv
import gzip
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from crypto_tracker.core.orders import ExitReason, FillKind
from crypto_tracker.core.timeframes import to_ms
from crypto_tracker.store.runs import RunStore
from crypto_tracker.store.trading import TradingStore
from tests.app.books import Document, assert_the_books_balance
from tests.app.conftest import backtest, run_command
from tests.trading.worlds import Dump, differences, dump

pytestmark = pytest.mark.market_data

CAPTURE = "raw/hftbacktest/binance_spot_btcusdt_20240808.gz"
MINUTE_MS = 60_000
FIRST_MS, LAST_MS = (to_ms(datetime(2024, 8, 8, 23, 55, tzinfo=UTC)) + m * MINUTE_MS for m in (0, 5))
TICK, LOT = Fraction(1, 100), Fraction(1, 1_000_000)
LEVELS = 50  # market_data.books.levels

# Buys at the open after every second minute, and closes a minute later at the latest.
PLUGIN = """
from typing import ClassVar

import numpy as np

from crypto_tracker.core.decisions import Reason
from crypto_tracker.core.model import Frozen
from crypto_tracker.core.timeframes import Timeframe
from crypto_tracker.strategies.base import Detection, Features, Plan


class Numbers(Frozen):
    size_quote: float = 1000.0
    stop_loss: float = 0.05


class Minutely:
    name: ClassVar = "MINUTELY"
    timeframe: ClassVar = Timeframe.M1
    warmup: ClassVar = {Timeframe.M1: 1}
    reference_warmup: ClassVar = {}
    parameters_model: ClassVar = Numbers

    def features(self, market):
        panel = market.panels[Timeframe.M1]
        even = (panel.close_time_ms // 60_000 % 2 == 0)[:, None] & np.isfinite(panel.close)
        signal = np.asfortranarray(even.astype(np.float64))
        ready = np.asfortranarray(np.isfinite(panel.close))
        return Features(panel=panel, instruments=market.instruments, values={"signal": signal}, ready=ready)

    def detect(self, features, parameters):
        setup = features.ready & (features.values["signal"] > 0)
        reason = np.where(setup, Reason.ACCEPTED, Reason.RULE_NOT_MET).astype(np.int8)
        reason[~features.ready] = Reason.NOT_READY
        readiness = np.where(features.ready, 100.0 * setup, np.nan)
        one = np.ones((1, 1))
        plan = Plan(
            size_quote=parameters.size_quote * one, levels=np.ones((1, 1), dtype=np.int64), spacing=0.0 * one,
            take_profit=0.5 * one, stop_loss=parameters.stop_loss * one, trailing=0.0 * one,
            max_hold_ms=np.full((1, 1), 60_000), max_entry_gap=np.nan * one,
        )
        return Detection(
            strategy=self.name, panel=features.panel, setup=setup, reason=reason, readiness=readiness,
            confidence=readiness / 100.0, measurements={"signal": features.values["signal"]}, plan=plan,
        )

    def explain(self, detection, features, parameters, row, column):
        return []
"""

SETTINGS = {
    "trading.capital_quote": "20000000",
    "limits.reserve": "0.0",
    "limits.max_symbol_exposure": "1.0",
    "limits.max_strategy_exposure": "1.0",
    "limits.shares": "{ MINUTELY = 1.0 }",
    "fills.source": "book",
    "fills.entry_participation": "1.0",
    "fills.exit_participation": "1.0",
    'instruments."BTC/USDT".tick': "0.01",
}


Sides = dict[str, dict[float, tuple[str, str]]]  # by side and price, as the exchange wrote price and size
Levels = list[tuple[Fraction, Fraction]]


def raw_messages(path: Path) -> Iterator[dict]:
    with gzip.open(path, "rt") as lines:
        for line in lines:
            yield json.loads(line.split(" ", 1)[1])


def raw_books(path: Path) -> Iterator[tuple[int, Sides]]:
    """The time and the book after every update that the answer in the capture does not hold; one book, changed.

    Some updates are received before the answer to which they belong.
    """
    book: Sides = {}
    early: list[dict] = []
    for message in raw_messages(path):
        data = message.get("data", message)
        updates = []
        if "lastUpdateId" in data:
            book = {side: {float(each[0]): tuple(each) for each in data[side]} for side in ("bids", "asks")}
            updates = [update for update in early if update["u"] > data["lastUpdateId"]]
        elif data.get("e") == "depthUpdate":
            (updates if book else early).append(data)
        for update in updates:
            for side, name in (("bids", "b"), ("asks", "a")):
                for price, size in update[name]:
                    book[side][float(price)] = (price, size)
                    if not float(size):
                        del book[side][float(price)]
            yield update["E"], book


def best_of(book: Sides, side: str) -> Levels:
    """The levels that are kept of a side, exactly, the best first."""
    prices = sorted(book[side], reverse=side == "bids")[:LEVELS]
    return [tuple(map(Fraction, book[side][price])) for price in prices]


def newest_side(path: Path, side: str, moment_ms: int) -> Levels:
    """A side of the newest book at a moment; it must be fresh."""
    levels: Levels = []
    last_ms = 0
    for time_ms, book in raw_books(path):
        if time_ms > moment_ms:
            break
        last_ms = time_ms
        if moment_ms - time_ms < 2_000:
            levels = best_of(book, side)
    assert moment_ms - last_ms < 2_000
    return levels


def first_bids_at(path: Path, open_ms: int, price: Fraction) -> Levels:
    """The bids of the first book within a minute whose best bid is at or below a price; none without one."""
    for time_ms, book in raw_books(path):
        if open_ms <= time_ms < open_ms + MINUTE_MS and max(book["bids"]) <= price:
            return best_of(book, "bids")
    return []


def minutes_of_trades(path: Path) -> dict[int, list[Fraction]]:
    """Open, high, low, close and volume of the five whole minutes of the capture, by open time."""
    bars: dict[int, list[Fraction]] = {}
    for message in raw_messages(path):
        data = message.get("data", message)
        if data.get("e") != "trade":
            continue
        if not FIRST_MS <= data["T"] < LAST_MS:
            continue
        price, size = Fraction(data["p"]), Fraction(data["q"])
        bar = bars.setdefault(data["T"] // MINUTE_MS * MINUTE_MS, [price, price, price, price, Fraction(0)])
        bar[1], bar[2], bar[3] = max(bar[1], price), min(bar[2], price), price
        bar[4] += size
    return bars


def bought(asks: Levels, quote: Fraction, unworsened: Fraction) -> tuple[Fraction, Fraction]:
    """Price and coins that `quote` buys of what a book shows."""
    left, coins = quote, Fraction(0)
    for shown, size in asks:
        price = max(shown, unworsened)
        take = min(size, left / price)
        coins, left = coins + take, left - take * price
    coins = coins // LOT * LOT
    price = -(-walked(asks, coins, unworsened, max) // TICK) * TICK
    return price, min(coins, quote / price // LOT * LOT)


def walked(side: Levels, coins: Fraction, unworsened: Fraction, worse) -> Fraction:
    value, rest = Fraction(0), coins
    for price, size in side:
        take = min(size, rest)
        value, rest = value + take * worse(price, unworsened), rest - take
    assert rest == 0
    return value / coins


@pytest.fixture(scope="module")
def capture(market_data: Path) -> Path:
    return market_data / CAPTURE


@pytest.fixture(scope="module")
def home(capture: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with the book, the minutes of its trades, and a strategy that trades them."""
    folder = tmp_path_factory.mktemp("books")
    minutes = folder / "BTCUSDT-1m.csv"
    with minutes.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["time", "open", "high", "low", "close", "volume"])
        for open_ms, bar in minutes_of_trades(capture).items():
            writer.writerow([open_ms, *map(float, bar)])
    home = folder / "home"
    plugins = home / "strategies"
    plugins.mkdir(parents=True)
    (plugins / "minutely_on_books.py").write_text(PLUGIN, encoding="utf-8")
    code, _, err = run_command(home, "import-data", str(minutes), "--provider", "binance")
    assert code == 0, err
    code, out, err = run_command(home, "import-books", str(capture), "--json")
    assert code == 0, err
    (told,) = json.loads(out)["books"]
    assert (told["symbol"], told["provider"], told["updates"]) == ("BTC/USDT", "binance", 3_449)
    assert not any(told[name] for name in ("gaps", "mismatches", "unbegun", "crossed", "one_sided"))
    return home


def run_on_books(home: Path, *options: str, **changed: str) -> tuple[list[Any], Document]:
    settings = {**SETTINGS, **changed}
    assignments = [part for name, value in settings.items() for part in ("--set", f"{name}={value}")]
    document = backtest(home, "-p", "BTC/USDT", "-s", "MINUTELY", "--close-at-end", *options, *assignments)
    assert_the_books_balance(document)
    store = RunStore.open(home)
    try:
        return list(store.fills(document["run_id"])), document
    finally:
        store.close()


@pytest.mark.parametrize("size", ["1000", "500000", "900000"])
def test_entries_and_time_exits_cost_what_the_raw_book_says(home: Path, capture: Path, size: str):
    fills, document = run_on_books(home, **{"strategies.MINUTELY.size_quote": size})
    bars = minutes_of_trades(capture)
    held, partial = Fraction(0), 0
    for fill in fills:
        open_ms, coins = fill.bar_open_ms, Fraction(fill.quantity)
        unworsened = bars[open_ms][0]
        assert bars[open_ms][4] > coins  # participation does not bind
        if fill.kind == FillKind.ENTRY.code:
            assert held == 0
            assert (Fraction(fill.price), coins) == bought(
                newest_side(capture, "asks", open_ms), Fraction(size), unworsened
            )
            held = coins
            continue
        assert fill.exit_reason == ExitReason.TIME_EXIT.code
        bids = newest_side(capture, "bids", open_ms)
        assert coins == min(held, sum(level[1] for level in bids) // LOT * LOT)
        assert Fraction(fill.price) == walked(bids, coins, unworsened, min) // TICK * TICK
        held -= coins
        partial += held > 0
    assert held == 0
    assert bool(partial) is (size != "1000")
    note = f"market fills: {len(fills)} walked a recorded order book, 0 used the slippage table"
    assert any(note in each for each in document["notes"])


@pytest.mark.parametrize("stop_loss", ["0.0001", "0.0002", "0.0005"])
def test_a_stop_within_a_minute_is_sold_to_the_first_book_that_came_down_to_it(
    home: Path, capture: Path, stop_loss: str
):
    fills, _ = run_on_books(
        home, **{"strategies.MINUTELY.size_quote": "400000", "strategies.MINUTELY.stop_loss": stop_loss}
    )
    bars = minutes_of_trades(capture)
    seen = 0
    for entry, fill in pairwise(fills):
        open_ms = fill.bar_open_ms
        if entry.kind != FillKind.ENTRY.code or open_ms != entry.bar_open_ms:
            continue
        assert fill.exit_reason == ExitReason.STOP_LOSS.code
        stop = Fraction(float(entry.price) * (1 - float(stop_loss))) // TICK * TICK
        assert bars[open_ms][2] <= stop
        unworsened = min(stop, bars[open_ms][0])
        bids = first_bids_at(capture, open_ms, unworsened)
        if bids:
            held = Fraction(entry.quantity)
            assert Fraction(fill.quantity) == min(held, sum(level[1] for level in bids) // LOT * LOT)
            exact = walked(bids, Fraction(fill.quantity), unworsened, min)
            seen += 1
        else:  # traded at the stop without a book that shows it: the table, by which large caps lose 0.0015
            exact = Fraction(float(unworsened) * (1 - 0.0015))
        assert Fraction(fill.price) == exact // TICK * TICK
    assert seen


def test_what_the_table_says_is_another_price_and_no_books_at_all_are_refused(home: Path):
    by_book, _ = run_on_books(home)
    by_table, document = run_on_books(home, **{"fills.source": "table"})
    assert all(table.price > book.price for table, book in zip(by_table[::2], by_book[::2], strict=True))
    assert not any("recorded order book" in note for note in document["notes"])
    at_once = run_on_books(home)[1]
    assert at_once["data_hash"] != document["data_hash"]
    in_months = run_on_books(home, "--in-months")[1]
    assert {**in_months, "seconds": 0, "run_id": 0} == {**at_once, "seconds": 0, "run_id": 0}
    assignments = [part for name, value in SETTINGS.items() for part in ("--set", f"{name}={value}")]
    (home / "books").rename(home / "away")
    try:
        code, _, err = run_command(home, "backtest", "-p", "BTC/USDT", "-s", "MINUTELY", *assignments)
    finally:
        (home / "away").rename(home / "books")
    assert code == 1
    assert "import-books" in err


# ------------------------------------------------------------------------------- on paper

SPAN = "20240808T2355", "20240809T0000"
PAPER = {
    "trading.strategies": '["MINUTELY"]',
    "limits.shares": "{ MINUTELY = 1.0, DCA = 0.0, SWING = 0.0, CHANNEL = 0.0 }",
    "strategies.MINUTELY.size_quote": "900000",
    "strategies.MINUTELY.stop_loss": "0.0001",
}


def account_of(home: Path, name: str, monkeypatch: pytest.MonkeyPatch, *, kills: int = 0) -> Dump:
    """The records of a replay of the capture; it is ended without a word before it commits, so many times."""
    settings = {**SETTINGS, **PAPER}
    assignments = [part for name, value in settings.items() for part in ("--set", f"{name}={value}")]
    arguments = ("trade", "--replay", "..".join(SPAN), "--account", name, "-p", "BTC/USDT", *assignments)
    committed = TradingStore.commit
    for number in range(1, kills + 1):
        passes = iter(range(number))

        def commit(self, record, *, recorded_at_ms, left=passes):
            if next(left, None) is None:
                raise KeyboardInterrupt
            committed(self, record, recorded_at_ms=recorded_at_ms)

        with monkeypatch.context() as broken:
            broken.setattr(TradingStore, "commit", commit)
            code, _, _ = run_command(home, *arguments)
        assert code != 0
    code, _, err = run_command(home, *arguments)
    assert code == 0, err
    return dump(home / "accounts" / name)


def test_a_replay_of_the_capture_is_its_backtest_and_parity_is_zero(
    home: Path, monkeypatch: pytest.MonkeyPatch
):
    fills, document = run_on_books(home, **PAPER)
    found = account_of(home, "whole", monkeypatch)
    ended = len(fills) - document["exits"].get("end_of_data", 0)
    assert len(found["fills"]) >= ended > 4
    plain = [
        (each.trade_group_id, each.kind, each.bar_open_ms, Fraction(each.price), Fraction(each.quantity))
        for each in fills[:ended]
    ]
    assert plain == [
        (row["trade_group_id"], row["kind"], row["bar_open_ms"], Fraction(row["price"]), Fraction(row["quantity"]))
        for row in found["fills"]
    ]  # fmt: skip
    closed = [each for each in document["trades"] if each["exit_reason"] != "end_of_data"]
    assert [(row["trade_group_id"], row["pnl_quote"]) for row in found["trades"]] == [
        (each["trade_group_id"], round(each["pnl_quote"] * 10**8)) for each in closed
    ]
    code, out, err = run_command(home, "parity", "--account", "whole", "--json")
    assert code == 0, err
    assert json.loads(out)["differences"] == 0
    assert json.loads(out)["compared"]["fills"] == len(found["fills"])
    assert differences(found, account_of(home, "killed", monkeypatch, kills=2)) == []

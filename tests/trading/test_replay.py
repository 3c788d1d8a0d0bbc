"""A replay is the backtest, minute by minute: the same scans, setups, fills, trades and equity, to the cent."""

import json
import random
from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from time import perf_counter
from typing import Any

import pytest

from crypto_tracker.app.documents import trade_document
from crypto_tracker.config.entries import configured_strategies
from crypto_tracker.config.tree import Configuration, load_configuration
from crypto_tracker.config.versions import version
from crypto_tracker.core.decisions import Reason
from crypto_tracker.core.orders import Fill, Trade
from crypto_tracker.core.timeframes import DAY_MS, HOUR_MS, MINUTE_MS, Timeframe, to_ms
from crypto_tracker.research.backtest import Backtest, run_backtest, setup_rows
from crypto_tracker.simulation import ledger
from crypto_tracker.store.books import BookSource
from crypto_tracker.store.choice import choose
from crypto_tracker.store.reader import BarReader
from crypto_tracker.store.sources import StoredBars
from crypto_tracker.store.trading_views import TradingViews
from crypto_tracker.strategies.registry import builtin
from tests.app.conftest import run_command
from tests.trading.worlds import (
    ACCOUNT,
    ALIKE,
    END_MS,
    MEDDLED,
    START_MS,
    Dump,
    Wished,
    account_folder,
    configuration,
    differences,
    dump,
    new_home,
    tell,
    trade,
    undisturbed,
)

START_OF_AUGUST_DAYS = to_ms(datetime(2025, 8, 22, 3, 17, tzinfo=UTC))


def backtested(
    home: Path,
    start_ms: int,
    end_ms: int,
    tree: Configuration,
    pairs: tuple[str, ...] = (),
    books: BookSource | None = None,
) -> Backtest:
    """The backtest of a span on 1m, with every scan kept."""
    with BarReader.open(home) as reader:
        choice = choose(
            reader.series(), tree, pairs=pairs, timeframe=str(Timeframe.M1), provider=None,
            start_ms=start_ms, end_ms=end_ms,
        )  # fmt: skip
        return run_backtest(
            StoredBars(reader, choice.provider_of),
            tree,
            configured_strategies(dict(builtin()), tree, None),
            choice,
            version=version(tree),
            keep_blocks=True,
            close_at_end=False,
            progress=lambda _what, _share: None,
            stopwatch=perf_counter,
            books=books,
        )


def assert_replay_is_backtest(folder: Path, run: Backtest) -> None:
    """Hold all records of an account against a backtest of its span."""
    found = dump(folder)
    names = run.scenario.panel.symbols, run.scenario.strategies
    with TradingViews.open(folder) as views:
        closed, held = views.trades(), [position.trade for position in views.positions()]
    assert documents(closed) == documents(ledger.trades(run.result.trades, *names))
    assert documents(held) == documents(ledger.trades(run.result.open_trades, *names))
    assert [row["equity_quote"] for row in found["minutes"]] == run.result.equity_e8.tolist()
    fills = ledger.fills(run.result.fills, [run.result.trades, run.result.open_trades], *names)
    assert [fill_of(row) for row in found["fills"]] == [plain_fill(fill) for fill in fills]
    blocks = {(row["time_ms"], row["strategy"]): row["block"] for row in found["decision_blocks"]}
    assert blocks == {(time_ms, strategy): block for time_ms, strategy, block in run.detected.blocks}
    assert setups_of(found) == {
        (row.time_ms, str(row.symbol), row.strategy): {
            "verdict": row.verdict.value,
            "reason": row.reason.code,
            "readiness": row.readiness,
            "confidence": row.confidence,
            "rank": row.rank,
            "fallback": row.fallback,
            "measured": row.measured,
            "limit_value": row.limit,
        }
        for row in [*setup_rows(run.scenario, run.result), *run.detected.near]
    }


def documents(trades: Iterable[Trade]) -> list[dict[str, Any]]:
    return sorted((trade_document(each) for each in trades), key=lambda each: each["trade_group_id"])


def fill_of(row: dict[str, Any]) -> tuple[Any, ...]:
    return (
        row["trade_group_id"], row["kind"], row["rung"], row["bar_open_ms"],
        Decimal(row["price"]), Decimal(row["quantity"]), row["notional_quote"], row["fee_quote"], row["exit_reason"],
    )  # fmt: skip


def plain_fill(fill: Fill) -> tuple[Any, ...]:
    return (
        fill.trade_group_id, fill.kind.code, fill.rung, to_ms(fill.bar_open_time),
        fill.price, fill.quantity, e8(fill.notional_quote), e8(fill.fee_quote), fill.exit_reason.code,
    )  # fmt: skip


def e8(amount: Decimal) -> int:
    return int(amount.scaleb(8))


def setups_of(found: Dump) -> dict[tuple[Any, ...], dict[str, Any]]:
    """Setups and near misses as a backtest tells them: of one that was taken, how its order ended."""
    ended = {
        (row["placed_ms"], row["symbol"], row["strategy"]): row["reason"]
        for row in found["orders"]
        if row["rung"] == 0 and row["reason"] is not None
    }
    bought = {fill["trade_group_id"] for fill in found["fills"]}
    groups = {
        (row["placed_ms"], row["symbol"], row["strategy"]): row["trade_group_id"] for row in found["orders"]
    }
    told = {}
    for row in found["setups"]:
        key = row["time_ms"], row["symbol"], row["strategy"]
        reason = row["reason"]
        if row["verdict"] == "TAKE" and groups[key] not in bought:
            reason = ended.get(key, reason)
        names = ("verdict", "readiness", "confidence", "rank", "measured", "limit_value")
        told[key] = {name: row[name] for name in names} | {
            "reason": reason,
            "fallback": bool(row["fallback"]),
        }
    return told


# --------------------------------------------------------------------------------------- the whole backtest


@pytest.mark.parametrize(
    ("after_minutes", "until_minutes"),
    [(0, (END_MS - START_MS) // MINUTE_MS), (337, 1_500)],  # all of it, and from 03:17 to 22:40
    ids=["the whole span", "from 03:17"],
)
def test_a_replay_is_the_backtest_to_the_cent(tmp_path: Path, after_minutes: int, until_minutes: int):
    home = new_home(tmp_path / "home")
    start_ms, end_ms = START_MS + after_minutes * MINUTE_MS, START_MS + until_minutes * MINUTE_MS
    run = backtested(home, start_ms, end_ms, configuration())
    trade(home, start_ms=start_ms, end_ms=end_ms)
    assert len(run.result.trades) >= 18
    assert_replay_is_backtest(account_folder(home), run)


def test_a_replay_that_refuses_what_moves_like_what_is_held_is_the_backtest_to_the_cent(tmp_path: Path):
    home = new_home(tmp_path / "home")
    run = backtested(home, START_MS, END_MS, configuration(ALIKE))
    trade(home, assignments=ALIKE, enough=lambda record: record.time_ms >= START_MS + 17 * HOUR_MS)
    trade(home, assignments=ALIKE)  # the hours of the first session are those of the second
    assert_replay_is_backtest(account_folder(home), run)
    refused = run.result.decisions[run.result.decisions["reason"] == Reason.CORRELATION]
    assert len(refused) >= 3
    assert (refused["measured"] > 0.2).all()
    assert len(run.result.trades) >= 10


def test_setups_of_one_minute_are_numbered_in_the_order_of_the_strategies():
    records = undisturbed()
    place = {name: number for number, name in enumerate(json.loads(records["account"][0]["strategies"]))}
    numbered = [row for row in records["setups"] if row["setup_number"] is not None]
    ordered = sorted(numbered, key=lambda row: (row["time_ms"], row["symbol"], place[row["strategy"]]))
    assert [row["setup_number"] for row in ordered] == list(range(len(numbered)))
    # Two strategies find the same symbol at the same close, and their names stand in another order.
    assert ordered != sorted(numbered, key=lambda row: (row["time_ms"], row["symbol"], row["strategy"]))


# ------------------------------------------------------------------------------- wherever it begins or stops


def test_a_replay_that_is_stopped_and_started_again_is_one_replay(tmp_path: Path):
    home = new_home(tmp_path / "home", wishes=MEDDLED)
    minutes = (END_MS - START_MS) // MINUTE_MS
    chance = random.Random(5)
    stops = sorted({0, 139, 140, minutes - 1, *chance.sample(range(minutes), 6)})
    for stop in stops:
        watcher = trade(home, enough=lambda record, at=stop: record.time_ms >= START_MS + at * MINUTE_MS)
        assert watcher.steps[-1].time_ms == START_MS + stop * MINUTE_MS
    trade(home)
    assert differences(undisturbed(), dump(account_folder(home))) == []


RESUMED_MS = START_MS + 4 * HOUR_MS
UNTIL_MS = RESUMED_MS + 12 * HOUR_MS


def paused_until_resumed(home: Path, start_ms: int) -> Dump:
    """The records of an account that begins at a moment and opens nothing before RESUMED_MS."""
    resumed = (RESUMED_MS - start_ms) // MINUTE_MS
    tell(account_folder(home), [Wished(None, "pause", {}), Wished(resumed, "resume", {})], start_ms=start_ms)
    trade(home, start_ms=start_ms, end_ms=UNTIL_MS)
    return dump(account_folder(home))


def test_where_an_account_began_makes_no_difference_once_it_trades(tmp_path: Path):
    first, *others = (
        paused_until_resumed(new_home(tmp_path / f"home-{number}"), start_ms)
        for number, start_ms in enumerate(
            (START_MS, START_MS - 26 * HOUR_MS - 43 * MINUTE_MS, RESUMED_MS - 97 * MINUTE_MS)
        )
    )
    assert len(first["trades"]) >= 7
    for other in others:
        assert other["trades"] == first["trades"]
        assert other["fills"] == first["fills"]
        assert other["orders"] == first["orders"]
        assert other["positions"] == first["positions"]
        for name, column in (("decision_blocks", "time_ms"), ("setups", "time_ms"), ("minutes", "time_ms")):
            assert after_resuming(other[name], column) == after_resuming(first[name], column), name


def after_resuming(rows: list[dict[str, Any]], column: str) -> list[dict[str, Any]]:
    """The rows from the close of the minute on in which trading began, without what counts from the start."""
    counted = {"setup_number", "digest"}
    return [
        {name: value for name, value in row.items() if name not in counted}
        for row in rows
        if row[column] > RESUMED_MS
    ]


# ----------------------------------------------------------------------------------------------- real bars


@pytest.mark.market_data
def test_three_real_days_of_august_are_the_backtest_to_the_cent(market_data: Path, tmp_path: Path):
    home = tmp_path / "home"
    code, _, err = run_command(home, "import-data", str(market_data / "bars" / "1m"), "--json")
    assert code == 0, err
    pairs = ("BTC/USDT", "ETH/USDT", "SUI/USDT")
    arguments = ("--pairs", ",".join(pairs))
    span = "20250822T0317", "20250825T0000"
    code, _, err = run_command(
        home, "trade", "--replay", "..".join(span), "--account", ACCOUNT, *arguments, "--json"
    )
    assert code == 0, err
    start_ms = START_OF_AUGUST_DAYS
    models = {name: strategy.parameters_model for name, strategy in builtin().items()}
    tree = load_configuration(models, file=None, environment={}, assignments=()).tree
    run = backtested(home, start_ms, start_ms + 3 * DAY_MS - 197 * MINUTE_MS, tree, pairs)
    assert len(run.detected.setups) > 0
    assert len(run.result.fills) > 0
    assert_replay_is_backtest(account_folder(home), run)

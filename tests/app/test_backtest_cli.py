"""`backtest` on a small synthetic market: what it prints, records, refuses, and what must hold whatever comes of it."""

import json
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from crypto_tracker.core.clock import ManualClock
from crypto_tracker.core.decisions import Reason
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import Timeframe, to_ms
from crypto_tracker.store.bars import BarStore
from crypto_tracker.store.batch import BarBatch
from crypto_tracker.store.database import open_engine
from crypto_tracker.store.run_views import RunViews
from crypto_tracker.store.runs import FILE_NAME, RunStore
from crypto_tracker.strategies.decisions import decode_block
from tests.app.books import Document, assert_the_books_balance, recorded_scans
from tests.app.conftest import (
    LAST_MS,
    LIVELY,
    MARCH,
    MARCH_MS,
    Command,
    backtest,
    copied,
    default_market_data,
)

KEYS = {
    "n_trades",
    "equity_start",
    "equity_final",
    "return_net",
    "max_drawdown",
    "fees_quote",
    "slippage_quote",
    "win_rate",
    "ambiguous_share",
    "seconds",
    "trades",
}
TRADE_KEYS = {
    "trade_group_id",
    "symbol",
    "strategy",
    "entry_time",
    "exit_time",
    "entry_price",
    "exit_price",
    "quantity",
    "exit_reason",
    "fee_quote",
    "pnl_quote",
    "return_net",
}


# ------------------------------------------------------------------------------------------ the document


def test_the_document_has_the_keys_that_others_rely_on(lively: tuple[Path, Document]):
    _, document = lively
    assert document.keys() >= KEYS
    assert document["seconds"].keys() == {"compile", "load", "features", "simulate", "measure"}
    assert document["n_trades"] > 20
    for trade in document["trades"]:
        assert trade.keys() >= TRADE_KEYS
    for trade in document["open_trades"]:
        assert trade["exit_time"] is None


def test_times_are_iso_and_utc_and_lie_in_the_span(lively: tuple[Path, Document]):
    _, document = lively
    assert (document["start"], document["end"]) == ("2025-03-01T00:00:00Z", "2025-03-16T00:00:00Z")
    for trade in document["trades"]:
        assert document["start"] <= trade["entry_time"] <= trade["exit_time"] < document["end"]
        assert trade["entry_time"].endswith("Z")
        assert trade["trade_group_id"].startswith(f"{trade['symbol']}-{trade['strategy']}-202503"[:-1])


def test_all_three_strategies_trade_and_the_books_balance(lively: tuple[Path, Document]):
    _, document = lively
    assert {trade["strategy"] for trade in document["trades"]} == {"DCA", "SWING", "CHANNEL"}
    assert (
        [group["name"] for group in document["by_strategy"]]
        == document["strategies"]
        == ["DCA", "SWING", "CHANNEL"]
    )
    assert_the_books_balance(document)


def test_synthetic_bars_are_labelled_synthetic(lively: tuple[Path, Document]):
    home, document = lively
    assert "SYNTHETIC bars: this result says nothing about any real market" in document["notes"]
    assert set(document["providers"].values()) == {"synthetic"}
    engine = open_engine(home / FILE_NAME, read_only=True)
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT DISTINCT synthetic FROM runs").scalars().all() == [1]
    engine.dispose()


def test_without_json_the_result_is_for_people(home: Path, command: Command):
    code, out, _ = command(home, "backtest", "--timerange", "20250308-20250312", "--pairs", "ETH/USD")
    assert code == 0
    for words in (
        "Backtest 1",
        "SYNTHETIC",
        "Equity at start",
        "Maximum drawdown",
        "Fees",
        "Slippage",
        "What the scans said",
    ):
        assert words in out
    assert "Why? crypto-tracker explain ETH/USD --at 2025-03-" in out
    with pytest.raises(ValueError):
        json.loads(out)


def test_with_json_standard_output_is_one_document_and_nothing_else(home: Path, command: Command):
    code, out, _ = command(
        home, "backtest", "--timerange", "20250308-20250309", "--pairs", "ETH/USD", "--json"
    )
    assert code == 0
    document, end = json.JSONDecoder().raw_decode(out)
    assert out[end:] == "\n"
    assert document["symbols"] == ["ETH/USD"]
    assert document["reference"] == "BTC/USD"


# ----------------------------------------------------------------------------------------------- records


def test_what_is_recorded_is_what_is_printed(lively: tuple[Path, Document]):
    home, document = lively
    store = RunStore.open_to_read(home)
    assert store is not None
    trades = store.trades(document["run_id"])
    printed = {trade["trade_group_id"]: trade for trade in document["trades"] + document["open_trades"]}
    assert {trade.trade_group_id for trade in trades} == printed.keys()
    for trade in trades:
        assert float(trade.pnl_quote) == printed[trade.trade_group_id]["pnl_quote"]
        assert trade.exit_reason == (printed[trade.trade_group_id]["exit_reason"] or "none")
    fees = sum(fill.fee_quote for fill in store.fills(document["run_id"]))
    assert float(fees) == pytest.approx(document["fees_quote"], abs=1e-9)
    counts = store.counts(document["run_id"])
    assert counts["setups"] == document["setups"] + document["near_misses"]
    store.close()


def test_the_equity_that_is_recorded_is_the_one_that_is_printed(lively: tuple[Path, Document]):
    home, document = lively
    with RunViews.open(home) as views:
        rows, summary = views.equity(document["run_id"]), views.summary(document["run_id"])
        assert views.max_drawdown(document["run_id"]) == pytest.approx(document["max_drawdown"], abs=1e-12)
    assert 100 < len(rows) <= 5_000
    assert rows.equity_e8[-1] / 1e8 == pytest.approx(document["equity_final"], abs=1e-8)
    assert float(summary.equity_quote or 0) == pytest.approx(document["equity_final"], abs=1e-8)
    assert (rows.low_e8 <= rows.equity_e8).all()
    assert (summary.trades, summary.open_trades) == (document["n_trades"], document["n_open"])


def test_every_scan_is_kept_when_asked_for_and_says_what_was_counted(lively: tuple[Path, Document]):
    home, document = lively
    store = RunStore.open_to_read(home)
    assert store is not None
    told = recorded_scans(home, document["run_id"])
    for strategy, minutes in (("DCA", 5), ("SWING", 15), ("CHANNEL", 15)):
        counted: dict[str, int] = {}
        for time_ms in range(MARCH_MS + minutes * 60_000, LAST_MS + 1, minutes * 60_000):
            data = store.block(document["run_id"], strategy, time_ms)
            assert data is not None
            block = decode_block(data)
            assert (block.strategy, block.time_ms) == (strategy, time_ms)
            assert block.version == document["configuration_version"]
            assert [str(symbol) for symbol in block.symbols] == document["symbols"]
            for symbol, code, readiness, confidence in zip(
                block.symbols, block.reason, block.readiness, block.confidence, strict=True
            ):
                reason = Reason(code)
                counted[reason.code] = counted.get(reason.code, 0) + 1
                row = told.pop((time_ms, str(symbol), strategy), None)
                assert (row is not None) == (reason is Reason.ACCEPTED or readiness >= 80.0)
                if row is not None:
                    assert row[0] == (reason is not Reason.ACCEPTED)
                    assert row[1] == pytest.approx(readiness, rel=1e-6)  # blocks keep it as float32
                    assert row[2] == confidence
        assert counted == document["scans"][strategy]
    assert told == {}
    store.close()


def test_scans_and_near_misses_are_not_kept_unless_asked_for(home: Path):
    """There are twice as many near misses as setups, and `explain` computes them again from the bars."""
    document = backtest(home, "--timerange", "20250308-20250309", *LIVELY)
    store = RunStore.open_to_read(home)
    assert store is not None
    counts = store.counts(document["run_id"])
    assert document["near_misses"] > 0
    assert (counts["decision_blocks"], counts["setups"]) == (0, document["setups"])
    store.close()


# --------------------------------------------------------------------------------- the same, and not the same


def test_the_same_command_gives_the_same_trades(lively: tuple[Path, Document], home: Path):
    _, first = lively
    again = backtest(home, *MARCH, *LIVELY)
    for name in first.keys() - {"seconds", "run_id"}:
        assert again[name] == first[name], name


@pytest.mark.parametrize("span", ["20250304-20250309", "20250308T1230-20250313T0745", "20250225-20250306"])
def test_another_span_finds_the_same_setups_where_both_look(
    lively: tuple[Path, Document], home: Path, span: str
):
    whole_home, whole = lively
    part = backtest(home, "--timerange", span, *LIVELY, "--record-scans")
    start, end = (to_ms(datetime.fromisoformat(part[side])) for side in ("start", "end"))
    found = recorded_scans(home, part["run_id"], since=MARCH_MS)
    assert len(found) > 50
    assert found == recorded_scans(whole_home, whole["run_id"], since=start, until=end)


def test_other_symbols_beside_it_do_not_change_what_is_found(lively: tuple[Path, Document], home: Path):
    whole_home, whole = lively
    alone = backtest(home, *MARCH, *LIVELY, "--pairs", "SOL/USD", "--record-scans")
    everywhere = recorded_scans(whole_home, whole["run_id"])
    assert recorded_scans(home, alone["run_id"]) == {
        key: row for key, row in everywhere.items() if key[1] == "SOL/USD"
    }


def test_a_strategy_alone(lively: tuple[Path, Document], home: Path):
    whole_home, whole = lively
    document = backtest(home, *MARCH, *LIVELY, "--strategy", "dca", "--record-scans")
    assert document["strategies"] == ["DCA"]
    assert {trade["strategy"] for trade in document["trades"]} == {"DCA"}
    everything = recorded_scans(whole_home, whole["run_id"])
    assert recorded_scans(home, document["run_id"]) == {
        key: row for key, row in everything.items() if key[2] == "DCA"
    }
    both = backtest(
        home, "--timerange", "20250308-20250309", "-s", "SWING", "-s", "DCA", "--pairs", "ETH/USD"
    )
    assert both["strategies"] == ["DCA", "SWING"]  # in the configured order


def test_a_strategy_that_is_switched_off_is_watched_but_does_not_trade(home: Path):
    few = ("--timerange", "20250308-20250311", "--pairs", "ETH/USD")
    off = backtest(home, *few, "--set", 'trading.switched_off=["DCA"]')
    assert off["n_trades"] == off["n_open"] == 0
    assert off["rejected"]["strategy_off"] > 0
    asked_for = backtest(home, *few, "--set", 'trading.switched_off=["DCA"]', "--strategy", "DCA")
    assert asked_for["n_trades"] > 0


def test_a_setting_changes_the_run_and_its_version(lively: tuple[Path, Document], home: Path):
    _, pessimistic = lively
    optimistic = backtest(home, *MARCH, *LIVELY, "--set", "fills.intrabar=optimistic")
    assert (pessimistic["intrabar"], optimistic["intrabar"]) == ("pessimistic", "optimistic")
    assert optimistic["configuration_version"] != pessimistic["configuration_version"]
    assert optimistic["setups"] == pessimistic["setups"]
    assert_the_books_balance(optimistic)
    costly = backtest(home, *MARCH, *LIVELY, "--set", "costs.taker_fee=0.02")
    assert costly["fees_quote"] > pessimistic["fees_quote"]


def test_what_is_left_open_is_closed_on_request(home: Path):
    span = ("--timerange", "20250308-20250309T0600", *LIVELY)
    left = backtest(home, *span)
    closed = backtest(home, *span, "--close-at-end")
    assert left["n_open"] > 0
    assert closed["n_open"] == 0
    assert closed["exits"]["end_of_data"] == left["n_open"]
    assert closed["n_trades"] == left["n_trades"] + left["n_open"]
    assert closed["equity_final"] < left["equity_final"]  # selling costs a fee and slippage
    assert_the_books_balance(left)
    assert_the_books_balance(closed)


def test_a_symbol_without_minutes_is_traded_on_hours_and_labelled(home: Path):
    document = backtest(home, *MARCH, "--pairs", "ADA/USD")
    assert document["base"] == "1h"
    assert (
        "coarse base: orders meet 1h bars and strategies of finer ones scan them, since not every symbol has 1m bars in the span"
        in document["notes"]
    )
    assert document["reference"] == "BTC/USD"  # made of its minutes
    assert not any("reference" in note for note in document["notes"])
    assert document["n_trades"] > 0
    for trade in document["trades"]:
        assert trade["entry_time"].endswith(":00:00Z")
    assert_the_books_balance(document)
    both = backtest(home, *MARCH, "--pairs", "ADA/USD,ETH/USD")
    assert (both["base"], both["symbols"]) == ("1h", ["ADA/USD", "ETH/USD"])
    assert_the_books_balance(both)


def test_a_run_without_the_reference_coin_says_so(tmp_path: Path, market_home: Path):
    document = backtest(
        copied(market_home, tmp_path / "copy"),
        "--timerange", "20250308-20250310", "--pairs", "ETH/USD", "--set", "trading.reference=XMR",
    )  # fmt: skip
    assert document["reference"] is None
    assert any(note.startswith("the reference coin XMR has no 1m bars") for note in document["notes"])
    assert "regime_panic" not in document["rejected"]


def test_a_strategy_without_a_share_of_the_capital_is_named(home: Path):
    document = backtest(home, *MARCH, *LIVELY, "--set", "limits.shares.SWING=0")
    assert [note for note in document["notes"] if "share" in note] == [
        "SWING has no share of the capital, so it opens nothing: give it one under [limits.shares]"
    ]
    assert all(trade["strategy"] != "SWING" for trade in document["trades"] + document["open_trades"])


def test_what_is_open_has_no_exit(home: Path):
    document = backtest(home, "--timerange", "20250308-20250309T0600", *LIVELY)
    assert document["open_trades"]
    for trade in document["open_trades"]:
        assert (trade["exit_time"], trade["exit_price"], trade["exit_reason"]) == (None, None, None)


# --------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--timerange", "20250901-20250801"), 2, "ends before it starts"),
        (("--timerange", "august"), 2, "is no span"),
        (("--timerange", "20251301-20260101"), 2, "is no date"),
        (
            ("--timerange", "2025-08-01"),
            2,
            "'2025' is no date: write YYYYMMDD or YYYYMMDDTHHMM, in UTC, such as 202508",
        ),
        (("--timerange", "20240101-20240201"), 1, "the span holds no 1m or 15m or 1h bars of any symbol"),
        (("--pairs", "BTC"), 2, "is not a symbol"),
        (("--pairs", ","), 2, "--pairs names no symbol"),
        (("--pairs", "XYZ/USD,BTC/USD"), 1, "there are no bars of XYZ/USD: see list-data"),
        (("--strategy", "MAGIC"), 2, "no strategy is named MAGIC: installed are DCA"),
        (("--provider", "nobody"), 1, "from nobody"),
        (("--timeframe", "5m"), 2, "can not be the base"),
        (("--timeframe", "7m"), 2, "--timeframe 7m can not be the base: choose 1m, 15m or 1h"),
        (("--pairs", "ADA/USD", "--timeframe", "1m"), 1, "the span holds no 1m bars of ADA/USD"),
        (("--set", "fills.intrabar=lucky"), 2, "fills.intrabar"),
        (("--set", "limits.max_opn=3"), 2, "max_open"),
    ],
)
def test_a_request_that_cannot_be_met_is_one_sentence_and_an_exit_code(
    home: Path, command: Command, arguments: tuple[str, ...], code: int, words: str
):
    ended, out, err = command(home, "backtest", *arguments, "--json")
    assert (ended, out) == (code, "")
    assert words in err
    assert "Traceback" not in err
    assert err.count("\n") == 1
    assert not (home / FILE_NAME).exists()  # nothing was recorded


def test_an_empty_home_says_how_to_bring_bars(tmp_path: Path, command: Command):
    code, out, err = command(tmp_path / "nothing", "backtest", "--json")
    assert (code, out) == (1, "")
    assert "import-data" in err
    assert err.count("\n") == 1
    assert not (tmp_path / "nothing").exists()


def test_two_providers_of_a_symbol_must_be_chosen_between(home: Path, command: Command):
    times = MARCH_MS + np.arange(60, dtype=np.int64) * 60_000
    price = np.full(60, 100.0)
    clock = ManualClock(datetime(2025, 5, 1, tzinfo=UTC))
    with BarStore.open(home, market_data=default_market_data(), clock=clock) as store:
        batch = BarBatch(open_time_ms=times, open=price, high=price, low=price, close=price, volume=price)
        store.write("other", Symbol("ETH", "USD"), Timeframe.M1, batch)
    ask = partial(
        command, home, "backtest", "--timerange", "20250301-20250302", "--pairs", "ETH/USD", "--json"
    )
    code, _, err = ask()
    assert code == 2
    assert "several providers in the span (other, synthetic): choose one with --provider" in err
    code, out, _ = ask("--provider", "synthetic")
    assert code == 0
    assert json.loads(out)["providers"]["ETH/USD"] == "synthetic"
    code, out, _ = ask("--provider", "other")
    assert code == 0
    document = json.loads(out)
    assert document["end"] == "2025-03-01T01:00:00Z"
    assert not any("SYNTHETIC" in note for note in document["notes"])


def test_days_whose_slow_regime_is_not_known_are_said(lively: tuple[Path, Document], home: Path):
    """The store begins too late for 200 daily bars of the reference coin: DCA's regime rule is then NEUTRAL."""
    _, document = lively
    (note,) = [note for note in document["notes"] if "slow regime is UNKNOWN" in note]
    assert "BTC/USD" in note
    assert "treated as NEUTRAL" in note
    at_once = [f"protection.slow_regime.{name}=1" for name in ("trend_bars", "crash_bars")]
    known = backtest(home, *MARCH, *LIVELY, "--set", at_once[0], "--set", at_once[1])
    assert not any("slow regime" in note for note in known["notes"])

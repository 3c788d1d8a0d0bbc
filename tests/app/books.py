"""What a backtest must keep to whatever the market did: its sums, and what it recorded of its scans."""

from pathlib import Path
from typing import Any

import pytest

from crypto_tracker.store.database import open_engine
from crypto_tracker.store.runs import FILE_NAME

Document = dict[str, Any]


def recorded_scans(
    home: Path, run_id: int, *, since: int = 0, until: int = 2**62
) -> dict[tuple[int, str, str], tuple[Any, ...]]:
    """What a run recorded of its setups and near misses, without the portfolio's part."""
    engine = open_engine(home / FILE_NAME, read_only=True)
    with engine.connect() as connection:
        rows = connection.exec_driver_sql(
            "SELECT time_ms, symbol, strategy, verdict = 'NEAR_MISS', readiness, confidence FROM setups WHERE run_id = ?",
            (run_id,),
        ).fetchall()
    engine.dispose()
    return {tuple(row[:3]): tuple(row[3:]) for row in rows if since < row[0] <= until}


def assert_the_books_balance(document: Document) -> None:
    """What holds whatever the market did."""
    closed, still_open = document["trades"], document["open_trades"]
    gained = sum(trade["pnl_quote"] for trade in closed + still_open)
    assert document["equity_final"] == pytest.approx(document["equity_start"] + gained, abs=1e-6)
    assert document["return_net"] == pytest.approx(
        document["equity_final"] / document["equity_start"] - 1, abs=1e-12
    )
    assert document["return_closed"] == pytest.approx(
        sum(trade["pnl_quote"] for trade in closed) / document["equity_start"], abs=1e-9
    )
    for name, total in (("fee_quote", "fees_quote"), ("slippage_quote", "slippage_quote")):
        assert document[total] == pytest.approx(sum(trade[name] for trade in closed + still_open), abs=1e-6)
    assert (document["n_trades"], document["n_open"]) == (len(closed), len(still_open))
    assert sum(document["exits"].values()) == len(closed)
    for groups in ("by_strategy", "by_symbol", "by_exit_reason"):
        assert sum(group["n_trades"] for group in document[groups]) == len(closed)
        assert sum(group["pnl_quote"] for group in document[groups]) == pytest.approx(
            sum(trade["pnl_quote"] for trade in closed), abs=1e-6
        )
    judged = [trade for trade in closed if trade["exit_reason"] != "data_lost"]
    if judged:
        won = sum(trade["pnl_quote"] > 0 for trade in judged)
        assert document["win_rate"] == pytest.approx(won / len(judged))
    if closed:
        ambiguous = sum(trade["ambiguous"] for trade in closed)
        assert document["ambiguous_share"] == pytest.approx(ambiguous / len(closed))
    assert (
        document["n_trades"] + document["n_open"] + sum(document["rejected"].values()) == document["setups"]
    )
    for trade in closed:
        assert trade["entry_time"] <= trade["exit_time"]
        assert trade["entry_time"] >= trade["decision_time"]
        assert trade["return_net"] == pytest.approx(trade["pnl_quote"] / trade["invested_quote"], abs=1e-9)
        # Entry and exit prices are means over fills: what was gained follows from them, less fees.
        moved = (trade["exit_price"] - trade["entry_price"]) * trade["quantity"]
        assert trade["pnl_quote"] == pytest.approx(moved - trade["fee_quote"], abs=1e-5)

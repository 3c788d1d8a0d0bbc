"""`scorecard`: of an account by its journal, of a run and of a bundle, and how it is told."""

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from crypto_tracker.app.accounts import account_place
from crypto_tracker.app.cli.scorecard_view import show
from crypto_tracker.app.evidence import account_quality, account_uptime, recorded_account
from crypto_tracker.config.versions import version
from crypto_tracker.core.timeframes import MINUTE_MS
from crypto_tracker.simulation.scorecard import DayShares, scorecard
from crypto_tracker.store.feed import NO_TRADE, UNKNOWN
from crypto_tracker.store.trading import TradingStore
from crypto_tracker.store.trading_records import Account, Opening
from crypto_tracker.trading.seen import encode_revisions
from crypto_tracker.trading.setting import configuration_row
from tests.app.books import Document
from tests.app.conftest import LIVELY, MARCH, Command, backtest, copied
from tests.app.kept import (
    BTC,
    CAPITAL,
    START_MS,
    STRATEGIES,
    SYMBOLS,
    calm_state,
    configuration,
    steps,
)
from tests.simulation.sides import daily, side, traded

# When each of the ten minutes was recorded, in seconds after its close.
DELAYS = (5, 5, 20, 61, 5, 60, 5, 3_600, 5, 5)


def account_on(home: Path, *, end_ms: int | None = None) -> None:
    """The account of `tests.app.kept`, whose journal knows what was seen and when it was written.

    Of the ten minutes of three coins one bar was unknown, and one coin did not trade in one of them.
    """
    row = configuration_row(configuration())
    state = calm_state(row.version)
    account = Account(
        kind="paper" if end_ms is None else "replay",
        symbols=SYMBOLS,
        reference=BTC,
        providers=dict.fromkeys(SYMBOLS, "file"),
        strategies=STRATEGIES,
        capital_quote=CAPITAL,
        start_ms=START_MS,
        end_ms=end_ms,
        created_at_ms=START_MS,
        code_version="0.1.0",
    )
    with TradingStore.open(account_place(home, "paper").folder, wait_ms=0) as store:
        first = replace(state, cursor_ms=START_MS)
        store.create(Opening(account=account, configuration=row, history=[], state=first.to_bytes()))
        session = store.begin_session(started_at_ms=START_MS, pid=1, host="tower", code_version="0.1.0")
        for minute, step in enumerate(steps(row.version, state)):
            revisions = np.zeros(3, dtype=np.int32)
            if minute == 2:
                revisions[0] = UNKNOWN
            if minute == 3:
                revisions[1] = NO_TRADE
            store.commit(
                replace(step, seen=encode_revisions(revisions)),
                recorded_at_ms=step.time_ms + MINUTE_MS + 1_000 * DELAYS[minute],
            )
        store.end_session(session, START_MS + 9 * MINUTE_MS)


def judged(command: Command, home: Path, *arguments: str) -> tuple[Document, dict[str, Document]]:
    code, out, err = command(home, "scorecard", *arguments, "--json")
    assert code == 0, err
    found: Document = json.loads(out)
    return found, {row["name"]: row for row in found["rows"]}


def test_the_journal_tells_uptime_and_what_was_seen(tmp_path: Path):
    account_on(tmp_path)
    recorded, account, minutes = recorded_account(account_place(tmp_path, "paper"), count_known=True)
    uptime = account_uptime(account, minutes, "UTC", 60.0)
    assert isinstance(uptime, DayShares)
    assert (uptime.good.tolist(), uptime.all.tolist()) == ([8.0], [10.0])  # 61 s and an hour are too late
    quality = account_quality(account, minutes, "UTC")
    assert (quality.good.tolist(), quality.all.tolist()) == ([29.0], [30.0])
    assert recorded.evidence.configuration_version == version(configuration())


def test_an_account_of_ten_minutes_meets_nothing(command: Command, tmp_path: Path):
    account_on(tmp_path)
    found, rows = judged(command, tmp_path)
    assert (found["name"], found["met"], found["not_met"], found["not_known"]) == ("account paper", 0, 0, 13)
    assert found["verdict"] == "optimise"
    assert (rows["win_rate"]["value"], rows["win_rate"]["n"], rows["win_rate"]["thin"]) == (0.5, 2, True)
    assert rows["pnl_net"]["value"] == -1.0
    assert rows["uptime"]["value"] == 0.8
    assert rows["data_quality"]["value"] == pytest.approx(29 / 30)
    assert rows["model_accuracy"]["why"] == "there is no model yet"


def test_targets_and_samples_are_configured(command: Command, tmp_path: Path):
    account_on(tmp_path)
    options = (
        "--set", "scorecard.trades_min=2", "--set", "scorecard.win_rate_min=0.4",
        "--set", "scorecard.late_seconds=4000", "--set", "scorecard.strategy_win_rate_min.CHANNEL=0.5",
    )  # fmt: skip
    _, rows = judged(command, tmp_path, *options)
    assert rows["win_rate"]["state"] == "met"
    assert rows["uptime"]["value"] == 1.0
    assert rows["win_rate.CHANNEL"]["value"] == 0.0
    code, _, err = command(tmp_path, "scorecard", "--set", "scorecard.strategy_win_rate_min.SWINNG=0.5")
    assert code == 2
    assert "no strategy is named SWINNG" in " ".join(err.split())


def test_targets_are_no_part_of_the_configuration_version():
    assert version(configuration("scorecard.sharpe_min=2.0", "compare.days_min=90")) == version(
        configuration()
    )


def test_a_replay_keeps_no_time(command: Command, tmp_path: Path):
    account_on(tmp_path, end_ms=START_MS + 10 * MINUTE_MS)
    _, rows = judged(command, tmp_path)
    assert (rows["uptime"]["state"], rows["uptime"]["why"]) == ("not_known", "a replay keeps no time")


def test_a_run_is_judged_by_its_own_figures(command: Command, market_home: Path, tmp_path: Path):
    home = copied(market_home, tmp_path / "home")
    made = backtest(home, *MARCH, *LIVELY, "--export", str(home / "march.json"))
    found, rows = judged(command, home, "--run", "1", "--set", "scorecard.trades_min=1")
    assert rows["win_rate"]["value"] == pytest.approx(made["win_rate"])
    assert rows["profit_factor"]["value"] == pytest.approx(made["profit_factor"])
    assert rows["max_drawdown"]["value"] == pytest.approx(made["max_drawdown"], abs=1e-9)
    assert rows["sharpe"]["value"] == pytest.approx(made["sharpe"], rel=1e-6)
    assert rows["pnl_net"]["value"] == pytest.approx(made["equity_final"] - made["equity_start"], abs=1e-5)
    by_strategy = {group["name"]: group["win_rate"] for group in made["by_strategy"]}
    assert rows["win_rate.DCA"]["value"] == pytest.approx(by_strategy["DCA"])
    assert rows["uptime"]["why"] == "a backtest keeps no time"
    stops = [
        trade for trade in made["trades"] if trade["exit_reason"] == "stop_loss" and trade["pnl_quote"] < 0
    ]
    assert rows["false_positives"]["value"] == pytest.approx(len(stops) / made["n_trades"])
    assert 0.9 < rows["data_quality"]["value"] <= 1.0
    assert found["synthetic"]
    whole, of_bundle = judged(command, home, "--bundle", str(home / "march.json"))
    for name in ("win_rate", "setup_quality", "max_drawdown", "sharpe", "pnl_net", "data_quality"):
        assert of_bundle[name]["value"] == pytest.approx(rows[name]["value"], rel=1e-6), name
    assert "not recorded" in of_bundle["confidence_correlation"]["why"]
    part, cut_rows = judged(command, home, "--run", "1", "--timerange", "20250306-20250311")
    assert (part["start"], part["end"]) == ("2025-03-06T00:00:00Z", "2025-03-11T00:00:00Z")
    assert cut_rows["data_quality"]["n"] == cut_rows["pnl_net"]["n"] == 5
    assert whole["end"] == "2025-03-16T00:00:00Z"


def test_two_things_to_judge_are_refused(command: Command, tmp_path: Path):
    code, _, err = command(tmp_path, "scorecard", "--run", "1", "--account", "paper")
    assert code == 2
    assert "choose one" in " ".join(err.split())


@pytest.mark.parametrize("width", [80, 100])
def test_every_row_fits_the_screen_with_its_number_whole(width: int):
    trades = [traded(BTC, "DCA", 0.01 * n, -12_345.6 if n % 3 else 99_999.9) for n in range(1, 2_000)]
    made = side("account paper", trades, days=daily(*np.linspace(10_000.0, 9_876_543.0, 40)))
    targets = configuration().scorecard
    card = scorecard(made, targets, uptime="a replay keeps no time", data_quality="nothing")
    written = io.StringIO()
    show(Console(file=written, width=width), card, targets)
    text = written.getvalue()
    assert max(len(line.rstrip()) for line in text.splitlines()) <= width
    assert "+9,866,543" in text
    assert "unknown: Uptime: a replay keeps no time" in text
    assert "…" not in text

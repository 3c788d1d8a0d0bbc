"""`explain`: what it says of a scan is what the backtest saw, in words, with the portfolio's answer."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crypto_tracker.app.endings import portfolio_sentence
from crypto_tracker.core.decisions import Reason, Verdict
from crypto_tracker.core.timeframes import MINUTE_MS, from_ms, to_ms
from crypto_tracker.store.database import open_engine
from crypto_tracker.store.runs import FILE_NAME, RunStore
from crypto_tracker.strategies.base import WITHHELD_FOR
from crypto_tracker.strategies.decisions import decode_block, verdict
from tests.app.books import Document
from tests.app.conftest import LAST_MS, LIVELY, MARCH_MS, Command, backtest, run_command

SCAN_MINUTES = {"DCA": 5, "SWING": 15, "CHANNEL": 15}
CRASH = "2025-03-09T03:00"
Explained = dict[str, dict[str, Any]]


def explain(home: Path, symbol: str, time_ms: int, *arguments: str) -> Explained:
    """What each strategy says, by its name."""
    at = f"{from_ms(time_ms):%Y-%m-%dT%H:%M}"
    code, out, err = run_command(home, "explain", symbol, "--at", at, *arguments, "--json")
    assert code == 0, err
    document = json.loads(out)
    assert (document["symbol"], document["at"]) == (symbol, f"{at}:00Z")
    return {told["name"]: told for told in document["strategies"]}


def recorded(home: Path, columns: str, condition: str = "1") -> list[Any]:
    engine = open_engine(home / FILE_NAME, read_only=True)
    with engine.connect() as connection:
        rows = list(
            connection.exec_driver_sql(f"SELECT {columns} FROM setups WHERE {condition} ORDER BY time_ms")
        )
    engine.dispose()
    return rows


def same(told: float | None, kept: float, kind: type[np.floating[Any]]) -> bool:
    """Whether JSON tells the number that a block keeps, to the last bit; null stands for NaN."""
    return bool(np.isnan(kept)) if told is None else bool(kind(told) == kind(kept))


# --------------------------------------------------------------------------------- the same as the backtest


def test_the_verdict_is_what_the_backtest_recorded_for_the_same_scan(lively: tuple[Path, Document]):
    home, document = lively
    store = RunStore.open_to_read(home)
    assert store is not None
    random = np.random.default_rng(5)
    minutes = random.integers(30, (LAST_MS - MARCH_MS) // MINUTE_MS, 16).tolist()
    asked = [(MARCH_MS + minute * MINUTE_MS, str(random.choice(document["symbols"]))) for minute in minutes]
    # And some scans that came to something, which are rare among random ones.
    found = recorded(home, "time_ms, symbol", "verdict <> 'NEAR_MISS'")
    asked += [tuple(found[int(place)]) for place in random.integers(0, len(found), 8)]
    asked += [(MARCH_MS + 15 * MINUTE_MS, "BTC/USD"), (LAST_MS, "ETH/USD")]  # the first scans and the last
    seen = set()
    for time_ms, symbol in asked:
        for name, told in explain(home, symbol, time_ms, *LIVELY).items():
            length = SCAN_MINUTES[name] * MINUTE_MS
            scan_ms = time_ms - time_ms % length
            assert told["scan_time"] == f"{from_ms(scan_ms):%Y-%m-%dT%H:%M:%SZ}"
            data = store.block(document["run_id"], name, scan_ms)
            assert data is not None
            block = decode_block(data)
            column = [str(each) for each in block.symbols].index(symbol)
            reason = Reason(block.reason[column])
            assert told["reason"] == reason.code
            assert told["verdict"] == verdict(reason, block.readiness[column], 80.0)
            assert same(told["confidence"], block.confidence[column], np.float64)
            assert same(told["readiness"], block.readiness[column], np.float32)
            assert told["measurements"].keys() == block.measurements.keys()
            for measured, value in told["measurements"].items():
                assert same(value, block.measurements[measured][column], np.float32)
            seen.add((name, told["verdict"]))
    store.close()
    assert {verdict for _, verdict in seen} == set(Verdict)
    assert {name for name, _ in seen} == SCAN_MINUTES.keys()


def test_between_two_scans_the_last_one_counts(lively: tuple[Path, Document]):
    home, _ = lively
    told = explain(home, "ETH/USD", to_ms(from_ms(MARCH_MS).replace(day=9, hour=3, minute=14)))
    assert told["DCA"]["scan_time"] == "2025-03-09T03:10:00Z"
    assert told["SWING"]["scan_time"] == told["CHANNEL"]["scan_time"] == "2025-03-09T03:00:00Z"


# ------------------------------------------------------------------------------------------- gates in words


def test_every_gate_is_a_sentence_and_the_first_that_fails_is_the_reason(lively: tuple[Path, Document]):
    home, _ = lively
    for symbol, time_ms in (
        ("ETH/USD", MARCH_MS + 8 * 86_400_000 + 3 * 3_600_000),
        ("PEPE/USD", MARCH_MS + 3_600_000),
    ):
        for told in explain(home, symbol, time_ms).values():
            assert len(told["gates"]) >= 4
            for gate in told["gates"]:
                assert gate.keys() == {"gate", "passed", "measured", "required", "sentence"}
                assert Reason[gate["gate"].upper()]
                assert len(gate["sentence"].split()) >= 4
                assert "nan" not in gate["sentence"].split()
            failed = [gate for gate in told["gates"] if not gate["passed"]]
            assert told["reason"] == (failed[0]["gate"] if failed else "accepted")
            assert told["stopped_by"] == (failed[0]["sentence"] if failed else None)
            assert (told["verdict"] == "TAKE") == (not failed)


def test_the_explanation_reads_well(lively: tuple[Path, Document], command: Command):
    home, _ = lively
    code, out, _ = command(home, "explain", "ETH/USD", "--at", CRASH)
    assert code == 0
    text = " ".join(out.split())
    assert text.startswith("ETH/USD at 2025-03-09 03:00 UTC")
    for name, timeframe in (("DCA", "5m"), ("SWING", "15m"), ("CHANNEL", "15m")):
        assert f"{name} {timeframe} scan of 2025-03-09 03:00" in text
    assert re.search(r"✓ the close [\d.,]+ is [\d.]+ % below the 4 h high", text)
    assert "a setup needs 2.5 %" in text
    assert "✗ the RSI is" in text
    assert (
        "? no account and no recorded run of this configuration covers it" in text
    )  # the run had other settings


def test_long_points_go_on_below_their_first_word_and_keep_units_with_numbers(
    home: Path, command: Command, monkeypatch: pytest.MonkeyPatch
):
    for width in (60, 80, 100):
        monkeypatch.setenv("COLUMNS", str(width))
        _, out, _ = command(home, "explain", "ETH/USD", "--at", CRASH)
        lines = out.splitlines()
        assert all(len(line) <= width for line in lines)
        assert not any(line.strip().startswith("%") for line in lines)
        for line in lines:
            assert re.match(r"(ETH|DCA|SWING|CHANNEL|  [✓✗?] \S|    \S|$)", line), line


def test_a_strategy_alone_and_a_coarse_symbol(lively: tuple[Path, Document]):
    home, _ = lively
    noon = MARCH_MS + 10 * 86_400_000 + 12 * 3_600_000
    assert explain(home, "ETH/USD", noon, "--strategy", "swing").keys() == {"SWING"}
    told = explain(home, "ADA/USD", noon + 30 * MINUTE_MS)
    assert {each["timeframe"] for each in told.values()} == {"1h"}
    assert {each["scan_time"] for each in told.values()} == {"2025-03-11T12:00:00Z"}


# -------------------------------------------------------------------------------------- the portfolio's answer


def test_the_portfolio_answers_every_setup_as_it_was_recorded(lively: tuple[Path, Document]):
    home, document = lively
    by_reason = {
        reason: (time_ms, symbol, strategy)
        for time_ms, symbol, strategy, reason in recorded(
            home, "time_ms, symbol, strategy, reason", "verdict <> 'NEAR_MISS'"
        )
    }
    assert by_reason.keys() >= {"accepted", "symbol_limit", "regime_panic"}
    for reason, (time_ms, symbol, strategy) in by_reason.items():
        told = explain(home, symbol, time_ms, *LIVELY)[strategy]
        assert told["verdict"] == "TAKE"
        answer = told["portfolio"]
        assert answer["reason"] == reason
        assert answer["run_id"] == document["run_id"]
        assert (answer["verdict"] == "TAKE") == (reason in {"accepted", "expired", "slippage_too_high"})
        assert "nan" not in answer["sentence"]
        assert "{" not in answer["sentence"]


def test_what_is_no_setup_has_no_answer_of_the_portfolio(lively: tuple[Path, Document]):
    home, _ = lively
    (time_ms, symbol, strategy), *_ = recorded(home, "time_ms, symbol, strategy", "verdict = 'NEAR_MISS'")
    told = explain(home, symbol, time_ms, *LIVELY)[strategy]
    assert (told["verdict"], told["portfolio"]) == ("NEAR_MISS", None)


def test_the_newest_run_in_which_the_strategy_took_part_answers(
    lively: tuple[Path, Document], tmp_path: Path, command: Command
):
    home = Path(shutil.copytree(lively[0], tmp_path / "home"))
    (time_ms, symbol), *_ = recorded(home, "time_ms, symbol", "reason = 'accepted' AND strategy = 'DCA'")

    def ask() -> int:
        answer: int = explain(home, symbol, time_ms, *LIVELY)["DCA"]["portfolio"]["run_id"]
        return answer

    assert ask() == 1
    span = (
        "--timerange",
        f"{from_ms(time_ms - 86_400_000):%Y%m%dT%H%M}-{from_ms(time_ms + 3_600_000):%Y%m%dT%H%M}",
    )
    assert backtest(home, *span, *LIVELY, "--strategy", "SWING")["run_id"] == 2
    assert ask() == 1
    assert backtest(home, *span, *LIVELY, "--pairs", symbol)["run_id"] == 3
    assert ask() == 3
    hours = backtest(home, *span, *LIVELY, "--pairs", symbol, "--timeframe", "1h")
    assert (hours["run_id"], hours["base"]) == (4, "1h")
    assert ask() == 3  # what a run on hours did with a scan of hours is no answer to a scan of 5m
    _, out, _ = command(home, "explain", symbol, "--at", f"{from_ms(time_ms):%Y-%m-%dT%H:%M}", *LIVELY)
    assert re.search(r"[✓✗] portfolio \(run 3\): ", out)


def test_where_nothing_was_recorded_the_gates_are_explained_all_the_same(home: Path):
    told = explain(home, "ETH/USD", to_ms(from_ms(MARCH_MS).replace(day=9, hour=3)))
    assert told["DCA"]["verdict"] == "TAKE"
    assert told["DCA"]["portfolio"] is None
    assert not (home / FILE_NAME).exists()


@pytest.mark.parametrize(
    "reason",
    [r for r in Reason if r in (Reason.ACCEPTED, Reason.DATA_STALE, *WITHHELD_FOR) or r >= 60],
)
def test_the_portfolio_has_a_sentence_for_each_of_its_reasons(reason: Reason):
    until = to_ms(from_ms(MARCH_MS).replace(hour=12))
    sentence = portfolio_sentence(reason, 600_000.0, float(until))
    assert len(sentence.split()) >= 4
    assert "{" not in sentence
    assert portfolio_sentence(reason, None, None)  # a reason whose numbers are not known


def test_sentences_carry_their_numbers():
    noon = float(to_ms(from_ms(MARCH_MS).replace(hour=12)))
    assert portfolio_sentence(Reason.COOLDOWN, 0.0, noon).endswith("cools down until 2025-03-01 12:00 UTC")
    assert portfolio_sentence(Reason.LOSING_STREAK, 0.0, noon).endswith("rests until 2025-03-01 12:00 UTC")
    assert portfolio_sentence(Reason.DATA_STALE, 900_000.0, 600_000.0) == (
        "the symbol had no new bar for 15 minutes; 10 is too long"
    )
    assert portfolio_sentence(Reason.DATA_STALE, None, 600_000.0) == "the symbol had no bar in the span yet"
    assert portfolio_sentence(Reason.DAY_LOSS, 0.1034, 0.10) == (
        "the day had lost 10.34 %; at 10 % nothing is opened until the day ends"
    )
    assert portfolio_sentence(Reason.DRAWDOWN, 0.2534, 0.25) == (
        "equity was 25.34 % below its peak; at 25 % nothing is opened until a person resumes"
    )
    assert portfolio_sentence(Reason.NO_EDGE, 0.55, 0.6066) == (
        "a bet with the confidence 0.550 does not pay: target, stop and costs break even at 0.607"
    )
    assert portfolio_sentence(Reason.CORRELATION, 0.8231, 0.7) == (
        "its hourly returns went with those of what is held by 0.823 on average; 0.7 is the most"
    )
    assert portfolio_sentence(Reason.TRAILING_TOO_TIGHT, 0.005, 0.00603) == (
        "the trailing distance of 0.50 % is below the median bar range of 0.60 %"
    )
    assert portfolio_sentence(Reason.VOLATILITY_HIGH, 0.0695, None) == (
        "the strategy was switched off: the market's volatility, now 6.95 %, was too high"
    )
    assert portfolio_sentence(Reason.SHARE_USED, 3300.5, 3200.0) == (
        "with it the strategy would have used 3,300.50 of its share of 3,200.00"
    )


# ---------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("XYZ/USD", "--at", CRASH), 1, "there are no bars of XYZ/USD"),
        (("ETHUSD", "--at", CRASH), 2, "is not a symbol"),
        (("ETH/USD", "--at", "yesterday"), 2, "'yesterday' is no time"),
        (
            ("ETH/USD", "--at", "2024-03-01"),
            1,
            "ETH/USD has no bars at 2024-03-01 00:00 UTC: choose --at from",
        ),
        (("ETH/USD", "--at", "2025-03-16T02:00"), 1, "what is stored, 1m from"),
        (("ETH/USD", "--at", CRASH, "--strategy", "MAGIC"), 2, "no strategy is named MAGIC"),
        (("ETH/USD", "--at", CRASH, "--timeframe", "4h"), 2, "can not be the base"),
        (("ETH/USD",), 2, "--at"),
    ],
)
def test_a_question_without_an_answer_is_refused_in_words(
    home: Path, command: Command, arguments: tuple[str, ...], code: int, words: str
):
    ended, out, err = command(home, "explain", *arguments, "--json")
    assert (ended, out) == (code, "")
    assert words in err
    assert "Traceback" not in err


def test_an_empty_home_has_nothing_to_explain(tmp_path: Path, command: Command):
    code, _, err = command(tmp_path / "nothing", "explain", "BTC/USD", "--at", CRASH)
    assert code == 1
    assert "import-data" in err
    assert not (tmp_path / "nothing").exists()

"""`list-data` of a home whose bars are kept up to date: quality, gaps with reasons, inactive symbols."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crypto_tracker.app.cli.common import Session
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import Timeframe, to_ms
from crypto_tracker.store.holes import Known, what_is_known
from crypto_tracker.store.market_database import writing
from crypto_tracker.store.tables import gaps, symbols
from tests.app.conftest import Command
from tests.store.shelf import BTC, ETH, at, drawn, part, run_of_minutes, store

SOL, XRP = Symbol("SOL", "USDT"), Symbol("XRP", "USDT")
NOW = datetime(2025, 3, 8, tzinfo=UTC)
DAY = 1440
REASON = "it was listed on 1 March 2025"
PLAN = ("--set", "market_data.timeframes.1m.backfill_days=10", "--set", "market_data.quality.window_days=7")


def lack(home: Path, start: str, end: str, reason: str) -> None:
    """Note that kraken lacks BTC in this interval for good."""
    with writing(home) as connection:
        [row] = connection.execute(
            symbols.select().where(symbols.c.provider == "kraken", symbols.c.symbol == str(BTC))
        ).all()
        connection.execute(
            gaps.insert().values(
                symbol_id=row.symbol_id,
                timeframe="1m",
                start_ms=at(start),
                end_ms=at(end),
                reason=reason,
                noted_at_ms=to_ms(NOW),
            )
        )


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A week of kraken's BTC until now with a hole of two hours, massive's of the last two days, ETH delisted."""
    monkeypatch.setattr(Session, "now", lambda _: NOW)
    home = tmp_path / "home"
    with store(home, now=NOW) as opened:
        bars = run_of_minutes("2025-03-01 00:00", 7 * DAY)
        minutes = np.arange(7 * DAY)
        opened.write("kraken", BTC, Timeframe.M1, part(bars, (minutes < 3_000) | (minutes >= 3_120)))
        opened.write("massive", BTC, Timeframe.M1, part(bars, slice(5 * DAY, 7 * DAY - 3)))
    lack(home, "2025-02-01 00:00", "2025-03-01 00:00", REASON)
    with writing(home) as connection:
        connection.execute(
            symbols.insert().values(
                provider="kraken", symbol=str(ETH), status="inactive", reason="not traded any more"
            )
        )
    return home


def documents(command: Command, home: Path, *arguments: str) -> list[dict[str, Any]]:
    code, out, err = command(home, "list-data", "--json", *PLAN, *arguments)
    assert code == 0, err
    found: list[dict[str, Any]] = json.loads(out)
    return found


def test_every_line_of_minutes_has_the_score_where_bars_are_kept_up_to_date(
    home: Path, command: Command, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("COLUMNS", "80")
    code, out, _ = command(home, "list-data", *PLAN)
    lines = out.splitlines()
    assert code == 0
    assert lines[0].split()[-2:] == ["complete", "quality"]
    assert [line.split()[-1] for line in lines[1:3]] == ["0.98", "0.87"]
    assert lines[3] == "inactive: ETH/USDT kraken: not traded any more"
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize("width", [80, 100])
def test_the_parts_of_the_score_are_shown_and_explained_by_age_and_backfill(
    home: Path, command: Command, monkeypatch: pytest.MonkeyPatch, width: int
):
    monkeypatch.setenv("COLUMNS", str(width))
    code, out, err = command(home, "list-data", "--quality", *PLAN)
    lines = out.splitlines()
    assert code == 0
    assert " ".join(lines[0].split()) == "symbol provider newest backfill fresh complete sound agree score"
    assert " ".join(lines[1].split()) == "BTC/USDT kraken 0 s ago 69.16 % 1.00 0.98 1.00 - 0.98"
    # Three minutes old, of 2 that are fresh and 10 that are stale.
    assert " ".join(lines[2].split()) == "BTC/USDT massive 3 min ago - 0.87 0.99 1.00 - 0.87"
    assert "1 pair of providers never compared, such as kraken and massive of BTC/USDT" in " ".join(
        err.split()
    )
    assert max(map(len, lines)) <= width


@pytest.mark.parametrize("width", [80, 100])
def test_a_symbol_that_opens_nothing_is_named_with_what_helps(
    home: Path, command: Command, monkeypatch: pytest.MonkeyPatch, width: int
):
    monkeypatch.setenv("COLUMNS", str(width))
    strict = ("--set", "market_data.quality.score_min=0.99")
    _, out, _ = command(home, "list-data", "--quality", *PLAN, *strict)
    assert max(map(len, out.splitlines())) <= width
    words = " ".join(out.split())
    assert (
        "BTC/USDT kraken opens nothing: 2 % of its minutes since 2025-03-01 00:00 UTC unknown: `heal-gaps` "
        "fetches what there is, the rest counts for 7 days at most"
    ) in words
    assert "massive opens nothing" not in words  # nobody is asked to fetch it
    assert "opens nothing" not in command(home, "list-data", "--quality", *PLAN)[1]


def test_two_providers_are_compared_when_asked_and_the_result_is_kept(home: Path, command: Command):
    code, out, err = command(home, "list-data", "--quality", "--compare", *PLAN)
    assert (code, err) == (0, "")
    row = out.splitlines()[4 + 1].split()
    assert row[:3] == ["BTC/USDT", "kraken,", "massive"]
    assert "2,877" in row
    kraken, massive, _ = documents(command, home)
    assert [day["compared"] for day in kraken["disagreements"]] == [1440, 1437]
    assert [(day["with"], day["day"]) for day in massive["disagreements"]] == [
        ("kraken", "2025-03-06"),
        ("kraken", "2025-03-07"),
    ]
    assert kraken["quality"]["agreement"] == 1.0


@pytest.mark.parametrize("width", [80, 120])
def test_gaps_are_told_by_reason_with_those_that_share_it(
    home: Path, command: Command, monkeypatch: pytest.MonkeyPatch, width: int
):
    monkeypatch.setenv("COLUMNS", str(width))
    with store(home, now=NOW) as opened:
        for symbol in (SOL, XRP):
            bars = run_of_minutes("2025-03-01 00:00", 7 * DAY)
            opened.write("kraken", symbol, Timeframe.M1, part(bars, np.arange(7 * DAY) % 5_000 > 9))
    code, out, err = command(home, "list-data", "--gaps", *PLAN)
    assert (code, err) == (0, "Every stretch by itself: with --pairs, or --json.\n")
    names = "BTC/USDT, SOL/USDT, XRP/USDT" if width > 80 else "3 symbols"
    assert out.splitlines() == [
        f"kraken, lacking: {REASON}",
        "  1m   2025-02-26 00:00 to 2025-03-01 00:00       4,320 bars  BTC/USDT",
        "kraken, unknown: `heal-gaps` asks for it",
        f"  1m   2025-02-26 00:00 to 2025-03-07 22:50       8,820 bars  {names}",
        "inactive: ETH/USDT kraken: not traded any more",
    ]


def test_nobody_is_sent_to_ask_for_bars_that_came_from_files(tmp_path: Path, command: Command):
    with store(tmp_path) as opened:
        opened.write("file", BTC, Timeframe.M1, drawn("12:00 100\n12:02 1 0.5 0.5 1 1\n12:05 100"))
    assert command(tmp_path, "list-data", "--gaps")[1].splitlines() == [
        "file, held: a bar broke a rule (`quarantine list` shows it)",
        "  1m   2025-03-01 12:02 to 2025-03-01 12:03           1 bar   BTC/USDT",
        "file, unknown",
        "  1m   2025-03-01 12:01 to 2025-03-01 12:05           3 bars  BTC/USDT",
    ]


def test_every_stretch_of_a_pair_is_listed_and_the_shorter_ones_are_counted(
    home: Path, command: Command, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("COLUMNS", "80")
    with store(home, now=NOW) as opened:
        bars = run_of_minutes("2025-03-01 00:00", 7 * DAY)
        opened.write("kraken", SOL, Timeframe.M1, part(bars, np.arange(7 * DAY) % 840 > 9))
    code, out, err = command(home, "list-data", "--gaps", *PLAN, "-p", "btc/usdt,SOL/USDT")
    lines = out.splitlines()
    assert (code, err) == (0, "")
    assert lines[:5] == [
        f"kraken, lacking: {REASON}",
        "  BTC/USDT  1m   2025-02-26 00:00 to 2025-03-01 00:00      3.0 d",
        "kraken, unknown: `heal-gaps` asks for it",
        "  BTC/USDT  1m   2025-03-03 02:00 to 2025-03-03 04:00      2.0 h",
        "  SOL/USDT  1m   2025-02-26 00:00 to 2025-03-01 00:10      3.0 d",
    ]
    assert lines[-1] == "  SOL/USDT  1m   and 2 shorter ones: --json has all"
    assert max(map(len, lines)) <= 80


def test_minutes_whose_bars_are_held_are_neither_unknown_nor_lacking(
    home: Path, command: Command, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("COLUMNS", raising=False)
    lack(home, "2025-03-03 02:00", "2025-03-03 02:02", "its bars break a rule")
    with store(home, now=NOW) as opened:
        opened.write("kraken", BTC, Timeframe.M1, drawn("2025-03-03 02:01 1 0.5 0.5 1 1"))
    _, out, _ = command(home, "list-data", "--gaps", *PLAN)
    lines = out.splitlines()
    assert lines[:3] == [
        "kraken, held: a bar broke a rule (`quarantine list` shows it), and `heal-gaps`",
        "    asks for it again",
        "  1m   2025-03-03 02:01 to 2025-03-03 02:02           1 bar   BTC/USDT",
    ]
    kraken, *_ = documents(command, home)
    assert [(hole["start"][11:16], hole["state"]) for hole in kraken["holes"][1:]] == [
        ("02:00", "lacking"),
        ("02:01", "held"),
        ("02:02", "unknown"),
    ]
    with store(home, now=NOW) as opened:  # the provider has mended it
        opened.write("kraken", BTC, Timeframe.M1, drawn("2025-03-03 02:01 1 1.5 0.5 1 1"))
    kraken, *_ = documents(command, home)
    assert [hole["state"] for hole in kraken["holes"][1:]] == ["lacking", "unknown"]
    assert kraken["quarantined"] == 0


def test_hours_are_told_at_80_columns_also_beside_the_score(
    home: Path, command: Command, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("COLUMNS", raising=False)
    _, out, _ = command(home, "list-data", *PLAN)
    lines = [line.split() for line in out.splitlines()]
    assert lines[0] == ["symbol", "provider", "tf", "start", "end", "gaps", "complete", "quality"]
    assert lines[2][3:7] == ["2025-03-06", "00:00", "2025-03-07", "23:57"]
    assert max(map(len, out.splitlines())) <= 80


def test_without_bars_that_is_said_and_no_failure(tmp_path: Path, command: Command):
    for arguments in ((), ("--gaps",), ("--quality",), ("-p", "BTC/USD")):
        code, out, err = command(tmp_path / "none", "list-data", *arguments)
        assert (code, out) == (0, "")
        assert err.startswith(f"There are no bars under {tmp_path / 'none'}: `crypto-tracker up` or ")
    assert not (tmp_path / "none").exists()


def test_the_document_has_everything(home: Path, command: Command):
    kraken, massive, eth = documents(command, home)
    assert kraken["backfill"]["start"] == "2025-02-26T00:00:00Z"
    assert kraken["backfill"]["known"] == pytest.approx((7 * DAY - 120) / (10 * DAY))
    assert kraken["backfill"]["lacking"] == pytest.approx(0.3)
    assert kraken["holes"] == [
        {
            "start": "2025-02-26T00:00:00Z",
            "end": "2025-03-01T00:00:00Z",
            "state": "lacking",
            "reason": REASON,
        },
        {
            "start": "2025-03-03T02:00:00Z",
            "end": "2025-03-03T04:00:00Z",
            "state": "unknown",
            "reason": None,
        },
    ]
    assert (kraken["newest_age_seconds"], massive["newest_age_seconds"]) == (0.0, 180.0)
    assert massive["backfill"] is None  # nobody is asked to fetch it
    assert massive["quality"]["freshness"] == 0.875
    assert eth == {
        "symbol": "ETH/USDT",
        "provider": "kraken",
        "timeframe": None,
        "rows": 0,
        "inactive": "not traded any more",
    }


def test_only_the_pairs_that_are_named_are_shown(home: Path, command: Command):
    assert {each["symbol"] for each in documents(command, home, "-p", "BTC/USDT")} == {"BTC/USDT"}
    assert [each["symbol"] for each in documents(command, home, "-p", "ETH/USDT")] == ["ETH/USDT"]
    code, out, err = command(home, "list-data", "-p", "SOL/USDT")
    assert (code, out) == (1, "")
    assert "no bars of SOL/USDT" in err


def test_imported_years_that_nobody_keeps_up_to_date_have_no_column_of_zeros(
    market_home: Path, command: Command, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("COLUMNS", "140")
    assert "quality" not in command(market_home, "list-data")[1]
    assert "0.00" in command(market_home, "list-data", "--quality")[1]


def test_holes_and_known_time_add_up_to_the_span(home: Path):
    name = ("kraken", BTC, Timeframe.M1)
    span = at("2025-02-20 00:00"), at("2025-03-08 00:00")
    found = what_is_known(home, {name: span})[name]
    unknown_ms = sum(hole.end_ms - hole.start_ms for hole in found.holes)
    assert found.known_ms + unknown_ms == span[1] - span[0]
    assert found.lacking_ms == at("2025-03-01 00:00") - at("2025-02-20 00:00")
    nothing = what_is_known(home, {("kraken", ETH, Timeframe.M1): span})
    [whole] = nothing.values()
    assert (whole.known_ms, whole.share, len(whole.holes)) == (0, 0.0, 1)
    empty = what_is_known(home, {name: (span[0], span[0])})[name]
    assert empty == Known(start_ms=span[0], end_ms=span[0], known_ms=0, lacking_ms=0, holes=())

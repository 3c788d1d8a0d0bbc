"""`download-data` and `heal-gaps` against a local provider: what comes, what is missing and why, how they end."""

import asyncio
import gzip
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crypto_tracker.app.cli.common import Session
from crypto_tracker.app.fetching import download
from crypto_tracker.app.providers import open_provider
from crypto_tracker.core.clock import ManualClock
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import DAY_MS, MINUTE_MS, Timeframe, from_ms, to_ms
from crypto_tracker.market.fetching.watching import Unwatched
from crypto_tracker.market.recording.format import read_records
from crypto_tracker.market.recording.replay import Replay
from crypto_tracker.store.bars import BarStore
from crypto_tracker.store.batch import BarBatch
from crypto_tracker.store.reader import BarReader
from tests.app.conftest import default_market_data, run_command
from tests.servers import massive_rest as rest
from tests.servers.massive_rest import KEY, MassiveServer, massive_rest, set_field, status
from tests.servers.s3 import s3

ROOT = Path(__file__).resolve().parents[2]
BTC, ETH, OLD = (Symbol(base, "USD") for base in ("BTC", "ETH", "OLD"))
START_MS = to_ms(datetime(2025, 4, 28, tzinfo=UTC))
DAYS = 6
FRAMES = ["1m", "15m", "1h", "1d"]
NOW = datetime(2025, 5, 20, 13, 37, tzinfo=UTC)
MAY = "20250430-20250502"
MAY_MS = to_ms(datetime(2025, 4, 30, tzinfo=UTC)), to_ms(datetime(2025, 5, 2, tzinfo=UTC))


def minutes(seed: int) -> BarBatch:
    """A minute after the other for some days, each with a bar."""
    times = START_MS + MINUTE_MS * np.arange(DAYS * 1_440, dtype=np.int64)
    close = 100.0 + seed + 0.01 * (np.arange(len(times)) % 500)
    return BarBatch(
        open_time_ms=times,
        open=close,
        high=close + 1,
        low=close - 1,
        close=close,
        volume=np.full(len(times), 3.0),
    )


MARKET = {BTC: minutes(1), ETH: minutes(2), OLD: minutes(3)}


@pytest.fixture(autouse=True)
def present(monkeypatch: pytest.MonkeyPatch) -> None:
    """The moment at which the commands run, and the key that they find."""
    monkeypatch.setattr(Session, "now", lambda _session: NOW)
    for name in ("POLYGON_API_KEY", "MASSIVE_S3_ACCESS_KEY", "MASSIVE_S3_SECRET_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MASSIVE_API_KEY", KEY)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


Served = Callable[..., MassiveServer]


@pytest.fixture
def served() -> Iterator[Served]:
    """Starts a server; it ends with the test."""
    with ExitStack() as stack:
        yield lambda **settings: stack.enter_context(massive_rest(MARKET, inactive=[OLD], **settings))


def options(server: MassiveServer) -> list[str]:
    """The provider at its local place, which nobody waits long for."""
    section = "market_data.fetching"
    return [
        "--set", f"market_data.massive.rest_url={server.url}",
        "--set", "market_data.massive.requests_per_second=1000",
        "--set", f"{section}.wait_seconds=0.01", "--set", f"{section}.wait_max_seconds=0.02",
        "--set", f"{section}.attempts=2",
        "--provider", "massive",
    ]  # fmt: skip


def ran(home: Path, server: MassiveServer, *arguments: str, code: int = 0) -> tuple[str, str]:
    """The output of a command that ends as expected."""
    ended, out, err = run_command(home, *arguments, *options(server))
    assert ended == code, err
    return out, err


def document(home: Path, server: MassiveServer, *arguments: str, code: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(ran(home, server, *arguments, "--json", code=code)[0])
    return found


def stored(home: Path, symbol: Symbol, span: Sequence[int] = MAY_MS) -> int:
    """How many minutes of the span are in the store."""
    with BarReader.open(home) as reader:
        return len(reader.rows(symbol, Timeframe.M1, *span, provider="massive"))


def test_bars_come_with_a_summary_and_the_second_time_nothing_is_fetched(home: Path, served: Served):
    server = served()
    asked = ("download-data", "--pairs", "BTC/USD,ETH/USD", "-i", "1m,1h", "-i", "1d", "--timerange", MAY)
    out, err = ran(home, server, *asked)
    lines = [line.split() for line in out.splitlines()]
    assert lines == [
        ["symbol", "tf", "chunks", "requests", "bars", "new"],
        ["BTC/USD", "1m", "2", "2", "2,880", "2,880"],
        ["ETH/USD", "1m", "2", "2", "2,880", "2,880"],
        ["BTC/USD", "1h", "1", "1", "48", "48"],
        ["ETH/USD", "1h", "1", "1", "48", "48"],
        ["BTC/USD", "1d", "1", "1", "2", "2"],
        ["ETH/USD", "1d", "1", "1", "2", "2"],
    ]
    assert "From massive: 8 chunks with up to 5,860 bars of 2 symbols." in err
    assert "5,860 bars from massive, 5,860 of them new, by 8 requests in" in err
    assert (stored(home, BTC), stored(home, ETH)) == (2_880, 2_880)

    ranges = len([each for each in server.requests if "/range/" in each.path])
    out, err = ran(home, server, *asked)
    assert out == ""
    assert err == "Nothing of massive was missing.\n"
    assert len([each for each in server.requests if "/range/" in each.path]) == ranges


def test_unknown_and_delisted_symbols_are_inactive_and_cost_no_requests(home: Path, served: Served):
    server = served()
    unknown = [f"NONE{number}/USD" for number in range(20)]
    pairs = ",".join(["OLD/USD", "BTC/USD", *unknown])
    told = document(home, server, "download-data", "--pairs", pairs, "-i", "1h", "--timerange", MAY, code=1)
    assert told["inactive"] == {
        "OLD/USD": "massive no longer trades it",
        **dict.fromkeys(unknown, "massive does not have it"),
    }
    assert {each["symbol"]: each["bars"] for each in told["series"]} == {"OLD/USD": 48, "BTC/USD": 48}
    assert len([each for each in server.requests if "/range/" in each.path]) == 2
    _, err = ran(home, server, "download-data", "--pairs", pairs, "-i", "1h", "--timerange", MAY, code=1)
    assert "massive does not have NONE0/USD, NONE1/USD" in err
    assert "1 symbol inactive, massive no longer trades it: OLD/USD" in err
    assert "is inactive now" not in err  # that was news the first time only


def test_what_fails_is_named_the_rest_comes_and_the_command_ends_with_1(home: Path, served: Served):
    path = f"X:ETHUSD/range/1/minute/{MAY_MS[0]}"
    server = served(faults=[status(502, path=path)] * 2)
    out, err = ran(
        home, server, "download-data", "--pairs", "BTC/USD,ETH/USD", "-i", "1m", "--timerange", MAY, code=1
    )
    assert "Failed: massive answered with status 502; all 2 attempts failed, try again later" in out
    assert "1m   2025-04-30 00:00 to 2025-05-01 00:00        1,440 bars  ETH/USD" in out
    assert "1 span could not be fetched: run the same command again to go on" in err
    assert (stored(home, BTC), stored(home, ETH)) == (2_880, 1_440)
    ran(home, server, "download-data", "--pairs", "BTC/USD,ETH/USD", "-i", "1m", "--timerange", MAY)
    assert stored(home, ETH) == 2_880


def test_a_wrong_key_ends_the_command_with_one_sentence(
    home: Path, served: Served, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("MASSIVE_API_KEY", "wrong-key")
    out, err = ran(home, served(), "download-data", "--pairs", "BTC/USD", "--days", "3", code=1)
    assert out == ""
    assert "massive does not accept the key in MASSIVE_API_KEY (or POLYGON_API_KEY)" in err
    assert "wrong-key" not in err


def test_a_key_that_is_not_there_is_wrong_use(home: Path, served: Served, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("MASSIVE_API_KEY")
    _, err = ran(home, served(), "download-data", "--pairs", "BTC/USD", "--days", "3", code=2)
    assert "massive needs a key" in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--days", "3", "--timerange", MAY), "both say from when"),
        (("--timeframe", ","), "--timeframe names none"),
        (("--timeframe", "4h"), "market_data.timeframes says nothing of 4h"),
        (("--timeframe", "2h"), "is not one of"),
        (("--bulk", "--days", "2"), "day files of massive need keys"),
        (
            ("--timerange", "20990101-20990201"),
            "which is in the future: there are bars until 2025-05-20 13:37",
        ),
        (("--timerange", "-20081231"), "there are no bars before 2009-01-03 00:00 UTC"),
    ],
)
def test_wrong_use_is_told_in_one_sentence(
    home: Path, served: Served, arguments: tuple[str, ...], words: str
):
    _, err = ran(home, served(), "download-data", "--pairs", "BTC/USD", *arguments, code=2)
    assert words in err


def test_a_span_is_cut_to_what_can_exist_and_that_is_said(home: Path, served: Served):
    asked = ("download-data", "--pairs", "BTC/USD", "-i", "1d")
    out, err = ran(home, served(), *asked, "--days", "99999999")
    assert "There are no bars before 2009-01-03 00:00 UTC: the span begins there." in err
    assert "1d   2009-01-03 00:00 to 2025-04-28 00:00" in out
    _, err = ran(home, served(), *asked, "--timerange", "20250430-20990101")
    assert "The span ends in the future: it is fetched until 2025-05-20 13:37 UTC." in err


def test_near_names_are_told_every_time_and_the_others_are_fetched(home: Path, served: Served):
    asked = ("download-data", "--pairs", "BTC/USDT,BTC/USD", "-i", "1h", "--timerange", MAY)
    for new in ("48", "0"):
        out, err = ran(home, served(), *asked, code=1)
        assert "massive does not have BTC/USDT (did you mean BTC/USD?)" in err
        assert ("48" in out.split()) is (new == "48")


def test_a_timeframe_that_the_provider_does_not_offer_is_said(home: Path, served: Served):
    told = document(home, served(), "download-data", "--pairs", "BTC/USD", "-i", "4h", "--timerange", MAY)
    assert [(each["cause"], each["reason"]) for each in told["missing"]] == [
        ("later", "the provider has no bars of 4h")
    ]


def test_a_free_plan_says_what_it_does_not_reach_and_that_is_no_failure(home: Path, served: Served):
    told = document(
        home, served(), "download-data", "--pairs", "BTC/USD", "-i", "1d", "--days", "1000",
        "--set", "market_data.massive.plan=free", "--set", "market_data.massive.free_requests_per_minute=60000",
    )  # fmt: skip
    reasons = {each["cause"]: each["reason"] for each in told["missing"]}
    assert "the free plan of massive reaches 730 days back" in reasons["lacking"]
    assert told["bars"] == DAYS


def test_a_session_can_be_recorded_without_its_key(home: Path, served: Served, tmp_path: Path):
    path = tmp_path / "session.jsonl.zst"
    server = served()
    ran(
        home,
        server,
        "download-data",
        "--pairs",
        "BTC/USD",
        "-i",
        "1h",
        "--timerange",
        MAY,
        "--record",
        str(path),
    )
    records = list(read_records(path))
    assert sum("/range/" in str(record.fields.get("url")) for record in records) > 0
    assert KEY not in "".join(map(repr, records))


def broken_line(home: Path, server: MassiveServer) -> None:
    """BTC's minutes of the two days, without three hours of the second."""
    for span in ("20250430-20250501T0900", "20250501T1200-20250502"):
        ran(home, server, "download-data", "--pairs", "BTC/USD", "-i", "1m", "--timerange", span)


def test_gaps_are_healed_and_counted(home: Path, served: Served):
    server = served()
    broken_line(home, server)
    told = document(home, server, "heal-gaps", "-i", "1m", "--timerange", MAY)
    assert told["healed"] == [
        {"symbol": "BTC/USD", "timeframe": "1m", "gaps": 1, "unknown": 180, "healed": 180, "left": 0}
    ]
    assert stored(home, BTC) == 2_880
    out, err = ran(home, server, "heal-gaps", "-i", "1m", "--timerange", MAY)
    assert (out, err) == ("", "Nothing of massive is unknown.\n")


def test_what_the_provider_lacks_is_noted_and_asked_for_again_only_on_demand(home: Path, served: Served):
    server = served()
    broken_line(home, server)
    path = "X:BTCUSD/range/1/minute/"
    server.faults.append(status(403, path=path))
    out, err = ran(home, server, "heal-gaps", "-i", "1m", "--timerange", MAY)
    assert [line.split() for line in out.splitlines()][:2] == [
        ["symbol", "tf", "gaps", "unknown", "bars", "healed", "left"],
        ["BTC/USD", "1m", "1", "180", "0", "180"],
    ]
    assert "Not to be had: massive does not give this to the plan of the key" in out
    assert "0 bars healed from massive, 180 still unknown." in err

    before = len(server.requests)
    ran(home, server, "heal-gaps", "-i", "1m", "--timerange", MAY)
    assert not [each for each in server.requests[before:] if path in each.path]
    _, err = ran(home, server, "heal-gaps", "-i", "1m", "--timerange", MAY, "--again")
    assert "180 bars healed from massive, 0 still unknown." in err
    assert stored(home, BTC) == 2_880
    with BarReader.open(home) as reader:
        assert reader.lacking("massive", BTC, Timeframe.M1) == []


def test_healing_begins_with_the_first_known_bar(home: Path, served: Served):
    server = served()
    ran(
        home,
        server,
        "download-data",
        "--pairs",
        "BTC/USD",
        "-i",
        "1m",
        "--timerange",
        "20250501-20250501T0600",
    )
    told = document(
        home, server, "heal-gaps", "--pairs", "BTC/USD", "-i", "1m", "--timerange", "-20250501T0900"
    )
    assert [(each["gaps"], each["unknown"], each["left"]) for each in told["healed"]] == [(1, 180, 0)]
    assert stored(home, BTC) == 540


def test_a_bar_that_breaks_a_rule_is_said_to_be_in_quarantine(home: Path, served: Served):
    server = served(faults=[set_field(7, "h", 0.0, "X:BTCUSD/range/1/minute/")])
    out, _ = ran(
        home, server, "download-data", "--pairs", "BTC/USD", "-i", "1m", "--timerange", "20250501-20250502"
    )
    assert "quarantined" in out
    assert "Not to be had: its bars break a rule: `quarantine` shows them" in out
    assert "2025-05-01 00:07 to 2025-05-01 00:08            1 bar" in out


def test_a_bar_that_is_open_is_no_gap_and_what_is_not_published_is_not_left(home: Path, served: Served):
    server = served()
    asked = ("--pairs", "BTC/USD", "-i", "1m,1h,1d")
    ran(home, server, "download-data", *asked, "--days", "30")
    out, err = ran(home, server, "heal-gaps", *asked)
    assert err.endswith("Nothing of massive is unknown.\n")
    assert out.splitlines() == [
        "Not to be had now: the provider has not published it yet",
        "  1m   2025-05-20 13:36 to 2025-05-20 13:37            1 bar   BTC/USD",
    ]
    assert document(home, server, "heal-gaps", *asked)["healed"] == []
    free = (
        "--set",
        "market_data.massive.plan=free",
        "--set",
        "market_data.massive.free_requests_per_minute=60000",
    )
    out, err = ran(home, server, "heal-gaps", *asked, *free)
    assert "the free plan of massive gives a day after its end" in out
    assert err.endswith("Nothing of massive is unknown.\n")


def test_a_bar_in_quarantine_is_asked_for_again_and_a_sound_one_heals_it(home: Path, served: Served):
    server = served(faults=[set_field(7, "h", 0.0, "X:BTCUSD/range/1/minute/")])
    day = ("--pairs", "BTC/USD", "-i", "1m", "--timerange", "20250501-20250502")
    ran(home, server, "download-data", *day)
    before = len(server.requests)
    ran(home, server, "download-data", *day)
    assert not [each for each in server.requests[before:] if "/range/" in each.path]
    told = document(home, server, "heal-gaps", *day)
    assert [(each["unknown"], each["healed"], each["left"]) for each in told["healed"]] == [(1, 1, 0)]
    assert told["missing"] == []
    assert stored(home, BTC, (MAY_MS[1] - DAY_MS, MAY_MS[1])) == 1_440


def test_what_cannot_be_downloaded_is_not_advised(home: Path):
    code, _, err = run_command(home, "heal-gaps", "--provider", "file")
    assert code == 2
    assert "bring them with `import-data PATH`" in err


def test_healing_a_home_without_bars_says_how_to_get_some(home: Path, served: Served):
    _, err = ran(home, served(), "heal-gaps", code=1)
    assert "`download-data --provider massive` brings some" in err


def test_an_interrupted_download_says_how_to_go_on_and_ends_with_130(home: Path, served: Served):
    server = served(faults=[rest.passes("/range/"), rest.drip(0.05, "/range/")])
    arguments = [
        "--home", str(home), "download-data", "--pairs", "BTC/USD", "-i", "1m", "--timerange", "20250428-20250503",
        *options(server), "--set", "market_data.collector.parallel=1",
    ]  # fmt: skip
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])}
    process = subprocess.Popen(
        [sys.executable, "-m", "crypto_tracker", *arguments],
        env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    until = time.monotonic() + 240.0
    while len([each for each in server.requests if "/range/" in each.path]) < 1 and time.monotonic() < until:
        time.sleep(0.01)
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=240.0)
    assert process.returncode == 130, err
    assert out == ""
    assert "chunks are in the store. Run the same command again to go on." in err
    assert "Traceback" not in err


def test_spans_of_the_first_backfill_are_those_of_the_configuration(home: Path, served: Served):
    told = document(home, served(), "download-data", "--pairs", "BTC/USD")
    assert [each["timeframe"] for each in told["series"]] == FRAMES
    lacking = [each for each in told["missing"] if each["cause"] == "lacking"]
    firsts = {name: min(each["start"] for each in lacking if each["timeframe"] == name) for name in FRAMES}
    today = Timeframe.D1.floor(to_ms(NOW))
    for name, back in {"1m": 365, "15m": 730, "1h": 1_095, "1d": 3_650}.items():
        assert firsts[name] == from_ms(today - back * DAY_MS).isoformat().replace("+00:00", "Z")
    assert stored(home, BTC, (START_MS, START_MS + DAYS * DAY_MS)) == DAYS * 1_440
    later = [each for each in told["missing"] if each["cause"] == "later"]
    assert [(each["start"], each["end"], each["reason"]) for each in later] == [
        ("2025-05-20T13:36:00Z", "2025-05-20T13:37:00Z", "the provider has not published it yet")
    ]


def day_files(until_day: int) -> dict[str, bytes]:
    """The day files of the first days of the market."""
    return {
        f"global_crypto/minute_aggs_v1/{from_ms(day_ms):%Y/%m/%Y-%m-%d}.csv.gz": gzip.compress(
            rest.day_file(MARKET, day_ms).encode()
        )
        for day_ms in range(START_MS, START_MS + until_day * DAY_MS, DAY_MS)
    }


def test_minutes_come_from_day_files_as_far_as_they_go_and_the_rest_by_request(
    home: Path, served: Served, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("MASSIVE_S3_ACCESS_KEY", "access")
    monkeypatch.setenv("MASSIVE_S3_SECRET_KEY", "secret")
    server = served()
    with s3(day_files(5), access_key="access") as files:
        told = document(
            home, server, "download-data", "--pairs", "BTC/USD,ETH/USD", "--timeframe", "1m",
            "--timerange", "20250427-20250504", "--bulk", "--set", f"market_data.massive.files_url={files.url}",
        )  # fmt: skip
        fetched = len([path for method, path in files.requests if method == "GET"])
    assert fetched >= 5
    whole = START_MS, START_MS + DAYS * DAY_MS
    assert (stored(home, BTC, whole), stored(home, ETH, whole)) == (DAYS * 1_440, DAYS * 1_440)
    assert told["bars"] == 2 * DAYS * 1_440
    # By request: the day before the first bar, and the newest day, which has no file yet.
    spans = sorted(
        each.path.split("/")[-2:] for each in server.requests if "minute" in each.path and each.limit != 1
    )
    first, last = START_MS - DAY_MS, START_MS + 5 * DAY_MS
    assert [int(span[0]) for span in spans] == [first, first, last, last]
    assert {each["reason"] for each in told["missing"]} == {
        f"massive has no bar of {symbol} before 2025-04-28" for symbol in ("BTC/USD", "ETH/USD")
    }


def test_keys_that_open_no_day_file_end_the_command_with_their_sentence(
    home: Path, served: Served, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("MASSIVE_S3_ACCESS_KEY", "wrong")
    monkeypatch.setenv("MASSIVE_S3_SECRET_KEY", "secret")
    with s3(day_files(5), access_key="access") as files:
        _, err = ran(
            home, served(), "download-data", "--pairs", "BTC/USD", "--timeframe", "1m", "--timerange", MAY,
            "--bulk", "--set", f"market_data.massive.files_url={files.url}", code=1,
        )  # fmt: skip
    assert "massive does not give the day file of 2025-05-01 to the keys in MASSIVE_S3_ACCESS_KEY" in err


def test_an_exchange_has_no_day_files(home: Path):
    code, _, err = run_command(home, "download-data", "--provider", "kraken", "--bulk", "--days", "2")
    assert code == 2
    assert "--bulk reads the day files of massive, and kraken has none" in err


def test_a_recorded_session_stands_in_for_the_provider_without_a_key(
    home: Path, served: Served, tmp_path: Path
):
    path = tmp_path / "session.jsonl.zst"
    asked = ("download-data", "--pairs", "BTC/USD", "-i", "1m", "--timerange", MAY)
    server = served()
    ran(home, server, *asked, "--record", str(path))

    replayed = tmp_path / "replayed"
    market_data = default_market_data()
    there = market_data.massive.model_copy(update={"rest_url": server.url})
    market_data = market_data.model_copy(update={"massive": there})
    replay = Replay(path)
    provider = open_provider("massive", market_data, {}, now_ms=lambda: to_ms(NOW), replay=replay)
    before = len(server.requests)

    async def play() -> None:
        with BarStore.open(replayed, market_data=market_data, clock=ManualClock(NOW)) as store:
            try:
                await download(
                    provider, store, [BTC], {Timeframe.M1: MAY_MS},
                    now_ms=lambda: to_ms(NOW), parallel=1, watcher=Unwatched(),
                )  # fmt: skip
            finally:
                await provider.close()

    asyncio.run(play())
    assert len(server.requests) == before
    with BarReader.open(home) as first, BarReader.open(replayed) as second:
        rows = [each.rows(BTC, Timeframe.M1, *MAY_MS) for each in (first, second)]
    np.testing.assert_array_equal(rows[0].values, rows[1].values)
    assert len(rows[1]) == 2_880

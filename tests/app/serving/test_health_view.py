"""Every part says how it is and what helps: traders, collectors, bars, files, disk."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import pytest

from crypto_tracker.app.serving import health_view as health_views
from crypto_tracker.app.serving.bars_part import bar_parts
from crypto_tracker.app.serving.collectors_view import collectors_view
from crypto_tracker.app.serving.files_part import file_parts, files_of
from crypto_tracker.app.serving.health_view import KeptHealth, health_view
from crypto_tracker.config.tree import Configuration
from crypto_tracker.core.errors import ConfigError
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import DAY_MS, HOUR_MS, MINUTE_MS, Timeframe, to_ms
from crypto_tracker.desk.views.system import FileItem, Health, Part
from crypto_tracker.store.collectors import CollectorRecords, Standing, lease_name
from crypto_tracker.store.control import Check, ControlStore
from crypto_tracker.store.database import open_engine, writer_lock
from crypto_tracker.store.leases import Lease
from crypto_tracker.strategies.base import Strategy
from crypto_tracker.strategies.registry import builtin
from tests.store.shelf import BTC, run_of_minutes, store
from tests.trading.worlds import (
    END_MS,
    NOW,
    PROVIDER,
    START_MS,
    Wished,
    account_folder,
    configuration,
    new_home,
    trade,
)

NOW_MS = to_ms(NOW)
HOUR_LATER_MS = START_MS + HOUR_MS
LEASE_SECONDS = 30.0


def load() -> tuple[Configuration, Mapping[str, Strategy]]:
    """The configuration that the accounts of these tests trade under."""
    return configuration(), builtin()


def health(
    home: Path, now_ms: int, read: Callable[[], tuple[Configuration, Mapping[str, Strategy]]] = load
) -> Health:
    """How a home is at a moment."""
    return health_view(
        home, read, files_of(home), now_ms=now_ms, started_at_ms=now_ms - 90_000, code_version="1.2.3"
    )


def part(found: Health, name: str) -> Part:
    """The part of this name."""
    (only,) = [each for each in found.parts if each.name == name]
    return only


def change(home: Path, statement: str) -> None:
    """Change the records of the account as something outside would have."""
    engine = open_engine(account_folder(home) / "trading.db")
    with engine.begin() as connection:
        connection.exec_driver_sql(statement)
    engine.dispose()


def as_paper(home: Path) -> None:
    """Make a replay an account that trades on real time."""
    change(home, "UPDATE account SET kind = 'paper', end_ms = NULL")


@pytest.fixture(scope="module")
def traded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An account that traded for an hour of its replay; nobody told it anything."""
    home = new_home(tmp_path_factory.mktemp("traded") / "home")
    trade(home, enough=lambda step: step.time_ms + MINUTE_MS >= HOUR_LATER_MS)
    return home


@pytest.fixture
def home(traded: Path, tmp_path: Path) -> Path:
    """A copy of it of one's own."""
    subprocess.run(["cp", "-r", str(traded), str(tmp_path / "home")], check=True)
    return tmp_path / "home"


@pytest.fixture
def running(home: Path) -> Iterator[None]:
    """The account is held, as by a process that trades it."""
    with ExitStack() as stack:
        stack.enter_context(writer_lock(account_folder(home) / "trader.lock", what="the account", wait_ms=0))
        yield


# --- traders -----------------------------------------------------------------------------------


@pytest.mark.usefixtures("running")
def test_a_replay_that_runs_is_well_and_says_how_far_it_is(home: Path) -> None:
    found = part(health(home, NOW_MS), "trader trader")
    share = round(100 * HOUR_MS / (END_MS - START_MS))
    assert found.state == "ok"
    assert found.sentence == f"It trades 6 symbols with DCA, SWING and CHANNEL: a replay, {share} % done."
    assert found.advice is None


@pytest.mark.usefixtures("running")
def test_paper_trading_is_well_while_it_is_near_the_clock_then_late_then_without_bars(home: Path) -> None:
    as_paper(home)
    states = {
        minutes: part(health(home, HOUR_LATER_MS + minutes * MINUTE_MS), "trader trader")
        for minutes in (1, 3, 9, 10)
    }
    assert {minutes: each.state for minutes, each in states.items()} == {
        1: "ok",
        3: "degraded",
        9: "degraded",
        10: "failing",
    }
    assert states[3].sentence.endswith("3 minutes behind the clock.")
    assert "no minute was stepped since 2025-03-01 22:40 UTC" in states[10].sentence
    assert states[10].advice is not None
    assert "crypto-tracker collect" in states[10].advice


def test_a_killed_trader_fails_with_its_process_and_how_to_start_it(home: Path) -> None:
    as_paper(home)
    change(home, "UPDATE sessions SET ended_at_ms = NULL, pid = 4711, host = 'tower'")
    change(home, f"UPDATE minutes SET recorded_at_ms = {HOUR_LATER_MS}")
    found = part(health(home, HOUR_LATER_MS + 5 * MINUTE_MS), "trader trader")
    assert found.state == "failing"
    assert found.sentence.startswith(
        "Its process 4711 on tower ended without a word; its last minute was written"
    )
    assert "written 5 minutes ago." in found.sentence
    assert found.advice == (
        "Start it again as before; it goes on where it stood: `crypto-tracker trade --account trader`"
    )
    assert found.since_ms == HOUR_LATER_MS


def test_a_trader_that_was_stopped_is_off_unless_positions_are_left_alone(home: Path) -> None:
    as_paper(home)
    held = open_engine(account_folder(home) / "trading.db", read_only=True)
    with held.connect() as connection:
        positions = connection.exec_driver_sql("SELECT count(*) FROM positions").scalar_one()
    held.dispose()
    found = part(health(home, NOW_MS), "trader trader")
    assert positions > 0, "the hour leaves something open"
    assert found.state == "degraded"
    assert f"{positions} open position" in found.sentence
    change(home, "DELETE FROM positions")
    found = part(health(home, NOW_MS), "trader trader")
    assert (found.state, found.sentence) == ("off", "It was stopped.")


def test_a_finished_replay_is_off(tmp_path: Path) -> None:
    home = new_home(tmp_path / "home")
    trade(home, end_ms=START_MS + 10 * MINUTE_MS)
    found = part(health(home, NOW_MS), "trader trader")
    assert (found.state, found.sentence) == ("off", "Its replay is finished.")


@pytest.mark.usefixtures("running")
def test_a_halted_trader_fails_with_its_cause(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from crypto_tracker.trading.state import TraderState

    whole = TraderState.from_bytes

    def halted(data: bytes) -> TraderState:
        state = whole(data)
        state.halted = "cash and ledger differ by 0.01"
        return state

    monkeypatch.setattr(TraderState, "from_bytes", halted)
    found = part(health(home, NOW_MS), "trader trader")
    assert found.state == "failing"
    assert found.sentence.startswith("A critical error halted it: cash and ledger differ by 0.01.")
    assert found.advice is not None
    assert "crypto-tracker resume --account trader" in found.advice


def test_a_paused_trader_says_so_and_how_to_go_on(tmp_path: Path) -> None:
    home = new_home(tmp_path / "home", wishes=[Wished(5, "pause", {})])
    trade(home, enough=lambda step: step.time_ms >= START_MS + 8 * MINUTE_MS)
    with writer_lock(account_folder(home) / "trader.lock", what="the account", wait_ms=0):
        found = part(health(home, NOW_MS), "trader trader")
    assert found.state == "degraded"
    assert "paused by a person since 2025-03-01 21:45 UTC" in found.sentence
    assert found.since_ms == START_MS + 5 * MINUTE_MS
    assert found.advice == "To let entries go on: `crypto-tracker resume --account trader`"


def test_a_damaged_account_is_a_part_that_fails_and_hides_no_other(home: Path) -> None:
    path = account_folder(home) / "trading.db"
    path.write_bytes(b"this is no database at all" * 400)
    found = health(home, NOW_MS)
    assert found.state == "failing"
    assert part(found, "trader trader").state == "failing"
    assert "is not a database" in part(found, "trader trader").sentence
    assert not any("/" in each.sentence for each in found.parts)
    assert part(found, "file accounts/trader/trading.db").state == "failing"
    assert part(found, "stores").state == "ok"
    assert part(found, "web server").state == "ok"


def test_a_parity_check_with_differences_fails_and_one_without_is_well(home: Path) -> None:
    for differences, state in ((0, "ok"), (3, "failing")):
        with ControlStore.open(account_folder(home)) as control:
            control.add_check(
                Check(
                    kind="parity",
                    start_ms=START_MS,
                    end_ms=START_MS + DAY_MS,
                    differences=differences,
                    document="{}",
                    created_at_ms=NOW_MS + differences,
                )
            )
        found = part(health(home, NOW_MS), "parity trader")
        assert found.state == state
        assert found.since_ms == NOW_MS + differences
    assert found.sentence.startswith("The newest check over 1 day found 3 differences")


def test_the_worst_comes_first_and_is_the_state_of_the_whole(home: Path) -> None:
    as_paper(home)
    change(home, "UPDATE sessions SET ended_at_ms = NULL")
    found = health(home, NOW_MS)
    order = ["failing", "degraded", "ok", "off"]
    states = [each.state for each in found.parts]
    assert states == sorted(states, key=order.index)
    assert found.state == "failing"
    assert found.code_version == "1.2.3"


def test_processes_are_this_server_and_whoever_traded_last(home: Path) -> None:
    found = health(home, NOW_MS)
    assert [(each.name, each.running) for each in found.processes] == [
        ("web server", True),
        ("trader trader", False),
    ]
    assert found.processes[0].pid == os.getpid()


def test_a_configuration_that_is_wrong_is_a_part_that_fails(home: Path) -> None:
    def wrong() -> tuple[Configuration, Mapping[str, Strategy]]:
        raise ConfigError(f"limits.max_open is -1 ({home}/crypto-tracker.toml)")

    (account_folder(home) / "trading.db").write_bytes(b"this is no database at all" * 400)
    found = health(home, NOW_MS, wrong)
    assert part(found, "configuration").sentence == "limits.max_open is -1 (crypto-tracker.toml)."
    assert found.state == part(found, "trader trader").state == "failing"


# --- collectors and bars -----------------------------------------------------------------------


@pytest.fixture
def collected(tmp_path: Path) -> Path:
    """A home with ten minutes of BTC from noon on."""
    home = tmp_path / "collected"
    with store(home) as opened:
        opened.write(
            "kraken", BTC, Timeframe.M1, run_of_minutes("12:00", 10), [(NOON_MS, NOON_MS + 10 * MINUTE_MS)]
        )
    return home


NOON_MS = to_ms(datetime(2025, 3, 1, 12, tzinfo=UTC))


def test_a_live_collector_is_well_and_its_lease_names_its_holder(collected: Path) -> None:
    now_ms = NOON_MS + 11 * MINUTE_MS
    with (
        CollectorRecords.open(collected) as records,
        Lease.open(collected, lease_name("kraken"), seconds=30.0, now_ms=lambda: now_ms) as lease,
    ):
        assert lease.acquire() is None
        records.tell(
            "kraken", Standing.LIVE, "", {"symbols": 3, "symbols_live": 2, "bars": 40}, now_ms=now_ms
        )
        (collector,) = collectors_view(collected, LEASE_SECONDS, now_ms).items
        found = health(collected, now_ms)
    assert (collector.state, collector.gone, collector.symbols, collector.bars) == ("live", False, 3, 40)
    assert collector.holder is not None
    assert collector.holder.startswith(f"process {os.getpid()} on ")
    assert collector.lease_until_ms == now_ms + 30_000
    assert collector.newest_minute_ms == NOON_MS + 10 * MINUTE_MS
    assert part(found, "collector kraken").state == "ok"
    assert part(found, "collector kraken").sentence == "The stream brings bars of 2 of 3 symbols."
    assert part(found, "bars 1m kraken").state == "ok"


def test_a_collector_that_was_killed_is_gone_at_once(collected: Path) -> None:
    held = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from crypto_tracker.store.leases import Lease\n"
        "with Lease.open(Path(sys.argv[1]), 'collector:kraken', seconds=900,\n"
        "                now_ms=lambda: int(sys.argv[2])) as lease:\n"
        "    assert lease.acquire() is None\n"
        "    print('held', flush=True)\n"
        "    sys.stdin.readline()\n"
    )
    now_ms = NOON_MS + 11 * MINUTE_MS
    with subprocess.Popen(
        [sys.executable, "-c", held, str(collected), str(now_ms)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        with CollectorRecords.open(collected) as records:
            records.tell("kraken", Standing.LIVE, "", {}, now_ms=now_ms)
        assert not collectors_view(collected, LEASE_SECONDS, now_ms).items[0].gone
        process.kill()
        process.wait(10)
    (collector,) = collectors_view(collected, LEASE_SECONDS, now_ms).items
    assert collector.gone
    assert collector.words == "ended without a word; before, it was live"
    found = part(health(collected, now_ms), "collector kraken")
    assert (found.state, found.advice) == ("failing", "Start it: `crypto-tracker collect`")


@pytest.mark.parametrize(
    ("standing", "state"),
    [
        (Standing.CATCHING_UP, "degraded"),
        (Standing.TROUBLE, "failing"),
        (Standing.SCHEDULED, "ok"),
        (Standing.STOPPED, "off"),
    ],
)
def test_what_a_collector_says_of_itself_is_its_state(
    collected: Path, standing: Standing, state: str
) -> None:
    with CollectorRecords.open(collected) as records:
        records.tell("kraken", standing, "the provider asks to wait", {}, now_ms=NOON_MS)
    found = part(health(collected, NOON_MS), "collector kraken")
    assert found.state == state
    assert found.sentence.endswith(": the provider asks to wait.")


@pytest.mark.usefixtures("running")
def test_an_account_that_trades_on_bars_that_nobody_collects_is_told_of(home: Path) -> None:
    as_paper(home)
    found = health(home, HOUR_LATER_MS)
    assert part(found, f"collector {PROVIDER}").state == "failing"
    names = [each.name for each in found.parts if each.name.startswith("bars ")]
    assert sorted(names) == [f"bars {span} {PROVIDER}" for span in ("15m", "1m", "5m")]


def test_the_age_of_bars_counts_from_when_the_next_should_have_closed() -> None:
    hour = to_ms(datetime(2025, 3, 1, 13, tzinfo=UTC))
    newest = {("kraken", BTC): {Timeframe.M1: hour, Timeframe.H1: hour}}
    states = {}
    for minutes in (0, 3, 4, 10, 11, 62, 63, 69, 70):
        found = bar_parts(newest, ["kraken"], [Timeframe.M1, Timeframe.H1], hour + minutes * MINUTE_MS)
        states[minutes] = [each.state for each in found]
    assert states == {
        0: ["ok", "ok"],
        3: ["ok", "ok"],
        4: ["degraded", "ok"],
        10: ["degraded", "ok"],
        11: ["failing", "ok"],
        62: ["failing", "ok"],
        63: ["failing", "degraded"],
        69: ["failing", "degraded"],
        70: ["failing", "failing"],
    }


def test_bars_say_how_many_symbols_have_the_newest() -> None:
    newest = {
        ("kraken", BTC): {Timeframe.M1: NOON_MS},
        ("kraken", Symbol("ETH", "USDT")): {Timeframe.M1: NOON_MS - MINUTE_MS},
        ("other", BTC): {Timeframe.M1: NOON_MS + HOUR_MS},
    }
    (found,) = bar_parts(newest, ["kraken"], [Timeframe.M1], NOON_MS + 45_000)
    assert found.sentence == "The newest closed 45 seconds ago; 1 of 2 symbols have it."
    (missing,) = bar_parts(newest, ["kraken"], [Timeframe.H4], NOON_MS)
    assert (missing.state, missing.sentence) == ("failing", "There are none.")


def test_where_only_replays_trade_old_bars_alarm_nobody(home: Path) -> None:
    found = part(health(home, NOON_MS), "bars")
    assert (found.state, found.advice) == ("off", None)
    assert found.sentence.startswith("They are stored until 2025-03-")
    as_paper(home)
    assert part(health(home, NOON_MS), "bars").sentence.startswith("Nobody keeps bars up to date")


def test_bars_that_nobody_keeps_up_to_date_are_off(collected: Path) -> None:
    found = part(health(collected, NOON_MS + 2 * DAY_MS + 10 * MINUTE_MS), "bars")
    assert found.state == "off"
    assert found.sentence == "Nobody keeps bars up to date; the newest closed 2 days ago."


# --- files and the machine ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("free", "used", "state"),
    [
        (400 * 1024**2, 0.5, "failing"),
        (4 * 1024**3, 0.5, "degraded"),
        (20 * 1024**3, 0.95, "degraded"),
        (20 * 1024**3, 0.80, "ok"),
        (90 * 1024**3, 0.95, "ok"),
    ],
)
def test_a_disk_that_fills_is_told_of_before_it_is_full(
    tmp_path: Path, free: int, used: float, state: str
) -> None:
    (disk,) = [each for each in file_parts(tmp_path, [], free_bytes=free, used=used) if each.name == "disk"]
    assert disk.state == state
    assert (disk.advice is None) == (state == "ok")


def test_files_are_measured_with_all_that_folders_hold(tmp_path: Path) -> None:
    (tmp_path / "bars/deep").mkdir(parents=True)
    (tmp_path / "bars/deep/one").write_bytes(b"x" * 700)
    (tmp_path / "bars/two").write_bytes(b"x" * 300)
    (tmp_path / "market.db").write_bytes(b"x" * 999)
    assert files_of(tmp_path) == [FileItem(name="bars/", bytes=1_000), FileItem(name="market.db", bytes=999)]


def test_an_empty_home_says_what_to_do_first(tmp_path: Path) -> None:
    found = health(tmp_path, NOON_MS)
    assert found.state == "ok"
    assert part(found, "stores").advice == "Bring bars first: `crypto-tracker collect`, or `import-data`"


def test_health_is_looked_up_once_for_all_who_ask_within_seconds(
    collected: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = []
    real = health_views.health_view

    def counted(*arguments: object, **named: object) -> Health:
        looked.append(1)
        return real(*arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(health_views, "health_view", counted)
    kept = KeptHealth(collected, load, lambda: NOON_MS, started_at_ms=NOON_MS, code_version="1")
    first = kept.view()
    assert all(kept.view() is first for _ in range(50))
    assert looked == [1]

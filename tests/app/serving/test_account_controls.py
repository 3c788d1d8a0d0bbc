"""What a command would do is told with present numbers; what is told comes to the trader and is answered."""

import re
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from crypto_tracker.app import commanding
from crypto_tracker.app.accounts import account_place
from crypto_tracker.app.serving.account_book import AccountBook
from crypto_tracker.core.errors import ConfigError, CryptoTrackerError, UsageError
from crypto_tracker.core.timeframes import MINUTE_MS
from crypto_tracker.desk.views.controls import (
    AuditResult,
    CommandItem,
    CommandKind,
    CommandPreview,
    CommandWish,
    ConfigurationWish,
)
from crypto_tracker.desk.web.problems import status_of
from crypto_tracker.store.control import FILE_NAME, ControlStore
from crypto_tracker.store.database import sqlite_module
from tests.app.serving.accounts import MEDDLED_MINUTES, book_of, new_desk, trade_on
from tests.trading import worlds

Arguments = Mapping[str, str | int]
CRASHED_MINUTES = 600


def wish(
    kind: CommandKind, arguments: Arguments | None = None, not_before_ms: int | None = None
) -> CommandWish:
    return CommandWish(kind=kind, arguments=dict(arguments or {}), not_before_ms=not_before_ms)


def text(shown: CommandPreview) -> str:
    return " ".join(shown.consequences)


def answered(book: AccountBook, item: CommandItem) -> CommandItem:
    return next(
        each for each in book.commands(limit=50, cursor=None).items if each.command_id == item.command_id
    )


@pytest.fixture
def own_book(home: Path) -> Iterator[AccountBook]:
    """A book of one's own, whose account may be told something and traded on."""
    desk = new_desk(home)
    yield book_of(desk)
    desk.close()


# --- consequences --------------------------------------------------------------------------------


def test_a_close_tells_quantity_worth_result_and_the_reserve_that_becomes_free(
    traded_book: AccountBook,
) -> None:
    resting = {"open", "partially_filled"}
    with_rungs = next(
        each
        for each in traded_book.positions().items
        if any(order.kind == "rung" and order.status in resting for order in each.orders)
    )
    base = with_rungs.trade.symbol.partition("/")[0]
    shown = traded_book.preview(wish("close", {"symbol": base.lower()}))
    assert shown.arguments == {"symbol": with_rungs.trade.symbol}
    assert (shown.title, shown.danger) == (f"Sell {with_rungs.trade.symbol}", "danger")
    assert shown.confirm == "Sell at the next open"
    told = text(shown)
    assert f"{with_rungs.open_quantity:.8g} {base}" in told
    assert f"{with_rungs.value_quote:,.2f} USD now" in told
    assert f"{with_rungs.trade.pnl_quote:+,.2f} USD ({100 * with_rungs.trade.return_net:+.2f} %)" in told
    rungs = [order for order in with_rungs.orders if order.kind == "rung" and order.status in resting]
    assert f"{len(rungs)} resting rung" in told


def test_where_no_trader_runs_that_is_said_before_what_would_be_done(traded_book: AccountBook) -> None:
    said = "Nobody trades trader now: it acts when the account is traded again."
    shown = traded_book.preview(wish("pause"))
    assert shown.consequences[0] == said
    assert shown.consequences[1].startswith("Nothing new is bought")
    changed = ConfigurationWish(toml=toml_of((*worlds.LIVELY, "limits.max_open = 7")))
    assert traded_book.preview_configuration(changed).consequences[0] == said


def test_while_a_trader_runs_only_what_would_be_done_is_said(
    own_book: AccountBook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commanding, "is_traded", lambda _folder: True)
    assert own_book.preview(wish("pause")).consequences[0].startswith("Nothing new is bought")


def test_closing_the_worst_names_them_the_worst_first(traded_book: AccountBook) -> None:
    held = sorted(traded_book.positions().items, key=lambda each: each.trade.return_net)
    shown = traded_book.preview(wish("close_worst", {"count": 2}))
    worth = sum(each.value_quote for each in held[:2])
    nobody, sells, *each_one = shown.consequences
    assert nobody.startswith("Nobody trades trader now")
    assert sells.startswith(f"It sells 2 positions at the next open, worth {worth:,.2f} USD")
    assert [line.partition(":")[0] for line in each_one] == [each.trade.symbol for each in held[:2]]
    many = traded_book.preview(wish("close_worst", {"count": 40}))
    assert f"No more than {len(held)} of {len(held)}" in text(many)


def test_a_pause_tells_what_goes_on(traded_book: AccountBook) -> None:
    status = traded_book.status()
    shown = traded_book.preview(wish("pause"))
    assert shown.danger == "none"
    told = text(shown)
    assert f"{status.open_positions} open positions keep their stop" in told
    assert f"{status.pending_orders} rungs of their ladders rest" in told
    assert f"{status.reserved_quote:,.2f} USD" in told


def test_a_panic_cancels_the_resting_rungs(traded_book: AccountBook) -> None:
    status = traded_book.status()
    shown = traded_book.preview(wish("regime_force", {"regime": "PANIC"}))
    told = text(shown)
    assert f"{status.pending_orders} resting rungs are cancelled" in told
    assert f"{status.reserved_quote:,.2f} USD of reserve become free" in told
    caution = traded_book.preview(wish("regime_force", {"regime": "caution"}))
    assert "of 0.5 x the usual size" in text(caution)


def test_switches_and_blocks_tell_whose_positions_stay(traded_book: AccountBook) -> None:
    counters = {each.strategy: each.open for each in traded_book.status().counters}
    off = traded_book.preview(wish("strategy_off", {"strategy": "dca"}))
    assert f"{counters['DCA']} open positions of it keep their exits" in text(off)
    on = traded_book.preview(wish("strategy_on", {"strategy": "CHANNEL"}))
    assert "stays off by the volatility of the market" in text(on)
    held = traded_book.positions().items[0]
    block = traded_book.preview(wish("block", {"symbol": held.trade.symbol}))
    assert f"{held.trade.pnl_quote:+,.2f} USD" in text(block)
    streak = traded_book.preview(wish("streak_clear", {"strategy": "SWING"}))
    assert "Its losing streak goes from 3 to 0; 5 losses in a row make it rest." in text(streak)


def test_a_cooldown_tells_how_long_it_would_last(home: Path) -> None:
    trade_on(home, CRASHED_MINUTES)
    desk = new_desk(home)
    book = book_of(desk)
    cooling = next(each for each in book.locks().symbols if each.cooldown_until_ms is not None)
    told = text(book.preview(wish("cooldown_clear", {"symbol": cooling.symbol})))
    assert "it would cool down" in told
    assert "Its count of stops in a row goes from 1 to 0; 1 stop begins a cooldown." in told
    desk.close()


def test_a_command_for_later_is_not_judged_by_the_present(traded_book: AccountBook) -> None:
    later_ms = traded_book.status().until_ms + 60 * MINUTE_MS
    shown = traded_book.preview(wish("resume", not_before_ms=later_ms))
    assert "It acts at the first minute that opens at or after 2025-03-02 07:40 UTC" in shown.consequences[-1]


@pytest.mark.parametrize(
    ("kind", "arguments", "sentence"),
    [
        ("resume", {}, "entries are not stopped"),
        ("regime_release", {}, "no regime is forced"),
        ("cooldown_clear", {"symbol": "BTC/USD"}, "BTC/USD does not cool down"),
        ("streak_clear", {"strategy": "DCA"}, "DCA has no losing streak"),
        ("strategy_on", {"strategy": "DCA"}, "DCA is on already"),
        ("strategy_off", {"strategy": "CHANNEL"}, "CHANNEL is off already"),
        ("unblock", {"symbol": "ETH/USD"}, "ETH/USD is not blocked"),
    ],
)
def test_what_the_account_would_refuse_as_it_stands_is_refused_at_once(
    traded_book: AccountBook, kind: CommandKind, arguments: Arguments, sentence: str
) -> None:
    with pytest.raises(CryptoTrackerError, match=sentence) as refused:
        traded_book.preview(wish(kind, arguments))
    assert status_of(refused.value) == 409


@pytest.mark.parametrize(
    ("kind", "arguments", "sentence"),
    [
        ("close", {"symbol": "XRP"}, "XRP is not traded by this account: it trades BTC/USD"),
        ("close_worst", {"count": 0}, "the number of positions to close is 0, expected 1 or more"),
        ("close_worst", {"count": "two"}, "takes the argument count, a whole number"),
        (
            "regime_force",
            {"regime": "sunny"},
            "'sunny' is no regime: there are normal, caution, euphoria, panic",
        ),
        ("strategy_off", {"strategy": "MOON"}, "MOON is no strategy of this account"),
    ],
)
def test_what_means_nothing_to_the_account_is_no_request_at_all(
    traded_book: AccountBook, kind: CommandKind, arguments: Arguments, sentence: str
) -> None:
    with pytest.raises(UsageError, match=sentence):
        traded_book.preview(wish(kind, arguments))


# --- telling -------------------------------------------------------------------------------------


def test_what_is_told_waits_for_the_trader_and_is_answered_before_its_next_minute(
    home: Path, own_book: AccountBook
) -> None:
    before = own_book.status()
    pause = own_book.tell(wish("pause"), "web:anna")
    assert (pause.status, pause.actor, pause.time_ms) == ("waiting", "web:anna", None)
    assert "nobody trades trader now" in pause.sentence
    close = own_book.tell(wish("close", {"symbol": "btc"}), "web:berta")
    assert own_book.status().waiting_commands == before.waiting_commands + 2
    newest = own_book.commands(limit=2, cursor=None).items
    assert [each.command_id for each in newest] == [close.command_id, pause.command_id]
    for act in (own_book.preview, lambda asked: own_book.tell(asked, "web:anna")):
        with pytest.raises(CryptoTrackerError, match="entries are paused already") as refused:
            act(wish("pause"))
        assert status_of(refused.value) == 409
    tried, *others = own_book.audit(limit=3, cursor=None).items
    assert (tried.actor, tried.action, tried.result) == (
        "web:anna",
        "pause",
        AuditResult(status="refused", sentence="entries are paused already", time_ms=None),
    )
    assert [each.result and each.result.status for each in others] == ["waiting", "waiting"]

    trade_on(home, MEDDLED_MINUTES + 2)
    first = answered(own_book, pause)
    assert (first.status, first.time_ms) == ("applied", before.until_ms)
    assert first.sentence.startswith("entries are paused from 2025-03-02 06:40 UTC on")
    assert (
        answered(own_book, close).sentence == "BTC/USD is sold at the first open from 2025-03-02 06:40 UTC on"
    )
    after = own_book.status()
    assert after.waiting_commands == before.waiting_commands
    assert after.entries is not None
    assert after.entries.paused
    assert after.entries.paused_since_ms == before.until_ms
    assert "BTC/USD" not in {each.trade.symbol for each in own_book.positions().items}
    came = [each.result for each in own_book.audit(limit=3, cursor=None).items]
    assert [each and (each.status, each.time_ms) for each in came] == [
        ("refused", None),
        ("applied", before.until_ms),
        ("applied", before.until_ms),
    ]
    assert "It ends the pause since 2025-03-02 06:40 UTC." in text(own_book.preview(wish("resume")))


def test_what_waits_is_taken_back_and_counts_no_more_and_what_was_answered_is_not(
    home: Path, own_book: AccountBook
) -> None:
    before = own_book.status()
    pause, close = (
        own_book.tell(wish("pause"), "web:anna"),
        own_book.tell(wish("close_worst", {"count": 1}), "web:anna"),
    )
    taken = own_book.withdraw(pause.command_id, "web:bob")
    assert (taken.command_id, taken.status, taken.time_ms) == (pause.command_id, "withdrawn", None)
    assert taken.sentence.startswith("taken back by web:bob at ")
    assert own_book.withdraw(pause.command_id, "web:zoe") == taken == answered(own_book, pause)
    assert own_book.status().waiting_commands == before.waiting_commands + 1
    again = own_book.tell(wish("pause"), "web:anna")  # it stands no longer in its way
    assert again.status == "waiting"
    asked = CommandWish(kind="pause", command_id=pause.command_id)
    assert own_book.tell(asked, "web:anna") == taken  # sent again, as its answer was lost

    trade_on(home, MEDDLED_MINUTES + 2)
    with pytest.raises(CryptoTrackerError, match=r"it is too late to withdraw it: it was applied") as late:
        own_book.withdraw(close.command_id, "web:bob")
    assert status_of(late.value) == 409
    with pytest.raises(CryptoTrackerError, match="nobody gave trader the command ffff") as unknown:
        own_book.withdraw("f" * 32, "web:bob")
    assert status_of(unknown.value) == 404
    statuses = {each.command_id: each.status for each in own_book.commands(limit=9, cursor=None).items}
    assert [statuses[each.command_id] for each in (pause, close, again)] == [
        "withdrawn",
        "applied",
        "applied",
    ]
    told = [
        (each.actor, each.action, each.result and each.result.status)
        for each in own_book.audit(limit=5, cursor=None).items
    ]
    assert told == [
        ("web:bob", "withdraw", "refused"),
        ("web:anna", "pause", "applied"),
        ("web:bob", "withdraw", None),
        ("web:anna", "close_worst", "applied"),
        ("web:anna", "pause", "withdrawn"),
    ]


KINDS: list[tuple[CommandKind, Arguments]] = [
    ("pause", {}),
    ("resume", {}),
    ("close", {"symbol": "ETH/USD"}),
    ("close_worst", {"count": 3}),
    ("regime_force", {"regime": "euphoria"}),
    ("regime_release", {}),
    ("cooldown_clear", {"symbol": "ETH/USD"}),
    ("streak_clear", {"strategy": "SWING"}),
    ("strategy_on", {"strategy": "CHANNEL"}),
    ("strategy_off", {"strategy": "CHANNEL"}),
    ("block", {"symbol": "WIF/USD"}),
    ("unblock", {"symbol": "WIF/USD"}),
]


def told_anyhow(book: AccountBook, kind: CommandKind, arguments: Arguments) -> CommandItem:
    """Told past the book, which itself refuses what the trader would."""
    moments = book._moments
    found = commanding.tell(
        moments.where(moments.now()), kind, arguments, actor="cli:anna", now_ms=moments.now_ms()
    )
    return next(
        each
        for each in book.commands(limit=1, cursor=None).items
        if each.command_id == found.command.command_id
    )


class AlwaysUnderWay:
    """The lock of a follower that another thread is about to bring up to date whenever nobody waits for it."""

    def acquire(self, blocking: bool = True) -> bool:
        return blocking

    def release(self) -> None:
        """Nothing is held."""


def test_what_is_told_is_held_against_what_was_told_a_moment_ago_while_others_read(
    own_book: AccountBook, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = own_book.positions().items[0].trade
    sell = wish("close", {"symbol": held.symbol})
    monkeypatch.setattr(own_book.watch()._moments.follower, "_reading", AlwaysUnderWay())
    given = own_book.tell(sell, "web:anna")
    assert given.status == "waiting"
    waits = f"a sale of {held.symbol} waits already (command {given.command_id[:8]}): withdraw it, or start"
    with pytest.raises(CryptoTrackerError, match=re.escape(waits)):
        own_book.preview(sell)
    with pytest.raises(CryptoTrackerError, match=re.escape(waits)):
        own_book.tell(sell, "web:anna")
    told = own_book.commands(limit=50, cursor=None).items
    assert [item.actor for item in told].count("web:anna") == 1


def test_a_command_that_is_told_twice_under_one_id_is_one(home: Path, own_book: AccountBook) -> None:
    asked = CommandWish(kind="pause", command_id="a" * 32)
    given = own_book.tell(asked, "web:anna")
    assert given.command_id == "a" * 32
    assert own_book.tell(asked, "web:anna") == given
    changed = ConfigurationWish(toml=toml_of((*worlds.LIVELY, "limits.max_open = 7")), command_id="b" * 32)
    offered = own_book.tell_configuration(changed, "web:anna", source="the API")
    assert own_book.tell_configuration(changed, "web:anna", source="the API") == offered
    newest = own_book.commands(limit=2, cursor=None).items
    assert [each.command_id for each in newest] == ["b" * 32, "a" * 32]
    with pytest.raises(CryptoTrackerError, match="is another one: make a new id") as refused:
        own_book.tell(CommandWish(kind="resume", command_id="a" * 32), "web:anna")
    assert status_of(refused.value) == 409
    trade_on(home, MEDDLED_MINUTES + 1)
    assert own_book.tell(asked, "web:anna").status == "applied"


def test_while_another_process_writes_nobody_waits_long_and_nothing_is_half_told(
    home: Path, own_book: AccountBook
) -> None:
    before = [each.command_id for each in own_book.commands(limit=50, cursor=None).items]
    path = account_place(home, worlds.ACCOUNT).folder / FILE_NAME
    with ControlStore.open(path.parent):
        pass
    writer = sqlite_module().connect(path, isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    with ThreadPoolExecutor(8) as threads:
        given = [threads.submit(own_book.tell, wish("pause"), "web:anna") for _ in range(8)]
        assert own_book.status().account  # what is read waits for none of them
        told = [str(each.exception(timeout=240)) for each in given]  # while the other still writes
    writer.close()
    assert all("try again" in each for each in told)
    assert {"control.db is being written" in each or "told before is still" in each for each in told} == {
        True
    }
    assert [each.command_id for each in own_book.commands(limit=50, cursor=None).items] == before
    assert own_book.tell(wish("pause"), "web:anna").status == "waiting"


def test_a_preview_refuses_exactly_what_the_trader_refuses(home: Path, own_book: AccountBook) -> None:
    refused, told = {}, {}
    for kind, arguments in KINDS:  # each sees what those before it have done
        try:
            own_book.preview(wish(kind, arguments))
        except CryptoTrackerError as error:
            refused[kind] = str(error)
        told[kind] = told_anyhow(own_book, kind, arguments)
    trade_on(home, MEDDLED_MINUTES + 1)
    answers = {kind: answered(own_book, item) for kind, item in told.items()}
    assert {kind for kind, item in answers.items() if item.status == "refused"} == set(refused)
    assert {kind: answers[kind].sentence for kind in refused} == refused
    assert len(refused) < len(KINDS)


def test_a_replay_that_has_ended_is_told_nothing(home: Path) -> None:
    worlds.trade(home, name="short", end_ms=worlds.START_MS + 5 * MINUTE_MS)
    desk = new_desk(home)
    book = book_of(desk, "short")
    sentence = "short has ended its replay at 2025-03-01 21:45 UTC: nothing acts on it any more"
    for act in (
        lambda: book.preview(wish("pause")),
        lambda: book.tell(wish("pause"), "web:anna"),
        lambda: book.preview_configuration(ConfigurationWish(toml="")),
        lambda: book.tell_configuration(ConfigurationWish(toml=""), "web:anna", source="the API"),
    ):
        with pytest.raises(CryptoTrackerError, match=sentence) as refused:
            act()
        assert status_of(refused.value) == 409
    assert book.commands(limit=5, cursor=None).items == []
    assert book.audit(limit=5, cursor=None).items == []
    desk.close()


# --- the configuration ---------------------------------------------------------------------------


def toml_of(assignments: tuple[str, ...]) -> str:
    return "\n".join((*assignments, *worlds.TICKS))


def test_a_configuration_tells_its_changes_and_takes_the_place_of_the_other(
    home: Path, own_book: AccountBook
) -> None:
    before = own_book.status()
    changed = ConfigurationWish(toml=toml_of((*worlds.LIVELY, "limits.max_open = 7")))
    shown = own_book.preview_configuration(changed)
    assert shown.replaces == before.configuration_version
    assert [(each.key, each.old, each.new) for each in shown.changes] == [("limits.max_open", 150, 7)]
    assert shown.consequences[1].startswith("1 value changes")
    assert "6 open positions keep their exits" in " ".join(shown.consequences)
    with pytest.raises(CryptoTrackerError, match=f"it would take the place of {shown.replaces}") as refused:
        own_book.tell_configuration(
            changed.model_copy(update={"replaces": shown.version}), "web:anna", source="the API"
        )
    assert status_of(refused.value) == 409
    given = own_book.tell_configuration(
        changed.model_copy(update={"replaces": shown.replaces}), "web:anna", source="the API"
    )
    assert (given.kind, given.arguments, given.status) == ("configure", {"version": shown.version}, "waiting")
    trade_on(home, MEDDLED_MINUTES + 1)
    assert answered(own_book, given).status == "applied"
    after = own_book.status()
    assert (after.configuration_version, after.max_open_positions) == (shown.version, 7)
    versions = own_book.configuration().versions
    assert [each.version for each in versions] == [before.configuration_version, shown.version]


@pytest.mark.parametrize(
    ("toml", "sentence"),
    [
        ("limits.max_opn = 7", "max_opn"),
        ("limits.max_open = -7", "max_open"),
        ("this is no TOML", "the configuration"),
        ("trading.capital_quote = 5.0", "open another account for that"),
    ],
)
def test_a_configuration_that_cannot_be_taken_says_why(
    traded_book: AccountBook, toml: str, sentence: str
) -> None:
    with pytest.raises(ConfigError, match=sentence):
        traded_book.preview_configuration(ConfigurationWish(toml=toml_of((*worlds.LIVELY, toml))))


def test_a_configuration_that_changes_nothing_is_refused(traded_book: AccountBook) -> None:
    with pytest.raises(CryptoTrackerError, match="nothing in it changes") as refused:
        traded_book.preview_configuration(ConfigurationWish(toml=toml_of(worlds.LIVELY)))
    assert status_of(refused.value) == 409

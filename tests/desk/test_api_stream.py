"""The live stream over real sockets: who is let in, what is told to whom, and how it ends."""

import asyncio
import json
import socket
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import websockets
from websockets.asyncio.client import ClientConnection, connect
from websockets.frames import CloseCode

from crypto_tracker.core.errors import DataError, StoreError
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.desk.views import live
from crypto_tracker.desk.views.base import View
from crypto_tracker.desk.views.trades import Trade
from crypto_tracker.desk.web import hub as hub_module
from crypto_tracker.desk.web import stream as stream_module
from crypto_tracker.desk.web.hub import Hub, Listener
from tests.desk.examples import example
from tests.desk.fake_desk import FakeBook, FakeDesk, FakeWatch
from tests.desk.served import CONTROL, READ, Token, Tokens, application, running, settings

SECONDS = 10.0
WRONG = "ct_00000000_wrong"
NOTHING = "token-that-may-nothing"
DOCUMENTED = Path(__file__).parents[2] / "docs" / "api.md"

Story = Callable[[], Coroutine[Any, Any, None]]


@pytest.fixture
def desk() -> FakeDesk:
    return FakeDesk()


@pytest.fixture
def tokens() -> Tokens:
    return Tokens()


@pytest.fixture
def address(desk: FakeDesk, tokens: Tokens) -> Iterator[str]:
    with running(application(desk, tokens)) as http:
        yield f"{http.replace('http', 'ws')}/api/v1/ws"


def play(story: Coroutine[Any, Any, None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(4 * SECONDS):
            await story

    asyncio.run(bounded())


async def hear(client: ClientConnection) -> dict[str, Any]:
    async with asyncio.timeout(SECONDS):
        found: dict[str, Any] = json.loads(await client.recv())
    return found


async def hear_until(client: ClientConnection, kind: str) -> dict[str, Any]:
    while True:
        message = await hear(client)
        if message["type"] == kind:
            return message


async def say(client: ClientConnection, **message: Any) -> None:
    await client.send(json.dumps(message))


@asynccontextmanager
async def signed_in(address: str, token: str = READ) -> AsyncIterator[ClientConnection]:
    async with connect(address) as client:
        await say(client, type="auth", token=token)
        assert (await hear(client))["type"] == "hello"
        yield client


async def subscribe(client: ClientConnection, *topics: str, account: str = "paper") -> None:
    await say(client, type="subscribe", account=account, topics=list(topics))
    message = await hear_until(client, "subscribed")
    assert message == {"type": "subscribed", "account": account, "topics": sorted(topics)}


def trades(number: int) -> live.TradesEvent:
    trade = example(Trade, trade_group_id=f"ETH/USDT-DCA-{number}")
    return live.TradesEvent(account="paper", items=[trade])


# --- who is let in


def test_a_client_signs_in_with_its_first_message_and_is_told_its_name_and_the_beat(address: str) -> None:
    async def story() -> None:
        async with connect(address) as client:
            await say(client, type="auth", token=READ)
            assert await hear(client) == {
                "type": "hello",
                "actor": "web:anna",
                "now_ms": 1_755_864_000_000,
                "beat_ms": 5_000,
            }

    play(story())


def test_a_program_may_send_its_token_as_a_header_instead(address: str) -> None:
    async def story() -> None:
        headers = {"Authorization": f"Bearer {CONTROL}"}
        async with connect(address, additional_headers=headers) as client:
            assert (await hear(client))["actor"] == "web:bert"

    play(story())


@pytest.mark.parametrize("in_header", [False, True])
def test_a_token_that_is_not_known_ends_the_stream_and_says_so(address: str, in_header: bool) -> None:
    async def story() -> None:
        headers = {"Authorization": f"Bearer {WRONG}"} if in_header else None
        async with connect(address, additional_headers=headers) as client:
            if not in_header:
                await say(client, type="auth", token=WRONG)
            assert "not known" in (await hear(client))["detail"]
            with pytest.raises(websockets.ConnectionClosedError) as closed:
                await client.recv()
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == stream_module.UNKNOWN

    play(story())


@pytest.mark.parametrize("in_header", [False, True])
def test_a_token_that_may_not_read_ends_the_stream_and_says_so(
    address: str, tokens: Tokens, in_header: bool
) -> None:
    tokens.known[NOTHING] = Token("00000003", "cleo", frozenset())

    async def story() -> None:
        headers = {"Authorization": f"Bearer {NOTHING}"} if in_header else None
        async with connect(address, additional_headers=headers) as client:
            if not in_header:
                await say(client, type="auth", token=NOTHING)
            assert (await hear(client))["detail"] == "this needs a token with the scope read"
            with pytest.raises(websockets.ConnectionClosedError) as closed:
                await client.recv()
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == stream_module.NOT_ALLOWED

    play(story())


def test_a_header_of_another_kind_leaves_time_to_sign_in(address: str) -> None:
    async def story() -> None:
        async with connect(address, additional_headers={"Authorization": "Basic YW5uYTpzZWNyZXQ="}) as client:
            await say(client, type="auth", token=READ)
            assert (await hear(client))["actor"] == "web:anna"

    play(story())


def test_nothing_is_told_to_somebody_who_subscribes_before_signing_in(address: str, desk: FakeDesk) -> None:
    async def story() -> None:
        async with connect(address) as client:
            await say(client, type="subscribe", account="paper", topics=["trades"])
            assert "who is asking" in (await hear(client))["detail"]
            with pytest.raises(websockets.ConnectionClosedError):
                await client.recv()

    play(story())
    assert desk.topics == []


def test_who_does_not_sign_in_is_sent_away(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_module, "AUTH_SECONDS", 0.05)

    async def story() -> None:
        async with connect(address) as client:
            assert "no token was sent within" in (await hear(client))["detail"]
            with pytest.raises(websockets.ConnectionClosedError):
                await client.recv()

    play(story())


@pytest.mark.parametrize("in_header", [False, True])
def test_a_token_that_is_revoked_ends_the_streams_that_it_opened(
    address: str, tokens: Tokens, monkeypatch: pytest.MonkeyPatch, in_header: bool
) -> None:
    monkeypatch.setattr(stream_module, "RECHECK_SECONDS", 0.05)

    async def story() -> None:
        headers = {"Authorization": f"Bearer {READ}"} if in_header else None
        async with connect(address, additional_headers=headers) as client:
            if not in_header:
                await say(client, type="auth", token=READ)
            assert (await hear(client))["type"] == "hello"
            await subscribe(client, "trades")
            del tokens.known[READ]
            assert "revoked" in (await hear_until(client, "problem"))["detail"]
            with pytest.raises(websockets.ConnectionClosedError):
                await client.recv()

    play(story())


def test_the_page_of_another_site_opens_no_stream(address: str) -> None:
    async def story() -> None:
        with pytest.raises(websockets.InvalidStatus) as refused:
            await connect(address, origin=websockets.Origin("http://elsewhere.example"))
        assert refused.value.response.status_code == 403

    play(story())


def test_this_machine_needs_no_token_where_it_is_let_in() -> None:
    async def story(address: str) -> None:
        async with connect(address) as client:
            assert (await hear(client))["actor"] == "web:local"
            await subscribe(client, "trades")

    with running(application(web=settings(open_to_loopback="read"))) as http:
        play(story(f"{http.replace('http', 'ws')}/api/v1/ws"))


# --- what is told


def test_only_those_who_asked_for_a_topic_hear_of_it(address: str, desk: FakeDesk) -> None:
    async def story() -> None:
        async with signed_in(address) as of_trades, signed_in(address) as of_regime:
            await subscribe(of_trades, "trades")
            await subscribe(of_regime, "regime")
            desk.happens(trades(1), example(live.RegimeEvent, account="paper"))
            message = await hear(of_trades)
            assert message["type"] == "trades"
            assert message["items"][0]["trade_group_id"] == "ETH/USDT-DCA-1"
            assert (await hear(of_regime))["type"] == "regime"

    play(story())


def test_many_who_listen_to_one_account_cost_one_look_at_a_time(address: str, desk: FakeDesk) -> None:
    async def story() -> None:
        async with signed_in(address) as first, signed_in(address) as second:
            await subscribe(first, "trades")
            await subscribe(second, "trades", "positions")
            desk.happens(trades(1))
            assert (await hear(first))["type"] == (await hear(second))["type"] == "trades"

    play(story())
    assert desk.watches == 1
    assert ("paper", frozenset({"trades", "positions"})) in desk.topics


def test_who_comes_later_is_given_the_present_that_others_know_already(address: str, desk: FakeDesk) -> None:
    async def story() -> None:
        async with signed_in(address) as first, signed_in(address) as second:
            await subscribe(first, "positions")
            desk.happens(example(live.PositionsEvent, account="paper"))
            known = await hear(first)
            await subscribe(second, "positions")
            assert await hear(second) == known

    play(story())


def test_bars_of_several_symbols_reach_only_those_who_look_at_them(address: str, desk: FakeDesk) -> None:
    bars = [
        example(live.BarNow, symbol=symbol, timeframe="15m", close=close)
        for symbol, close in (("BTC/USDT", 118_000.0), ("ETH/USDT", 4_300.0))
    ]

    async def story() -> None:
        async with signed_in(address) as client:
            await subscribe(client, "bars:ETH/USDT@15m")
            desk.happens(
                *(
                    example(live.MendedEvent, account="paper", symbol=symbol, timeframe="15m")
                    for symbol in ("BTC/USDT", "ETH/USDT")
                ),
                live.BarsEvent(account="paper", items=bars),
            )
            message = await hear(client)
            assert (message["type"], message["symbol"]) == ("mended", "ETH/USDT")
            message = await hear(client)
            assert [bar["close"] for bar in message["items"]] == [4_300.0]

    play(story())


def test_a_new_subscription_replaces_the_one_before(address: str, desk: FakeDesk) -> None:
    async def story() -> None:
        async with signed_in(address) as client:
            await subscribe(client, "trades")
            await subscribe(client, "regime", account="run:17")
            desk.happens(trades(1), example(live.RegimeEvent, account="run:17"))
            assert (await hear(client))["type"] == "regime"

    play(story())


def test_health_counts_the_open_streams(address: str, desk: FakeDesk) -> None:
    async def story() -> None:
        async with signed_in(address) as client, signed_in(address):
            await subscribe(client, "health")
            desk.happens(example(live.HealthEvent, account="paper"))
            assert (await hear(client))["health"]["clients"] == 2

    play(story())


def test_a_silent_market_still_beats() -> None:
    async def story(address: str) -> None:
        async with signed_in(address) as client:
            assert [(await hear(client))["type"] for _ in range(3)] == ["beat"] * 3

    with running(application(web=settings(beat_seconds=0.02))) as http:
        play(story(f"{http.replace('http', 'ws')}/api/v1/ws"))


def test_an_account_that_is_not_there_is_told_once_and_the_stream_stays(address: str) -> None:
    async def story() -> None:
        async with signed_in(address) as client:
            await say(client, type="subscribe", account="nobody", topics=["trades"])
            assert "there is no account nobody" in (await hear(client))["detail"]
            await subscribe(client, "trades")

    play(story())


def test_after_trouble_everybody_is_told_to_fetch_anew(
    address: str, desk: FakeDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_module, "AFTER_TROUBLE_SECONDS", 0.02)

    async def story() -> None:
        async with signed_in(address) as client:
            await subscribe(client, "trades")
            desk.broken = StoreError("the database /srv/anna/paper/trading.db is locked: try again")
            sentence = "the database trading.db is locked: try again"
            assert await hear(client) == {"type": "problem", "detail": sentence, "topic": None}
            desk.broken = None
            assert await hear(client) == {"type": "resync", "account": "paper"}
            desk.happens(trades(2))
            assert (await hear(client))["items"][0]["trade_group_id"] == "ETH/USDT-DCA-2"

    play(story())


def test_bars_that_there_are_not_are_refused_to_who_asks_for_them_and_nobody_else_hears(
    address: str, desk: FakeDesk
) -> None:
    async def story() -> None:
        async with signed_in(address) as good, signed_in(address) as bad:
            await subscribe(good, "trades")
            await say(
                bad, type="subscribe", account="paper", topics=["bars:NOPE/USDT@15m", "bars:ETH/USDT@15m"]
            )
            refused = await hear(bad)
            assert refused["detail"].startswith("bars:NOPE/USDT@15m is not told of: ")
            assert refused["topic"] == "bars:NOPE/USDT@15m"
            assert (await hear(bad))["topics"] == ["bars:ETH/USDT@15m"]
            desk.happens(trades(1))
            assert (await hear(good))["type"] == "trades"

    play(story())


@pytest.fixture
def hub(desk: FakeDesk) -> Hub:
    return Hub(desk, look_seconds=0.01, streams=lambda: 1)


async def told(listener: Listener) -> dict[str, Any]:
    message = await listener.next(SECONDS)
    assert message is not None
    found: dict[str, Any] = json.loads(message)
    return found


def test_whose_bars_take_long_to_be_tried_keeps_nobody_from_news(
    desk: FakeDesk, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    trying, let = threading.Event(), threading.Event()
    candles = FakeBook.candles

    def slow(book: FakeBook, *asked: Any) -> Any:
        trying.set()
        assert let.wait(SECONDS)
        return candles(book, *asked)

    monkeypatch.setattr(FakeBook, "candles", slow)

    async def story() -> None:
        quick, patient = Listener(9), Listener(9)
        hub.join(quick, "paper", ["trades"])
        assert (await told(quick))["type"] == "subscribed"
        hub.join(patient, "paper", ["trades", "bars:ETH/USDT@15m", "bars:BTC/USDT@1m"])
        assert await asyncio.to_thread(trying.wait, SECONDS)
        for number in range(3):
            desk.happens(trades(number))
            assert (await told(quick))["items"][0]["trade_group_id"] == f"ETH/USDT-DCA-{number}"
        hub.join(patient, "paper", ["trades", "bars:BTC/USDT@1m"])  # the other is not tried any more
        let.set()
        assert (await told(patient))["topics"] == ["bars:BTC/USDT@1m", "trades"]
        await hub.close()

    play(story())


def test_bars_that_cannot_be_read_just_now_are_told_of_once_they_can(
    desk: FakeDesk, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_module, "AFTER_TROUBLE_SECONDS", 0.02)
    candles, no_bars = FakeBook.candles, DataError("there are no bars under /srv/anna/user_data")
    failures = [no_bars, no_bars, RuntimeError("the secret of line 17")]

    def passing(book: FakeBook, symbol: Symbol, *asked: Any) -> Any:
        if str(symbol) == "BTC/USDT" and failures:
            raise failures.pop(0)
        return candles(book, symbol, *asked)

    monkeypatch.setattr(FakeBook, "candles", passing)

    async def story() -> None:
        listener = Listener(9)
        hub.join(listener, "paper", ["bars:BTC/USDT@1m", "bars:ETH/USDT@1m", "bars:NOPE/USDT@1m"])
        heard = [await told(listener) for _ in range(5)]
        refused = "bars:BTC/USDT@1m", "bars:NOPE/USDT@1m", "bars:BTC/USDT@1m"
        assert tuple(message["topic"] for message in heard if message["type"] == "problem") == refused
        assert [message.get("topics", message.get("detail")) for message in heard] == [
            "bars:BTC/USDT@1m is not told of: there are no bars under user_data",
            "bars:NOPE/USDT@1m is not told of: paper does not watch NOPE/USDT: there are BTC/USDT and ETH/USDT",
            ["bars:ETH/USDT@1m"],
            f"bars:BTC/USDT@1m is not told of: {hub_module.OUR_MISTAKE}",
            ["bars:BTC/USDT@1m", "bars:ETH/USDT@1m"],
        ]
        desk.happens(live.BarsEvent(account="paper", items=[example(live.BarNow, timeframe="1m")]))
        assert (await told(listener))["type"] == "bars"
        await hub.close()

    play(story())


def test_bars_that_are_still_refused_after_trouble_that_said_the_same_are_named(
    desk: FakeDesk, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_module, "AFTER_TROUBLE_SECONDS", 0.02)

    def never(*_: Any) -> Any:
        raise StoreError("the database market.db is locked: try again")

    monkeypatch.setattr(FakeBook, "candles", never)
    settle, settled = hub_module._Looker._settle, asyncio.Event()

    def settling(looker: Any, *of: Any) -> None:
        settle(looker, *of)
        settled.set()

    monkeypatch.setattr(hub_module._Looker, "_settle", settling)

    async def story() -> None:
        listener = Listener(9)
        hub.join(listener, "paper", ["trades"])
        assert (await told(listener))["type"] == "subscribed"
        desk.broken = StoreError("the database market.db is locked: try again")
        assert (await told(listener))["topic"] is None
        hub.join(listener, "paper", ["trades", "bars:BTC/USDT@1m"])
        assert (await told(listener))["topic"] is None
        async with asyncio.timeout(SECONDS):
            await settled.wait()
        assert listener.refused  # over the same trouble, so nobody was told
        desk.broken = None
        heard = [await told(listener) for _ in range(2)]
        assert [(each["type"], each.get("topic")) for each in heard] == [
            ("resync", None),
            ("problem", "bars:BTC/USDT@1m"),
        ]
        await hub.close()

    play(story())


def test_a_mistake_after_the_look_ends_no_looker(
    desk: FakeDesk, hub: Hub, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_module, "AFTER_TROUBLE_SECONDS", 0.02)
    tell, mistakes = Listener.tell, [RuntimeError("the secret of line 17")]

    def failing(listener: Listener, message: str, *, answers: bool = False) -> None:
        if mistakes and json.loads(message)["type"] == "trades":
            raise mistakes.pop()
        tell(listener, message, answers=answers)

    monkeypatch.setattr(Listener, "tell", failing)

    async def story() -> None:
        listener = Listener(9)
        hub.join(listener, "paper", ["trades"])
        assert (await told(listener))["type"] == "subscribed"
        desk.happens(trades(1))
        assert (await told(listener))["detail"] == hub_module.OUR_MISTAKE
        assert (await told(listener))["type"] == "resync"
        desk.happens(trades(2))
        assert (await told(listener))["items"][0]["trade_group_id"] == "ETH/USDT-DCA-2"
        await hub.close()

    play(story())
    assert "the secret of line 17" in caplog.text


def test_who_joins_while_there_is_trouble_is_told_of_it(address: str, desk: FakeDesk) -> None:
    async def story() -> None:
        async with signed_in(address) as first, signed_in(address) as second:
            await subscribe(first, "trades")
            desk.broken = StoreError("the database is locked: try again")
            assert (await hear(first))["type"] == "problem"
            await say(second, type="subscribe", account="paper", topics=["trades"])
            assert (await hear(second))["detail"] == "the database is locked: try again"

    play(story())


class HeldWatch(FakeWatch):
    """Its third look finds a trade, and ends only when it is let."""

    def __init__(self, desk: FakeDesk) -> None:
        super().__init__(desk, "paper")
        self.looks = 0
        self.looking, self.let = threading.Event(), threading.Event()

    def news(self, topics: frozenset[str]) -> Sequence[View]:
        self.looks += 1
        if self.looks != 3:
            return super().news(topics)
        self.looking.set()
        assert self.let.wait(SECONDS)
        return [trades(1)]


def test_who_changes_topics_misses_nothing_of_those_that_stay(
    desk: FakeDesk, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = HeldWatch(desk)
    monkeypatch.setattr(FakeBook, "watch", lambda _book: watch)

    async def story() -> None:
        listener = Listener(9)
        hub.join(listener, "paper", ["trades", "log"])
        await asyncio.to_thread(watch.looking.wait, SECONDS)
        hub.join(listener, "paper", ["trades", "regime"])
        watch.let.set()
        heard = [json.loads(await listener.next(SECONDS) or "") for _ in range(3)]
        assert [message["type"] for message in heard] == ["subscribed", "trades", "subscribed"]
        assert heard[2]["topics"] == ["regime", "trades"]
        await hub.close()

    play(story())


def test_what_a_watch_cannot_tell_is_to_be_fetched_whatever_the_topic(address: str, desk: FakeDesk) -> None:
    async def story() -> None:
        async with signed_in(address) as client:
            await subscribe(client, "trades")
            desk.happens(live.Resync(account="paper"))
            assert await hear(client) == {"type": "resync", "account": "paper"}
            desk.happens(trades(3))
            assert (await hear(client))["items"][0]["trade_group_id"] == "ETH/USDT-DCA-3"

    play(story())


def test_a_mistake_of_the_server_is_logged_and_not_told(
    address: str, desk: FakeDesk, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_module, "AFTER_TROUBLE_SECONDS", 0.02)

    async def story() -> None:
        async with signed_in(address) as client:
            await subscribe(client, "trades")
            desk.broken = RuntimeError("the secret of line 17")
            detail = (await hear(client))["detail"]
            assert "made a mistake" in detail
            assert "secret" not in detail
            desk.broken = None
            assert (await hear(client))["type"] == "resync"

    play(story())
    assert "the secret of line 17" in caplog.text


# --- how much


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("nonsense", "not understood"),
        ('{"type": "buy", "symbol": "BTC/USDT"}', "not understood"),
        (
            '{"type": "subscribe", "account": "paper", "topics": ["everything"]}',
            "the field topics (number 1) ",
        ),
        (
            '{"type": "subscribe", "account": "paper", "topics": ["bars:abc@1m"]}',
            "the field topics (number 1) ",
        ),
        (
            '{"type": "subscribe", "account": "paper", "topics": ["bars:A/B/C@1m"]}',
            "the field topics (number 1) ",
        ),
        ('{"type": "subscribe", "account": "paper", "topics": "trades"}', "is no list"),
        ('{"type": "subscribe", "account": "../etc", "topics": []}', "account"),
        (json.dumps({"type": "subscribe", "account": "paper", "topics": ["trades"] * 17}), "16"),
    ],
)
def test_what_is_not_understood_is_answered_and_the_stream_stays(address: str, text: str, words: str) -> None:
    async def story() -> None:
        async with signed_in(address) as client:
            await client.send(text)
            message = await hear(client)
            assert message["type"] == "problem"
            assert words in message["detail"]
            await client.send(b"bytes")
            assert "no text" in (await hear(client))["detail"]
            await subscribe(client, "trades")

    play(story())


def test_a_message_that_is_too_long_ends_the_stream(address: str) -> None:
    async def story() -> None:
        async with signed_in(address) as client:
            await client.send("x" * (stream_module.MESSAGE_LENGTH_MAX + 1))
            assert "characters" in (await hear(client))["detail"]
            with pytest.raises(websockets.ConnectionClosedError):
                await client.recv()

    play(story())


def test_who_talks_too_much_is_sent_away(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_module, "MESSAGES_PER_MINUTE", 3)

    async def story() -> None:
        async with signed_in(address) as client:
            for _ in range(3):
                await client.send("nonsense")
            assert "messages a minute" in [await hear(client) for _ in range(3)][-1]["detail"]
            with pytest.raises(websockets.ConnectionClosedError):
                await client.recv()

    play(story())


async def refused(client: ClientConnection, words: str) -> None:
    assert words in (await hear(client))["detail"]
    with pytest.raises(websockets.ConnectionClosedError) as closed:
        await client.recv()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == stream_module.TRY_LATER


@pytest.mark.parametrize(
    ("most", "token", "words"), [(1, CONTROL, "which is web.streams_max"), (2, READ, "who asks has 1")]
)
def test_one_stream_too_many_is_told_to_come_later(most: int, token: str, words: str) -> None:
    async def story(address: str) -> None:
        async with signed_in(address) as first:
            async with connect(address) as second:
                await say(second, type="auth", token=token)
                await refused(second, words)
            await subscribe(first, "trades")

    with running(application(web=settings(streams_max=most))) as http:
        play(story(f"{http.replace('http', 'ws')}/api/v1/ws"))


def test_who_does_not_sign_in_takes_no_place_of_those_who_do(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_module, "WAITING_MAX", 2)

    async def story() -> None:
        async with connect(address) as oldest, connect(address), connect(address):
            await refused(oldest, "have not signed in")
            async with signed_in(address) as client:
                await subscribe(client, "trades")

    play(story())


def test_a_listener_who_is_too_slow_loses_all_that_waits_and_is_told_so() -> None:
    async def story() -> None:
        listener = Listener(outbox_max=3)
        listener.account = "paper"
        for number in range(5):
            listener.tell(str(number))
        assert json.loads(await listener.next(0.0) or "") == {"type": "resync", "account": "paper"}
        listener.tell("5")
        assert await listener.next(0.0) == "5"
        assert await listener.next(0.0) is None
        listener.tell("subscribed", answers=True)
        listener.tell("6")
        listener.lose()  # an answer cannot be fetched, so it stays
        assert json.loads(await listener.next(0.0) or "")["type"] == "resync"
        assert await listener.next(0.0) == "subscribed"
        assert await listener.next(0.0) is None

    play(story())


def test_a_client_that_reads_nothing_holds_up_nobody(
    address: str, desk: FakeDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_module, "OUTBOX_MAX", 8)
    events = [
        live.TradesEvent(account="paper", items=[example(Trade, held_ms=number)] * 500)
        for number in range(80)
    ]

    async def story() -> None:
        small = socket.socket()
        small.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        small.connect(("127.0.0.1", urlsplit(address).port))
        async with signed_in(address) as client, connect(address, sock=small) as deaf:
            await say(deaf, type="auth", token=READ)
            assert (await hear(deaf))["type"] == "hello"
            await subscribe(deaf, "trades")
            await subscribe(client, "trades")
            for event in events:
                desk.happens(event)
                message = await hear_until(client, "trades")
                assert message["items"][0]["held_ms"] == event.items[0].held_ms
            await hear_until(deaf, "resync")

    play(story())


# --- how it ends


def test_every_code_with_which_a_stream_is_closed_is_documented() -> None:
    words = DOCUMENTED.read_text(encoding="utf-8")
    for code in (
        stream_module.UNKNOWN,
        stream_module.NOT_ALLOWED,
        stream_module.TOO_LARGE,
        stream_module.TOO_MANY,
        stream_module.TRY_LATER,
        CloseCode.INTERNAL_ERROR,
        CloseCode.SERVICE_RESTART,
    ):
        assert f"\n| {int(code)} | " in words


def test_no_look_is_taken_once_nobody_listens(address: str, desk: FakeDesk) -> None:
    async def story() -> None:
        async with signed_in(address) as client:
            await subscribe(client, "trades")
        async with signed_in(address) as client:
            await subscribe(client, "trades", account="run:17")
            looked = sum(account == "paper" for account, _ in desk.topics)
            for _ in range(5):
                desk.happens(trades(1))
                await hear_until(client, "trades")
            assert sum(account == "paper" for account, _ in desk.topics) == looked

    play(story())


def test_the_server_ends_while_streams_are_open_and_leaves_nothing_behind(desk: FakeDesk) -> None:
    with running(application(desk), timeout_graceful_shutdown=2) as http:
        ended = threading.Event()

        async def story() -> None:
            async with signed_in(f"{http.replace('http', 'ws')}/api/v1/ws") as client:
                await subscribe(client, "trades")
                started.set()
                with suppress(websockets.ConnectionClosed):
                    async for _ in client:
                        pass
                assert client.close_code == 1012  # the service restarts, or ends
            ended.set()

        started = threading.Event()
        listening = threading.Thread(target=lambda: play(story()))
        listening.start()
        assert started.wait(SECONDS)
    listening.join(SECONDS)
    assert ended.is_set()

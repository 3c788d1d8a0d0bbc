"""Massive's stream against a local server that speaks the real sequence, with every fault it knows."""

import asyncio
import itertools
import json
import tracemalloc
from contextlib import aclosing

import pytest
from pydantic import SecretStr

from crypto_tracker.core.errors import NotEntitled, ProviderRefused, UnknownToProvider, UsageError
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.market.providers.base import Lost, StreamedBars, Subscribed, Trouble
from crypto_tracker.market.providers.massive.stream import UNREADABLE_MAX, MassiveStream
from crypto_tracker.net.sockets import SocketClosed, SocketSilent
from tests import virtual_time
from tests.market.streamed import PAIRS, START, SYMBOLS, collector, events_until, massive, without_proofs
from tests.servers.massive_stream import (
    KEY,
    SURVIVABLE,
    Fault,
    FaultScript,
    Kind,
    Market,
    MassiveStreamServer,
)

MINUTE = 60_000
N = 6  # minutes


def stream_to(server, *, key=KEY, **changes):
    return MassiveStream(massive(server.url), collector(**changes), SecretStr(key), now_ms=loop_ms)


def loop_ms():
    """The time of the loop that runs, in which the server is as well."""
    return round(asyncio.get_running_loop().time() * 1_000)


def against(served, client, script=None, **settings):
    """What a client comes to against a server of this market, in virtual time; and the server."""

    async def both():
        clock = asyncio.get_running_loop().time
        async with MassiveStreamServer(served, script, seconds=clock, **settings).here() as server:
            return await client(server), server

    return virtual_time.run(both())


def market(n_minutes=N, *, pairs=PAIRS, no_trade=0.0):
    return Market(pairs, start_ms=START, n_minutes=n_minutes, no_trade=no_trade)


def the_last_minute(n_minutes=N):
    """Enough is when the last minute of the market has come for the last of the pairs."""
    last = START + (n_minutes - 1) * MINUTE

    def enough(seen):
        event = seen[-1]
        return (
            isinstance(event, StreamedBars)
            and event.symbol == SYMBOLS[-1]
            and event.bars.open_time_ms[0] == last
        )

    return enough


def watched(script, *, n_minutes=N, symbols=SYMBOLS, no_trade=0.0, **changes):
    """The events of a whole market under a script, and the server that sent them."""
    return against(
        market(n_minutes, no_trade=no_trade),
        lambda server: events_until(stream_to(server, **changes), symbols, the_last_minute(n_minutes)),
        script,
    )


def of(kind, seen):
    return [event for event in seen if isinstance(event, kind)]


def minutes_of(seen, symbol=None):
    """(minute, close) of the bars of a symbol, in the order in which they came."""
    return [
        ((event.bars.open_time_ms[0] - START) // MINUTE, event.bars.close[0])
        for event in of(StreamedBars, seen)
        if event.symbol == (symbol or SYMBOLS[0])
    ]


def closes(server, *minutes, pair=PAIRS[0]):
    return [(minute, server.market.event(minute, pair)["c"]) for minute in minutes]


def test_minutes_of_all_symbols_come_over_one_connection_after_greeting_key_and_subscription():
    seen, server = watched(None)
    assert seen[0] == Subscribed(symbols=tuple(SYMBOLS))
    assert all(isinstance(event, StreamedBars) for event in seen[1:])
    for symbol, pair in zip(SYMBOLS, PAIRS, strict=True):
        assert minutes_of(seen, symbol) == closes(server, *range(N), pair=pair)
    (connection,) = server.connections
    assert connection.key == KEY
    assert connection.asked == ["XA.BTC-USD,XA.ETH-USD,XA.SOL-USD"]


def test_hundreds_of_symbols_are_asked_for_in_several_messages_and_told_as_one():
    pairs = [f"C{number:03d}-USD" for number in range(250)]
    symbols = [Symbol.parse(pair.replace("-", "/")) for pair in pairs]
    seen, server = against(
        market(1, pairs=pairs),
        lambda server: events_until(stream_to(server), symbols, lambda seen: len(seen) > 250),
        seconds_per_minute=0.2,
    )
    assert [len(asked.split(",")) for asked in server.connections[0].asked] == [100, 100, 50]
    assert seen[0] == Subscribed(symbols=tuple(symbols))
    assert {event.symbol for event in of(StreamedBars, seen)} == set(symbols)


def test_no_symbols_and_symbols_without_a_spelling_are_refused_before_connecting():
    async def ask(server):
        with pytest.raises(UsageError, match="no symbols"):
            await events_until(stream_to(server), [], bool)
        with pytest.raises(UnknownToProvider, match="perpetual"):
            await events_until(stream_to(server), [Symbol.parse("BTC/USD:USD")], bool)

    _, server = against(market(), ask)
    assert server.connections == []


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (Kind.CUT, "(1006"),
        (Kind.CLEAN_CLOSE, "closed the connection without a reason (1000)"),
        (Kind.SILENCE, "nothing came for 0.5 s"),
        (Kind.SLOW_CONSUMER, "it was read too slowly (slow_consumer: You are too slow)"),
        (Kind.FORCE_DISCONNECT, "the provider ended it (force_disconnect: please reconnect)"),
        (Kind.ERROR, "the provider reports an error (error: internal error)"),
    ],
)
def test_a_connection_that_ends_is_lost_and_comes_back_with_its_subscription(kind, reason):
    seen, server = watched(FaultScript.of({2: Fault(kind, missed=1)}))
    (lost,) = of(Lost, seen)
    assert reason in lost.reason
    assert 0.0 < lost.again_seconds <= 0.002
    assert of(Subscribed, seen) == [Subscribed(symbols=tuple(SYMBOLS))] * 2
    assert minutes_of(seen) == closes(server, 0, 1, 4, 5)
    assert [connection.asked for connection in server.connections] == [
        ["XA.BTC-USD,XA.ETH-USD,XA.SOL-USD"]
    ] * 2
    assert seen.index(lost) > seen.index(of(StreamedBars, seen)[5])


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (Kind.UNREACHABLE, "HTTP 503"),
        (Kind.NO_GREETING, "did not send the greeting within 0.2 s"),
        (Kind.AUTH_TIMEOUT, "the key arrived too late (auth_timeout"),
    ],
)
def test_logins_that_fail_are_tried_again_and_later_each_time(kind, reason):
    seen, server = watched(FaultScript.of({}, logins=[kind] * 3), backoff_seconds=0.004, stable_seconds=0.2)
    lost = of(Lost, seen)
    assert len(lost) == 3
    assert all(reason in event.reason for event in lost)
    assert [0.002 * 2**n <= event.again_seconds <= 0.004 * 2**n for n, event in enumerate(lost)] == [True] * 3
    assert minutes_of(seen) == closes(server, *range(N))


def test_a_key_that_is_connected_elsewhere_cools_down_although_all_went_well_before():
    seen, server = watched(FaultScript.of({}, logins=[Kind.MAX_CONNECTIONS] * 3), cool_down_seconds=0.05)
    lost = of(Lost, seen)
    assert len(lost) == 3
    for event in lost:
        assert "MASSIVE_API_KEY" in event.reason
        assert "connected elsewhere" in event.reason
        assert event.again_seconds > 0.05
    opened = [connection.opened_at for connection in server.connections]
    assert all(later - earlier >= 0.05 for earlier, later in itertools.pairwise(opened))
    assert minutes_of(seen) == closes(server, *range(N))


def test_two_streams_of_one_key_do_not_throw_each_other_out_without_a_pause():
    async def both(server):
        first = stream_to(server, silence_seconds=5.0)
        async with aclosing(without_proofs(first, SYMBOLS)) as events:
            assert isinstance(await anext(events), Subscribed)
            server.release()
            assert isinstance(await anext(events), StreamedBars)
            second = stream_to(server, cool_down_seconds=0.05)
            return await events_until(second, SYMBOLS, lambda seen: len(of(Lost, seen)) == 2)

    seen, server = against(market(), both, stepped=True)
    assert all(event.again_seconds > 0.05 for event in of(Lost, seen))
    assert len(server.connections) == 3


@pytest.mark.parametrize("script", [FaultScript.of({}, logins=[Kind.AUTH_FAILED]), None])
def test_a_refused_key_ends_the_stream_and_names_the_variable_but_never_the_key(script):
    key = KEY if script else "not-the-key"

    async def ask(server):
        with pytest.raises(ProviderRefused, match="MASSIVE_API_KEY") as refused:
            await events_until(stream_to(server, key=key), SYMBOLS, lambda _: False)
        return refused

    refused, server = against(market(), ask, script)
    assert "authentication failed" in str(refused.value)
    assert key not in str(refused.value)
    assert len(server.connections) == 1


def test_a_plan_without_a_stream_says_what_helps():
    said = "Your plan doesn't include websocket access."
    with pytest.raises(NotEntitled, match="collect the minutes from an exchange"):
        events_of(spoken([status("connected")], [status("auth_failed", said)]))


def test_a_duplicate_an_old_minute_and_a_correction_are_given_on_as_they_come():
    seen, server = watched(
        FaultScript.of(
            {1: Kind.DUPLICATE, 2: Kind.OUT_OF_ORDER, 4: Fault(Kind.LATE_CORRECTION, pair=PAIRS[0])}
        )
    )
    assert [minute for minute, _ in minutes_of(seen)] == [0, 1, 1, 3, 2, 4, 4, 5]
    (corrected,) = server.corrected.values()
    assert minutes_of(seen)[5:7] == [*closes(server, 4), (4, corrected["c"])]
    assert of(Lost, seen) == of(Trouble, seen) == []


@pytest.mark.parametrize(
    ("kind", "trouble", "may_hide_bars", "lost_minutes"),
    [
        (Kind.WRONG_SYMBOL, "symbol_not_asked", False, 0),
        (Kind.TRUNCATED_JSON, "unreadable", True, 3),
        (Kind.NO_ARRAY, "not_an_array", True, 0),
        (Kind.UNKNOWN_EVENT, "unknown_event", False, 0),
        (Kind.NOT_A_MINUTE, "not_a_minute", True, 1),
    ],
)
def test_what_cannot_be_taken_is_told_and_the_connection_lives_on(kind, trouble, may_hide_bars, lost_minutes):
    seen, server = watched(FaultScript.of({1: kind, 3: Kind.OTHER_EVENTS}))
    (told,) = of(Trouble, seen)
    assert (told.kind, told.may_hide_bars) == (trouble, may_hide_bars)
    assert of(Lost, seen) == []
    assert len(of(StreamedBars, seen)) == N * len(SYMBOLS) - lost_minutes
    assert len(server.connections) == 1


@pytest.mark.parametrize(
    ("kind", "field"),
    [(Kind.NOT_A_NUMBER, "close"), (Kind.EMPTY_STRING, "open"), (Kind.MISSING_FIELD, "high")],
)
def test_a_minute_with_a_broken_field_comes_with_its_raw_fields(kind, field):
    seen, _ = watched(FaultScript.of({1: Fault(kind, pair=PAIRS[1])}))
    (broken,) = [e for e in of(StreamedBars, seen) if getattr(e.bars, field)[0] != getattr(e.bars, field)[0]]
    assert broken.symbol == SYMBOLS[1]
    assert broken.raw(0)["s"] == START + MINUTE
    assert len(of(StreamedBars, seen)) == N * len(SYMBOLS)


def test_an_absurd_price_is_not_judged_here():
    seen, server = watched(FaultScript.of({1: Fault(Kind.ABSURD_PRICE, pair=PAIRS[0])}))
    assert minutes_of(seen)[1] == (1, pytest.approx(1000 * server.market.event(1, PAIRS[0])["o"]))


def test_a_frame_that_drips_in_small_pieces_is_one_frame():
    seen, server = watched(FaultScript.of({1: Fault(Kind.SLOW_DRIP, seconds=0.05)}))
    assert minutes_of(seen) == closes(server, *range(N))
    assert of(Lost, seen) == []


def test_a_frame_that_drips_for_longer_than_silence_may_last_is_given_up():
    seen, server = watched(FaultScript.of({1: Fault(Kind.SLOW_DRIP, seconds=2.0)}), silence_seconds=0.1)
    (lost,) = of(Lost, seen)
    assert lost.reason == "nothing came for 0.1 s"
    assert minutes_of(seen) == closes(server, 0, 2, 3, 4, 5)


@pytest.mark.parametrize(
    ("kind", "detail"),
    [
        (Kind.SUBSCRIPTION_REFUSED, "refuses ETH-USD: not authorized to subscribe to: XA.ETH-USD"),
        (Kind.SUBSCRIPTION_IGNORED, "did not confirm ETH-USD"),
    ],
)
def test_a_symbol_that_is_not_confirmed_is_told_and_does_not_stop_the_others(kind, detail):
    seen, _ = against(
        market(),
        lambda server: events_until(
            stream_to(server, stable_seconds=0.05, silence_seconds=5.0),
            SYMBOLS,
            lambda seen: len(of(StreamedBars, seen)) == 4,
        ),
        FaultScript.of({}, logins=[Fault(kind, pair="ETH-USD")]),
        seconds_per_minute=0.3,
    )
    (trouble,) = of(Trouble, seen)
    assert trouble.kind == "not_subscribed"
    assert detail in trouble.detail
    assert of(Subscribed, seen) == [Subscribed(symbols=(SYMBOLS[0], SYMBOLS[2]))]
    assert seen.index(trouble) < seen.index(of(StreamedBars, seen)[0])
    assert of(Lost, seen) == []


def test_all_symbols_refused_is_a_loss():
    script = FaultScript.of({}, logins=[Kind.SUBSCRIPTION_REFUSED])
    seen, server = against(
        market(pairs=PAIRS[:1]),
        lambda server: events_until(stream_to(server), SYMBOLS[:1], lambda seen: of(StreamedBars, seen)),
        script,
    )
    assert "sends nothing that was asked for" in of(Lost, seen)[0].reason
    assert len(server.connections) == 2


def test_a_reader_that_leaves_closes_the_connection():
    async def come_and_go(server):
        await events_until(stream_to(server), SYMBOLS, lambda seen: isinstance(seen[-1], Subscribed))
        await asyncio.sleep(1.0)  # which passes once the server waits too

    _, server = against(market(), come_and_go, stepped=True)
    assert server.connections[0].end == "the client left (1000)"


def test_every_fault_one_after_the_other_loses_only_what_was_not_sent():
    n_minutes = 2 * len(SURVIVABLE) + 8
    script = FaultScript.from_seed(11, n_minutes, missed_max=0)
    assert {fault.kind for fault in script.by_minute.values()} == set(SURVIVABLE)
    seen, server = watched(script, n_minutes=n_minutes, silence_seconds=0.4, stable_seconds=0.3)
    assert {kind for _, kind in server.done} == set(SURVIVABLE)
    # The faults of single bars and subscriptions concern the first symbol, so the second one misses whole minutes only.
    came = [minute for minute, _ in minutes_of(seen, SYMBOLS[1])]
    assert set(came) == set(range(n_minutes)) - server.unsent
    assert len(came) == len(set(came)) + sum(kind is Kind.DUPLICATE for _, kind in server.done)


# ------------------------------------------------------------------- frames that are spoken by hand


def status(word, message=""):
    return {"ev": "status", "status": word, "message": message}


def spoken(*frames, **changes):
    """A stream over a socket that says these frames and is then silent.

    Text is said as it is, an error is raised, and a function is called before what follows it.
    """
    waiting = [
        frame if isinstance(frame, str | Exception) or callable(frame) else json.dumps(frame)
        for frame in frames
    ]
    now_ms = changes.pop("now_ms", loop_ms)
    return MassiveStream(
        massive("ws://127.0.0.1:1"),
        collector(**changes),
        SecretStr("the-key"),
        now_ms=now_ms,
        chance=lambda: 1.0,
        connect=lambda _: _Spoken(waiting),
    )


class _Spoken:
    def __init__(self, frames):
        self.frames = frames
        self.sent = []

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        pass

    async def send(self, text):
        self.sent.append(json.loads(text))

    def prove(self, every_seconds, mark):
        pass

    async def receive(self, within_seconds=None):
        if within_seconds > 0:
            while self.frames and callable(self.frames[0]):
                self.frames.pop(0)()
        if not self.frames or within_seconds <= 0:
            raise SocketSilent(within_seconds)
        if isinstance(self.frames[0], Exception):
            raise self.frames.pop(0)
        return self.frames.pop(0)


LOGIN = ([status("connected")], [status("auth_success")])
CONFIRMED = [status("success", f"subscribed to: XA.{pair}") for pair in PAIRS]


def events_of(stream, enough=lambda seen: isinstance(seen[-1], Lost)):
    return virtual_time.run(events_until(stream, SYMBOLS, enough))


class Hands:
    """A clock that goes on only when it is told to."""

    def __init__(self):
        self.ms = START

    def now_ms(self):
        return self.ms

    def passing(self, seconds):
        def turn():
            self.ms += round(seconds * 1000)

        return turn


def losses(stream, count):
    return of(Lost, events_of(stream, lambda seen: len(of(Lost, seen)) == count))


def test_a_close_for_a_breach_of_rules_cools_down_even_without_a_word_before():
    (lost,) = losses(spoken(*LOGIN, CONFIRMED, SocketClosed(1008, ""), cool_down_seconds=7.0), 1)
    assert "1008: no reason given" in lost.reason
    assert "MASSIVE_API_KEY" in lost.reason
    assert lost.again_seconds == 7.002


@pytest.mark.parametrize(("seconds", "waits"), [(0.399, [0.002, 0.004, 0.008]), (0.4, [0.002, 0.002, 0.002])])
def test_a_connection_without_a_bar_was_a_good_one_only_after_it_lived_for_a_while(seconds, waits):
    clock = Hands()
    frames = [*LOGIN, CONFIRMED, clock.passing(seconds), SocketClosed(1000, "")] * 3
    assert [lost.again_seconds for lost in losses(spoken(*frames, now_ms=clock.now_ms), 3)] == waits


def test_one_bar_makes_a_connection_a_good_one():
    minute = {"ev": "XA", "pair": PAIRS[0], "s": START, "e": START + MINUTE}
    frames = [*LOGIN, CONFIRMED, [minute], SocketClosed(1000, "")] * 3
    assert [lost.again_seconds for lost in losses(spoken(*frames), 3)] == [0.002] * 3


def test_waiting_for_a_login_is_no_life():
    clock = Hands()
    frames = [[status("connected")], clock.passing(3600.0), SocketClosed(1000, "")] * 3
    stream = spoken(*frames, now_ms=clock.now_ms)
    assert [lost.again_seconds for lost in losses(stream, 3)] == [0.002, 0.004, 0.008]


def test_confirmations_that_drip_in_between_minutes_are_awaited_only_so_long():
    clock = Hands()
    minute = {"ev": "XA", "pair": PAIRS[0], "s": START, "e": START + MINUTE}
    frames = [*LOGIN, CONFIRMED[:1], [minute], clock.passing(0.5), [minute], [minute], CONFIRMED[1:2]]
    seen = events_of(spoken(*frames, now_ms=clock.now_ms))
    assert [type(event) for event in seen[:6]] == [
        Subscribed,
        StreamedBars,
        StreamedBars,
        Trouble,
        StreamedBars,
        Subscribed,
    ]
    assert "did not confirm ETH-USD, SOL-USD" in seen[3].detail
    assert seen[5].symbols == (SYMBOLS[1],)


def test_frames_that_stay_unreadable_end_the_connection():
    seen = events_of(spoken(*LOGIN, CONFIRMED, *["[{"] * (UNREADABLE_MAX + 1)))
    assert [event.kind for event in of(Trouble, seen)] == ["unreadable"] * (UNREADABLE_MAX - 1)
    assert "5 frames in a row cannot be read" in seen[-1].reason


def test_a_readable_frame_in_between_starts_the_count_anew():
    spoiled = ["[{"] * (UNREADABLE_MAX - 1)
    seen = events_of(spoken(*LOGIN, CONFIRMED, *spoiled, [], *spoiled))
    assert len(of(Trouble, seen)) == 2 * (UNREADABLE_MAX - 1)
    assert seen[-1].reason == "nothing came for 0.5 s"


def test_confirmations_one_by_one_are_told_as_one():
    seen = events_of(spoken(*LOGIN, *[[answer] for answer in CONFIRMED]))
    assert of(Subscribed, seen) == [Subscribed(symbols=tuple(SYMBOLS))]


def test_symbols_that_are_confirmed_late_come_in_another_event():
    first, *rest = CONFIRMED
    minute = {
        "ev": "XA",
        "pair": PAIRS[0],
        "s": START,
        "e": START + MINUTE,
        "o": 1,
        "h": 1,
        "l": 1,
        "c": 1,
        "v": 1,
    }
    seen = events_of(spoken(*LOGIN, [first], [minute], rest, CONFIRMED))
    assert of(Subscribed, seen) == [
        Subscribed(symbols=(SYMBOLS[0],)),
        Subscribed(symbols=(SYMBOLS[1], SYMBOLS[2])),
    ]
    assert isinstance(seen[1], StreamedBars)


def test_an_older_server_that_says_success_to_the_key_is_understood():
    seen = events_of(spoken([status("connected")], [status("success", "authenticated")], CONFIRMED))
    assert seen[0] == Subscribed(symbols=tuple(SYMBOLS))


def test_an_older_server_that_calls_a_refused_key_an_error_is_understood():
    with pytest.raises(ProviderRefused, match="MASSIVE_API_KEY"):
        events_of(spoken([status("connected")], [status("error", "authentication failed")]))


def test_the_key_stays_out_of_everything_that_is_told():
    seen = events_of(
        spoken([status("connected")], [status("strange", "got the-key")], [status("error", "the-key?")])
    )
    assert "the-key" not in repr(seen)
    assert of(Trouble, seen) == [Trouble(kind="unknown_status", detail="strange: got ***")]
    assert "***" in seen[-1].reason


def test_a_long_stream_takes_no_memory_and_a_slow_reader_makes_the_server_wait():
    pairs = [f"C{number:03d}-USD" for number in range(100)]
    symbols = [Symbol.parse(pair.replace("-", "/")) for pair in pairs]
    n_minutes = 3000  # 300,000 bars, 45 MB as text

    async def slowly(server):
        async with aclosing(without_proofs(stream_to(server, silence_seconds=5.0), symbols)) as events:
            await anext(events)
            first = await anext(events)
            await asyncio.sleep(1.0)  # which passes once the server waits too
            stood_at = server._minute
            tracemalloc.start()
            before = tracemalloc.get_traced_memory()[0]
            tracemalloc.reset_peak()
            taken, peak = 1, 0
            async for _ in events:
                taken += 1
                if taken == 5_000:
                    peak = tracemalloc.get_traced_memory()[1] - before
                    break
            tracemalloc.stop()
            return first, stood_at, peak

    served = Market(pairs, start_ms=START, n_minutes=n_minutes)
    (first, stood_at, peak), _ = against(served, slowly, events_per_frame=100)
    assert first.bars.open_time_ms[0] == START
    assert stood_at < n_minutes / 2
    assert peak < 8_000_000


# ------------------------------------------------------------------------------- the server itself


def test_a_script_of_faults_is_the_same_for_the_same_seed_and_has_every_kind():
    script = FaultScript.from_seed(7, 1440, pairs=PAIRS)
    assert script == FaultScript.from_seed(7, 1440, pairs=PAIRS)
    assert script != FaultScript.from_seed(8, 1440, pairs=PAIRS)
    assert sorted(script.by_minute) == list(range(1, 1438))
    assert {fault.kind for fault in script.by_minute.values()} == set(SURVIVABLE)


def test_history_of_the_server_has_what_closed_and_corrections_once_they_were_sent():
    pair = PAIRS[0]

    async def step_by_step(server):
        rows = [server.history(pair, START, START + N * MINUTE)]
        async with aclosing(without_proofs(stream_to(server, silence_seconds=5.0), SYMBOLS)) as events:
            await anext(events)
            for count in (3, 4):  # bars of these minutes
                server.release()
                for _ in range(count):
                    await anext(events)
                rows.append(server.history(pair, START, START + N * MINUTE))
        return rows, server.history(pair, START + MINUTE, START + 2 * MINUTE)

    script = FaultScript.of({1: Fault(Kind.LATE_CORRECTION, pair=pair)})
    ((none, first, both), second), server = against(market(), step_by_step, script, stepped=True)
    assert none == []
    assert [row["t"] for row in first] == [START]
    assert [row["t"] for row in both] == [START, START + MINUTE]
    assert second == both[1:]
    assert both[1]["c"] == server.corrected[pair, START + MINUTE]["c"] != server.market.event(1, pair)["c"]
    assert server.history("NO-USD", START, START + N * MINUTE) == []


def test_time_of_the_server_goes_on_whoever_is_connected_when_it_has_a_pace():
    async def come_late(server):
        await asyncio.sleep(0.05)
        assert server.now_ms() == pytest.approx(START + 5 * MINUTE, abs=1)
        return await events_until(stream_to(server), SYMBOLS, lambda seen: of(StreamedBars, seen))

    seen, server = against(market(40), come_late, seconds_per_minute=0.01)
    assert minutes_of(seen)[0][0] >= 4
    assert server.unsent >= {0, 1, 2, 3}

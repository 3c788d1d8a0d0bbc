"""What is recorded is what was there, can be read after a kill, keeps secrets out, and plays again exactly."""

import asyncio
import contextlib
import itertools
import json
import random
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from crypto_tracker.core.errors import DataError, StoreError, UsageError
from crypto_tracker.market.providers.base import Alive, Lost, StreamedBars, Subscribed, Trouble
from crypto_tracker.market.providers.massive.stream import MassiveStream
from crypto_tracker.market.recording.format import (
    Header,
    Kind,
    Mask,
    Record,
    Writer,
    header_line,
    line_of,
    read_header,
    read_records,
)
from crypto_tracker.market.recording.recorder import Recorder
from crypto_tracker.market.recording.replay import RecordingEnded, Replay
from crypto_tracker.net.sockets import SocketClosed, SocketSilent, SocketUnreachable, open_socket
from tests import virtual_time
from tests.market.streamed import PAIRS, START, SYMBOLS, collector, events_until, massive, told
from tests.servers.massive_stream import KEY, SURVIVABLE, FaultScript, Market, MassiveStreamServer

SECOND = 1_000_000_000


def ticking(start_ns=1_000 * SECOND, step_ns=SECOND):
    """A clock that goes on by a second whenever it is read."""
    times = itertools.count(start_ns, step_ns)
    return lambda: next(times)


def recorder_at(path, **changes):
    return Recorder(path, **{"provider": "massive", "now_ns": ticking(), **changes})


def plain(path: Path) -> str:
    """Everything that is in the file."""
    with path.open("rb") as file, zstandard.ZstdDecompressor().stream_reader(file) as stream:
        return stream.read().decode()


def kinds(path):
    return [record.kind for record in read_records(path)]


# ---------------------------------------------------------------------------------------- the file


def test_the_header_says_format_provider_and_code(tmp_path):
    path = tmp_path / "new folder" / "session.jsonl.zst"
    with recorder_at(path):
        pass
    header = read_header(path)
    assert (header.format_version, header.provider, header.started_ns) == (2, "massive", 1_000 * SECOND)
    assert header.code_version
    assert list(read_records(path)) == []


def test_a_file_that_is_there_is_not_written_over(tmp_path):
    path = tmp_path / "session.jsonl.zst"
    path.write_text("precious")
    with pytest.raises(UsageError, match="is there already: name a new file"):
        recorder_at(path)
    assert path.read_text() == "precious"


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot write a recording to"):
        recorder_at(tmp_path / "file" / "session.jsonl.zst")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[1, 2]", "is no recording, or it is damaged"),
        (b"", "is no recording: its first line is no header"),
        (zstandard.compress(b'{"a": 1}\n'), "line 1 is no line of a recording"),
        (zstandard.compress(b"[]\n"), "line 1 is no line of a recording"),
        (zstandard.compress(b'{"t":1,"k":"sent","c":"#1","text":""}\n'), "its first line is no header"),
        (
            zstandard.compress(b'{"t":1,"k":"header","c":"","format":9,"provider":"x","code":"7.1"}\n'),
            "is a recording of format 9, .* replay it with the version that recorded it .7.1.",
        ),
    ],
)
def test_a_file_that_is_no_recording_of_ours_is_refused(tmp_path, content, message):
    path = tmp_path / "other"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        Replay(path)


def test_a_recording_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"cannot read the recording .*nowhere"):
        Replay(tmp_path / "nowhere")


@pytest.mark.parametrize("speed", [-1.0, float("inf"), float("nan")])
def test_a_speed_that_is_none_is_refused(tmp_path, speed):
    with recorder_at(tmp_path / "a"):
        pass
    with pytest.raises(UsageError, match="cannot be played"):
        Replay(tmp_path / "a", speed)


def test_cut_at_any_byte_a_recording_gives_what_came_before(tmp_path):
    path = tmp_path / "session.jsonl.zst"
    writer = Writer(path, Header(provider="x", code_version="1", started_ns=0))
    records = [
        Record(time_ns=number, kind=Kind.MESSAGE, connection="#1", fields={"text": f"message {number}"})
        for number in range(30)
    ]
    ends = []
    for record in records:
        writer.write(line_of(record))
        writer.flush()
        ends.append(path.stat().st_size)
    writer.close()
    whole = path.read_bytes()
    first = len(
        zstandard.ZstdCompressor(level=3).compress(
            header_line(Header(provider="x", code_version="1", started_ns=0))
        )
    )
    for length in range(first + 20, len(whole)):
        path.write_bytes(whole[:length])
        assert list(read_records(path)) == records[: sum(end <= length for end in ends)]


@given(st.lists(st.text() | st.binary(), max_size=5))
def test_every_message_comes_back_as_it_was(tmp_path_factory, messages):
    path = tmp_path_factory.mktemp("recording") / "session"

    async def session():
        with recorder_at(path) as recorder:
            async with recorder.connecting(scripted(*messages))("ws://x") as socket:
                return [await socket.receive() for _ in messages]

    assert asyncio.run(session()) == messages
    assert asyncio.run(all_of(Replay(path).connect, len(messages))) == messages


@pytest.mark.parametrize(
    ("flush_seconds", "flush_lines", "first", "kept"), [(0.02, 10**9, 57, 57), (3600, 10, 57, 50)]
)
def test_after_a_kill_all_but_the_last_moment_can_be_read(tmp_path, flush_seconds, flush_lines, first, kept):
    path = tmp_path / "session.jsonl.zst"
    child = Path(__file__).with_name("recording_child.py")
    arguments = [str(path), str(flush_seconds), str(flush_lines), str(first), str(kept)]
    with subprocess.Popen(
        [sys.executable, str(child), *arguments], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "recorded\n"
        process.send_signal(signal.SIGKILL)
        process.wait(120)
    texts = [record.text for record in read_records(path)]
    assert len(texts) >= kept
    assert texts == [f"message {number}" for number in range(len(texts))]
    assert read_header(path).provider == "kraken"


def test_a_disk_that_is_full_is_told_to_whoever_records_next(tmp_path, monkeypatch):
    def full(_):
        raise OSError(28, "No space left on device")

    with recorder_at(tmp_path / "a", flush_seconds=0.001) as recorder:
        with monkeypatch.context() as patched:
            patched.setattr(Writer, "flush", full)
            recorder.note_message("a", "one")
            recorder._log._flusher.join(120)
        with pytest.raises(StoreError, match="No space left on device"):
            recorder.note_message("a", "two")


# -------------------------------------------------------------------------------------------- secrets


def test_keys_are_nowhere_in_the_file(tmp_path):
    path = tmp_path / "session"
    secret, other = 'k"e/y?', "plainsecret"

    def answer(_):
        return httpx.Response(200, headers={"set-cookie": "a=b"}, text=f"you are {other}")

    async def session():
        with recorder_at(path, secrets=[SecretStr(secret), SecretStr(other)]) as recorder:
            async with recorder.connecting(scripted(f"hello {other}"))(f"ws://x?token={other}") as socket:
                await socket.send(json.dumps({"action": "auth", "params": secret}))
                await socket.send(json.dumps({"action": "auth", "params": "a key nobody told"}))
                await socket.send(json.dumps({"action": "subscribe", "params": "XA.BTC-USD"}))
                await socket.receive()
            transport = recorder.transport(httpx.MockTransport(answer))
            headers = {"Authorization": "Bearer unknown", "KC-API-SIGN": "unknown", "Accept": "all"}
            async with httpx.AsyncClient(transport=transport, headers=headers) as client:
                got = await client.get(
                    "http://x/a", params={"apiKey": "unknown", "symbol": "BTC", "k": secret}
                )
            recorder.note_answer("get", f"http://x/b?signature={other}&limit=5", 200, other)
            recorder.note_opened("trades", "wss://x/?token=unknown")
            return got.text

    assert asyncio.run(session()) == f"you are {other}"
    text = plain(path)
    for hidden in (
        secret,
        json.dumps(secret)[1:-1],
        other,
        "unknown",
        "a key nobody told",
        "a=b",
        "k%22e%2Fy%3F",
    ):
        assert hidden not in text
    assert "XA.BTC-USD" in text
    assert "symbol=BTC" in text
    assert "limit=5" in text


@given(st.text(min_size=1).filter(lambda key: "*" not in key), st.text(), st.text())
def test_a_known_secret_is_masked_wherever_it_stands(key, before, after):
    assert key not in Mask((SecretStr(key),)).text(before + key + after)


# ----------------------------------------------------------------------------------------------- HTTP


def test_answers_and_failures_over_http_play_again_in_their_order(tmp_path):
    path = tmp_path / "session"
    asked = itertools.count()

    def answer(request):
        number = next(asked)
        if number == 0:
            return httpx.Response(429, headers={"Retry-After": "7"}, json={"status": "ERROR"})
        if number == 1:
            raise httpx.ReadTimeout("slow", request=request)
        if number == 2:
            body = zstandard.compress(b"{}")
            return httpx.Response(200, headers={"Content-Encoding": "zstd"}, content=body)
        if number == 3:
            return httpx.Response(200, content=b"\xff\x00 no text")
        return httpx.Response(404, text=request.url.path)

    async def ask(transport):
        seen = []
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
            for target in ("/a", "/a", "/a", "/binary", "/c", "/a"):
                try:
                    response = await client.get(target, params={"limit": 5})
                except httpx.TransportError as error:
                    seen.append((type(error), str(error)))
                else:
                    seen.append((response.status_code, response.headers.get("retry-after"), response.content))
        return seen

    with recorder_at(path) as recorder:
        session = asyncio.run(ask(recorder.transport(httpx.MockTransport(answer))))
    assert session == [
        (429, "7", b'{"status":"ERROR"}'),
        (httpx.ReadTimeout, "slow"),
        (200, None, b"{}"),
        (200, None, b"\xff\x00 no text"),
        (404, None, b"/c"),
        (404, None, b"/a"),
    ]
    assert asyncio.run(ask(Replay(path).transport())) == session


def test_a_request_that_was_not_recorded_says_so(tmp_path):
    path = tmp_path / "session"
    with recorder_at(path) as recorder:
        recorder.note_answer("GET", "http://x/a", 200, "once")

    async def ask():
        replay = Replay(path)
        once = await replay.answer("get", "http://x/a")
        with pytest.raises(RecordingEnded, match="no further answer to GET http://x/a"):
            await replay.answer("GET", "http://x/a")
        return once

    assert asyncio.run(ask()) == (200, "once")


# ------------------------------------------------------------------------------------ other libraries


def test_messages_of_other_libraries_come_with_their_times_and_set_the_clock(tmp_path):
    path = tmp_path / "session"
    with recorder_at(path) as recorder:
        recorder.note_opened("wss://kraken/v2")
        recorder.note_sent("wss://kraken/v2", '{"method":"subscribe"}')
        recorder.note_message("wss://kraken/v2", '{"channel":"trade"}')
        recorder.note_closed("wss://kraken/v2", "bye")

    async def play():
        replay = Replay(path)
        assert replay.now_ms() == 1_000_000
        return [(replay.now_ms(), record) async for record in replay.messages()]

    seen = asyncio.run(play())
    assert [now for now, _ in seen] == [1_001_000, 1_002_000, 1_003_000, 1_004_000]
    assert [record.kind for _, record in seen] == [Kind.OPEN, Kind.SENT, Kind.MESSAGE, Kind.CLOSED]
    assert seen[2][1].text == '{"channel":"trade"}'


# -------------------------------------------------------------------------------------------- sockets


def scripted(*messages):
    """A `Connect` whose socket gives these; an exception among them is raised."""

    class Scripted:
        def __init__(self):
            self.left = list(messages)

        async def send(self, _text):
            if self.left and isinstance(self.left[0], SocketClosed):
                raise self.left[0]

        async def receive(self, _within_seconds=None):
            message = self.left.pop(0)
            if isinstance(message, Exception):
                raise message
            return message

    @contextlib.asynccontextmanager
    async def connect(_):
        if messages and isinstance(messages[0], SocketUnreachable):
            raise messages[0]
        yield Scripted()

    return connect


async def all_of(connect, count):
    """What a reader is given in `count` readings, errors as text."""
    seen = []
    async with connect("ws://x") as socket:
        for _ in range(count):
            try:
                seen.append(await socket.receive(0.5))
            except (SocketClosed, SocketSilent) as error:
                seen.append((type(error), str(error)))
    return seen


def test_silence_and_ends_play_again_where_they_were(tmp_path):
    path = tmp_path / "session"
    script = ["one", SocketSilent(0.5), "two", SocketClosed(1008, "too many")]

    async def session(connect):
        return await all_of(connect, 4)

    with recorder_at(path) as recorder:
        lived = asyncio.run(session(recorder.connecting(scripted(*script))))
    assert [item if isinstance(item, str) else item[0] for item in lived] == [
        "one",
        SocketSilent,
        "two",
        SocketClosed,
    ]
    assert asyncio.run(session(Replay(path).connect)) == lived
    assert kinds(path) == [Kind.OPEN, Kind.MESSAGE, Kind.SILENT, Kind.MESSAGE, Kind.CLOSED, Kind.LEFT]


def test_attempts_that_failed_and_sends_that_came_too_late_play_again(tmp_path):
    path = tmp_path / "session"

    async def session(connects):
        seen = []
        for connect in connects:
            try:
                async with connect("ws://x?token=abc") as socket:
                    await socket.send("hello")
            except (SocketUnreachable, SocketClosed) as error:
                seen.append((type(error), str(error)))
        return seen

    with recorder_at(path) as recorder:
        scripts = [
            scripted(SocketUnreachable("nobody there")),
            scripted(SocketClosed(1006, "cut")),
            scripted(),
        ]
        lived = asyncio.run(session([recorder.connecting(script) for script in scripts]))
    assert [kind for kind, _ in lived] == [SocketUnreachable, SocketClosed]
    replay = Replay(path)
    assert asyncio.run(session([replay.connect] * 3)) == lived

    async def once_more():
        async with replay.connect("ws://x"):
            pytest.fail("there were three attempts")

    with pytest.raises(RecordingEnded, match="it has 3 attempts"):
        asyncio.run(once_more())


def test_two_connections_at_once_play_apart(tmp_path):
    path = tmp_path / "session"

    async def session(connects):
        async with connects[0]("ws://x") as first, connects[1]("ws://y") as second:
            return [await (first if turn % 3 else second).receive() for turn in range(6)]

    with recorder_at(path) as recorder:
        lived = asyncio.run(
            session([recorder.connecting(scripted(*"abcd")), recorder.connecting(scripted(*"xy"))])
        )
    assert lived == ["x", "a", "b", "y", "c", "d"]

    async def the_other_order():
        replay = Replay(path)
        async with replay.connect("ws://x") as first, replay.connect("ws://y") as second:
            return [
                await second.receive(),
                await second.receive(),
                *[await first.receive() for _ in range(4)],
            ]

    assert asyncio.run(the_other_order()) == ["x", "y", *"abcd"]


def test_speed_divides_the_recorded_times(tmp_path):
    path = tmp_path / "session"
    with recorder_at(path) as recorder:
        asyncio.run(all_of(recorder.connecting(scripted(*"abcde")), 5))

    async def play(speed):
        replay = Replay(path, speed)
        began = asyncio.get_running_loop().time()
        async with replay.connect("ws://x") as socket:
            times = []
            for _ in range(5):
                await socket.receive()
                times.append((replay.now_ms(), asyncio.get_running_loop().time() - began))
            await replay.sleep(0.5)
        return times, asyncio.get_running_loop().time() - began

    # The header is at second 1000, the connection at 1001, the messages from 1002 to 1006.
    times, whole = virtual_time.run(play(100.0))
    assert [now for now, _ in times] == [1_002_000, 1_003_000, 1_004_000, 1_005_000, 1_006_000]
    assert [passed for _, passed in times] == pytest.approx([0.02, 0.03, 0.04, 0.05, 0.06])
    assert whole == pytest.approx(0.065)
    times, whole = virtual_time.run(play(0.0))
    assert [now for now, _ in times] == [1_002_000, 1_003_000, 1_004_000, 1_005_000, 1_006_000]
    assert whole == 0.0


# ------------------------------------------------------------------------------------ a whole session


def stream(url, connect, **changes):
    return MassiveStream(
        massive(url),
        collector(silence_seconds=0.3, stable_seconds=0.2),
        SecretStr(KEY),
        connect=connect,
        chance=random.Random(5).random,
        **changes,
    )


def played(path, speed=0.0):
    """The events of a recorded session, up to its end."""
    replay = Replay(path, speed)
    player = stream("ws://nowhere", replay.connect, now_ms=replay.now_ms, sleep=replay.sleep)
    seen = []

    async def play():
        async for event in player.events(SYMBOLS):
            seen.append(event)

    asyncio.run(play())
    return seen


@pytest.fixture(scope="module")
def faulty_session(tmp_path_factory):
    """A session with every fault, as it was lived, and its recording."""
    path = tmp_path_factory.mktemp("faulty") / "session.jsonl.zst"
    n_minutes = len(SURVIVABLE) + 8
    market = Market(PAIRS, start_ms=START, n_minutes=n_minutes)
    last = market.open_ms(n_minutes - 1)
    column = max(column for column in range(3) if market.traded[-1, column])

    def enough(seen):
        event = seen[-1]
        return (
            isinstance(event, StreamedBars)
            and event.symbol == SYMBOLS[column]
            and event.bars.open_time_ms[0] == last
        )

    clock = virtual_time.Clock()

    def now_ns() -> int:
        return START * 1_000_000 + round(clock() * SECOND)

    async def session(recorder):
        script = FaultScript.from_seed(4, n_minutes, missed_max=0)
        async with MassiveStreamServer(market, script, seconds=clock).here() as server:
            lived = stream(server.url, recorder.connecting(open_socket), now_ms=lambda: now_ns() // 1_000_000)
            return await events_until(lived, SYMBOLS, enough, proofs=True)

    with Recorder(
        path, provider="massive", now_ns=now_ns, secrets=[SecretStr(KEY)], flush_lines=5
    ) as recorder:
        seen = virtual_time.run(session(recorder), clock)
    return path, seen


def test_a_faulty_session_plays_again_event_for_event_and_bar_for_bar(faulty_session):
    path, lived = faulty_session
    for kind, at_least in ((Lost, 12), (Subscribed, 8), (Trouble, 5), (StreamedBars, 30), (Alive, 3)):
        assert sum(isinstance(event, kind) for event in lived) >= at_least
    assert [told(event) for event in played(path)] == [told(event) for event in lived]


def test_a_replay_says_the_same_each_time_and_at_each_speed(faulty_session):
    path, lived = faulty_session
    expected = [told(event) for event in lived]
    assert [told(event) for event in played(path)] == expected
    assert [told(event) for event in played(path, speed=20.0)] == expected


def test_a_session_that_was_killed_plays_up_to_where_its_recording_ends(faulty_session, tmp_path):
    path, lived = faulty_session
    whole, expected = path.read_bytes(), [told(event) for event in lived]
    lengths = []
    for tenth in range(2, 10):
        cut = tmp_path / str(tenth)
        cut.write_bytes(whole[: len(whole) * tenth // 10])
        seen = [told(event) for event in played(cut)]
        assert seen == expected[: len(seen)]
        lengths.append(len(seen))
    assert lengths == sorted(lengths)
    assert 0 < lengths[0] < lengths[-1] < len(expected)


def test_a_replay_can_be_recorded_and_says_the_same_again(faulty_session, tmp_path):
    path, lived = faulty_session
    replay = Replay(path)
    copy = tmp_path / "copy"

    async def play():
        with Recorder(copy, provider="massive", now_ns=lambda: replay.now_ms() * 1_000_000) as recorder:
            player = stream(
                "ws://nowhere", recorder.connecting(replay.connect), now_ms=replay.now_ms, sleep=replay.sleep
            )
            async for _ in player.events(SYMBOLS):
                pass

    asyncio.run(play())
    assert [told(event) for event in played(copy)] == [told(event) for event in lived]


def test_the_key_of_a_session_is_not_in_its_recording(faulty_session):
    path, _ = faulty_session
    text = plain(path)
    assert KEY not in text
    assert '"action\\": \\"auth\\"' in text
    sent = [json.loads(record.text) for record in read_records(path) if record.kind is Kind.SENT]
    assert {message["params"] for message in sent if message["action"] == "auth"} == {"***"}

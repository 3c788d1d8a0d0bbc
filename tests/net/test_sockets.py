"""The real connection: what its reader is told, and that a slow reader slows the sender."""

import asyncio

import pytest
from websockets.asyncio.server import ServerConnection, serve

from crypto_tracker.core.errors import UsageError
from crypto_tracker.net.sockets import (
    MESSAGE_BYTES_MAX,
    SocketClosed,
    SocketSilent,
    SocketUnreachable,
    open_socket,
)
from tests import virtual_time


def against(handler, client):
    """Run a client against a server whose connections `handler` serves."""

    async def both():
        async with (
            asyncio.timeout(20),
            serve(handler, "127.0.0.1", 0, close_timeout=0.2, compression=None) as server,
        ):
            port = next(iter(server.sockets)).getsockname()[1]
            return await client(f"ws://127.0.0.1:{port}/crypto")

    return virtual_time.run(both())


async def echo(connection: ServerConnection) -> None:
    async for message in connection:
        await connection.send(message)


def test_messages_come_in_their_order_and_as_what_they_were_sent():
    async def handler(connection: ServerConnection) -> None:
        await connection.send("one")
        await connection.send(b"\x00two")
        await connection.wait_closed()

    async def client(url: str):
        async with open_socket(url) as socket:
            return [await socket.receive(), await socket.receive(1.0)]

    assert against(handler, client) == ["one", b"\x00two"]


def test_silence_is_told_and_the_connection_lives_on():
    async def client(url: str):
        async with open_socket(url) as socket:
            with pytest.raises(SocketSilent, match=r"nothing came for 0\.01 s"):
                await socket.receive(0.01)
            await socket.send("still there")
            return await socket.receive(1.0)

    assert against(echo, client) == "still there"


def test_whose_time_is_over_is_told_so_although_messages_wait():
    async def handler(connection: ServerConnection) -> None:
        for number in range(10):
            await connection.send(str(number))
        await connection.wait_closed()

    async def client(url: str):
        async with open_socket(url) as socket:
            first = await socket.receive()
            with pytest.raises(SocketSilent):
                await socket.receive(0.0)
            return [first, await socket.receive()]

    assert against(handler, client) == ["0", "1"]


@pytest.mark.parametrize(("code", "reason"), [(1000, ""), (1008, "max connections"), (4001, "bye")])
def test_the_end_carries_the_code_and_the_reason_of_the_other_side(code, reason):
    async def handler(connection: ServerConnection) -> None:
        await connection.close(code, reason)

    async def client(url: str):
        async with open_socket(url) as socket:
            with pytest.raises(SocketClosed) as closed:
                await socket.receive()
            with pytest.raises(SocketClosed):
                await socket.send("too late")
        return closed.value.code, closed.value.reason

    assert against(handler, client) == (code, reason)


def test_a_line_that_is_cut_is_1006():
    async def handler(connection: ServerConnection) -> None:
        connection.transport.abort()

    async def client(url: str):
        async with open_socket(url) as socket:
            with pytest.raises(SocketClosed) as closed:
                await socket.receive()
        return closed.value.code

    assert against(handler, client) == 1006


def test_a_message_beyond_the_limit_ends_the_connection():
    async def handler(connection: ServerConnection) -> None:
        await connection.send("x" * (MESSAGE_BYTES_MAX + 1))
        await connection.wait_closed()

    async def client(url: str):
        async with open_socket(url) as socket:
            with pytest.raises(SocketClosed) as closed:
                await socket.receive()
        return closed.value.code

    assert against(handler, client) == 1009


def test_nobody_there_is_one_sentence():
    async def client():
        async with open_socket("ws://127.0.0.1:1/crypto"):
            pytest.fail("nobody listens on port 1")

    with pytest.raises(SocketUnreachable, match=r"cannot connect to ws://127\.0\.0\.1:1/crypto: "):
        asyncio.run(client())


def test_an_address_that_is_none_is_an_error_of_whoever_asks():
    async def client():
        async with open_socket("https://127.0.0.1:1/crypto"):
            pytest.fail("this is no address of a websocket")

    with pytest.raises(UsageError, match="write ws:// or wss://"):
        asyncio.run(client())


def test_a_slow_reader_makes_the_sender_wait_and_loses_nothing():
    # Messages are as large as 700 minutes; what is sent and not read is what the sockets of the machine hold,
    # the sender's own buffer, and our few frames.
    size, count = 100_000, 400
    sent = 0

    async def handler(connection: ServerConnection) -> None:
        nonlocal sent
        for number in range(count):
            await connection.send(f"{number:06d}" + "x" * size)
            sent += 1
        await connection.wait_closed()

    async def client(url: str):
        async with open_socket(url) as socket:
            first = await socket.receive()
            await asyncio.sleep(1.0)  # which passes once the sender waits too
            stood_at = sent
            rest = [await socket.receive() for _ in range(count - 1)]
        return stood_at, [int(message[:6]) for message in [first, *rest]]

    stood_at, numbers = against(handler, client)
    assert stood_at < count / 2
    assert numbers == list(range(count))

"""Local servers of HTTP on a free port of the loopback: in the loop of the test, or in a thread of its process."""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

from aiohttp import web

_DEADLINE = 120.0

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def served_here(answer: Answer) -> AsyncIterator[str]:
    """The URL of a server that gives every request to `answer`, in the loop that runs."""
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@contextmanager
def served(answer: Answer) -> Iterator[str]:
    """The same in a thread, until the end of the block."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="local server", daemon=True)
    thread.start()
    serving = served_here(answer)
    try:
        url = asyncio.run_coroutine_threadsafe(serving.__aenter__(), loop).result(_DEADLINE)
        try:
            yield url
        finally:
            asyncio.run_coroutine_threadsafe(serving.__aexit__(None, None, None), loop).result(_DEADLINE)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(_DEADLINE)
        loop.close()

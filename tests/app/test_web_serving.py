"""How the web server serves, seen from inside its process."""

import asyncio
import gc
import signal

import httpx

from crypto_tracker.app.web import address_of, listen, serve
from tests.desk.served import application

SECONDS = 20.0


def test_what_is_loaded_is_left_out_of_collections_while_it_serves() -> None:
    async def story() -> None:
        with listen("127.0.0.1", 0) as listening:
            serving = asyncio.create_task(serve(application(), listening))
            async with asyncio.timeout(SECONDS), httpx.AsyncClient() as client:
                answer = await client.get(f"{address_of(listening, '127.0.0.1')}api/v1/ping")
                assert answer.status_code == 200
                assert gc.get_freeze_count() > 10_000
                signal.raise_signal(signal.SIGTERM)
                await serving

    asyncio.run(story())
    assert gc.get_freeze_count() == 0

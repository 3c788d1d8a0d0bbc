import asyncio
import logging
import re
import traceback

import httpx
import pytest
from pydantic import SecretStr

from crypto_tracker.core.errors import (
    NotEntitled,
    ProviderRefused,
    ProviderUnavailable,
    UnknownToProvider,
    UsageError,
)
from crypto_tracker.net.breaker import LeftAlone
from crypto_tracker.net.gate import Gate, Urgency, through
from crypto_tracker.net.http import Answer, HttpClient, seconds_to_wait
from crypto_tracker.net.limits import RateLimit
from crypto_tracker.net.retry import Transient
from tests import virtual_time
from tests.net.patience import fetching

KEY = "sesame-0123456789-open"


class Provider:
    """Answers with these, one after the other, the last one for ever; notes when it was asked."""

    def __init__(self, *answers: object) -> None:
        self.answers = list(answers)
        self.moments: list[float] = []
        self.requests: list[httpx.Request] = []

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        self.moments.append(asyncio.get_running_loop().time())
        self.requests.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        if callable(answer):
            return await answer()
        return answer


def client_of(provider: Provider, limit: RateLimit | None = None, **patience: object) -> HttpClient:
    return HttpClient(
        "https://api.example",
        limit=limit or RateLimit(1000.0, 1000),
        fetching=fetching(**({"attempts": 3, "wait_seconds": 1.0} | patience)),
        name="massive",
        headers={"Authorization": SecretStr(f"Bearer {KEY}")},
        key_variable="MASSIVE_API_KEY",
        transport=httpx.MockTransport(provider),
    )


def asked(provider: Provider, path: str = "/v2/bars", **patience: object) -> Answer:
    async def scene() -> Answer:
        client = client_of(provider, **patience)
        try:
            return await client.get(path, {"limit": 5})
        finally:
            await client.close()

    return virtual_time.run(scene())


def failure(provider: Provider, **patience: object) -> Exception:
    with pytest.raises(Exception) as caught:
        asked(provider, **patience)
    return caught.value


def ok(content: bytes = b"{}") -> httpx.Response:
    return httpx.Response(200, content=content, headers={"X-Page": "1"})


def test_an_answer_carries_status_headers_and_body():
    provider = Provider(ok(b"bars"))
    answer = asked(provider)
    assert (answer.status, answer.headers["x-page"], answer.content) == (200, "1", b"bars")
    request = provider.requests[0]
    assert str(request.url) == "https://api.example/v2/bars?limit=5"
    assert request.headers["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("key", [f"{KEY}\n", f"{KEY}\r\nX-Other: 1", f"{KEY}€"])
def test_a_key_that_can_be_none_is_refused_before_anything_is_asked(key):
    with pytest.raises(UsageError) as caught:
        HttpClient(
            "https://api.example",
            limit=RateLimit(1.0),
            fetching=fetching(),
            name="massive",
            headers={"Authorization": SecretStr(f"Bearer {key}")},
            key_variable="MASSIVE_API_KEY",
        )
    assert str(caught.value) == (
        "the key in MASSIVE_API_KEY has a character that no key has, such as a line break: copy it once more"
    )


def test_a_path_with_a_query_of_its_own_keeps_it():
    provider = Provider(ok())

    async def scene():
        client = client_of(provider)
        await client.get("/v2/aggs/X:BTCUSD?cursor=bGltaXQ9Mg%3D%3D")
        await client.close()

    virtual_time.run(scene())
    assert str(provider.requests[0].url) == "https://api.example/v2/aggs/X:BTCUSD?cursor=bGltaXQ9Mg%3D%3D"


async def _never() -> httpx.Response:
    await asyncio.sleep(1e6)
    return ok()


@pytest.mark.parametrize(
    ("trouble", "clause"),
    [
        (httpx.ConnectError("refused"), "the connection to massive failed: refused"),
        (httpx.ReadError(""), "the connection to massive failed: ReadError"),
        (httpx.RemoteProtocolError("peer closed"), "the connection to massive failed: peer closed"),
        (httpx.ReadTimeout("slow"), "massive gave no whole answer within 30 s"),
        (_never, "massive gave no whole answer within 30 s"),
        (httpx.DecodingError("bad gzip"), "massive sent an answer that cannot be unpacked: bad gzip"),
        (httpx.Response(500), "massive answered with status 500"),
        (httpx.Response(502, text="<html>Bad Gateway</html>"), "massive answered with status 502"),
        (httpx.Response(503, json={"error": "down"}), 'massive answered with status 503 (it says: "down")'),
        (
            httpx.Response(429, json={"error": "slow down"}),
            'massive was asked too often (it says: "slow down")',
        ),
        (httpx.Response(408), "massive answered with status 408"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_may_pass_is_tried_again_and_then_said(trouble, clause):
    provider = Provider(trouble, ok(b"at last"))
    assert asked(provider).content == b"at last"
    assert len(provider.moments) == 2
    error = failure(Provider(trouble))
    assert type(error) is ProviderUnavailable
    assert re.sub(r" in \d+ s failed", " failed", str(error)) == (
        f"{clause}; all 3 attempts failed, try again later"
    )


@pytest.mark.parametrize(
    ("answer", "kind", "sentence"),
    [
        (
            httpx.Response(401, json={"status": "ERROR", "error": "Unknown API Key"}),
            ProviderRefused,
            'massive does not accept the key in MASSIVE_API_KEY: put the right one there (it says: "Unknown API Key")',
        ),
        (
            httpx.Response(
                403, json={"status": "NOT_AUTHORIZED", "message": "Your plan\n doesn't include this."}
            ),
            NotEntitled,
            'massive does not give this to the plan of the key: ask for less, or change the plan (it says: "Your plan doesn\'t include this.")',
        ),
        (httpx.Response(404, text="404 page not found"), UnknownToProvider, "massive does not know /v2/bars"),
        (
            httpx.Response(400, json={"error": "bad limit"}),
            ProviderRefused,
            'massive refuses /v2/bars with status 400 (it says: "bad limit")',
        ),
        (
            httpx.Response(302, headers={"location": "https://elsewhere.example"}),
            ProviderRefused,
            "massive refuses /v2/bars with status 302",
        ),
        (httpx.Response(400, json=["odd"]), ProviderRefused, "massive refuses /v2/bars with status 400"),
    ],
)
def test_what_does_not_pass_is_said_at_once(answer, kind, sentence):
    provider = Provider(answer)
    error = failure(provider)
    assert type(error) is kind
    assert str(error) == sentence
    assert len(provider.moments) == 1


def test_retry_after_in_seconds_is_obeyed():
    provider = Provider(httpx.Response(429, headers={"Retry-After": "7"}), ok())
    asked(provider)
    assert provider.moments == pytest.approx([0.0, 7.0])


def test_retry_after_as_a_date_is_obeyed_by_the_clock_of_the_provider():
    headers = {"Retry-After": "Wed, 21 Oct 2026 07:28:09 GMT", "Date": "Wed, 21 Oct 2026 07:28:00 GMT"}
    provider = Provider(httpx.Response(503, headers=headers), ok())
    asked(provider)
    assert provider.moments == pytest.approx([0.0, 9.0])


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:09 GMT"}, None),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:09 GMT", "date": "Wed, 21 Oct 2026 07:28:19 GMT"}, 0.0),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:09", "date": "Wed, 21 Oct 2026 07:28:00 GMT"}, None),
        ({"retry-after": " 0 "}, 0.0),
        ({"retry-after": "9" * 400}, 1e9),
        ({"retry-after": "9" * 5_000}, 1e9),
        (
            {"retry-after": f"Wed, 21 Oct {'9' * 30} 07:28:09 GMT", "date": "Wed, 21 Oct 2026 07:28:00 GMT"},
            None,
        ),
    ],
)
def test_what_retry_after_can_say(headers, seconds):
    assert seconds_to_wait(headers) == seconds


async def outcome(client: HttpClient, path: str) -> str:
    try:
        await client.get(path)
    except LeftAlone as error:
        return str(error)
    return "done"


def told_to_wait(seconds: str) -> tuple[list[str], list[float]]:
    """What comes of a request that is told to wait, of one a second later, and of one when it is over."""

    async def scene():
        provider = Provider(httpx.Response(429, headers={"Retry-After": seconds}), ok())
        client = client_of(provider, wait_max_seconds=30.0)
        first = asyncio.create_task(outcome(client, "/first"))
        await asyncio.sleep(1.0)
        outcomes = [await outcome(client, "/second"), await first]
        await asyncio.sleep(max(min(float(seconds), 900.0) - asyncio.get_running_loop().time(), 0.0))
        outcomes.append(await outcome(client, "/third"))
        await client.close()
        return outcomes, provider.moments

    return virtual_time.run(scene())


def test_a_short_wait_holds_everybody():
    outcomes, moments = told_to_wait("20")
    assert outcomes == ["done"] * 3
    assert moments == pytest.approx([0.0, 20.0, 20.0, 20.0], abs=0.01)


def test_a_long_wait_turns_everybody_away_at_once_also_who_was_told_so():
    outcomes, moments = told_to_wait("90")
    why = "massive was asked too often and wants to be left alone for 90 s"
    assert outcomes == [
        f"massive is left alone for another 89 s: {why}",
        f"massive is left alone for another 90 s: {why}",
        "done",
    ]
    assert moments == pytest.approx([0.0, 90.0], abs=0.01)


def test_nobody_is_left_alone_for_longer_than_a_quarter_of_an_hour_and_that_is_said():
    outcomes, moments = told_to_wait("999999999")
    assert outcomes[1] == (
        "massive is left alone for another 900 s: massive was asked too often and wants to be left alone for "
        "999999999 s, and is asked again after 15 minutes"
    )
    assert moments == pytest.approx([0.0, 900.0], abs=0.01)


def test_who_waits_for_the_limit_when_the_provider_asks_for_a_long_rest_is_turned_away_too():
    async def busy() -> httpx.Response:
        await asyncio.sleep(5.0)
        return httpx.Response(429, headers={"Retry-After": "600"})

    async def scene():
        provider = Provider(busy)
        client = client_of(provider, RateLimit(0.1), wait_max_seconds=30.0)
        outcomes = await asyncio.gather(*(outcome(client, f"/{number}") for number in range(3)))
        took = asyncio.get_running_loop().time()
        await client.close()
        return outcomes, provider.moments, took

    outcomes, moments, took = virtual_time.run(scene())
    assert all("is left alone for another" in each for each in outcomes)
    assert (moments, took) == ([0.0], pytest.approx(20.0))


def test_a_place_at_the_gate_is_held_for_one_request_and_not_while_it_waits_for_another_attempt():
    async def scene():
        provider = Provider(*(httpx.Response(503, headers={"Retry-After": "25"}) for _ in range(2)), ok())
        client, gate = client_of(provider), Gate(1)

        async def years() -> None:
            with through(gate, Urgency.SOMETIME):
                await client.get("/years")

        waiting = asyncio.create_task(years())
        await asyncio.sleep(1.0)
        async with gate.turn(Urgency.NOW):
            free_at = asyncio.get_running_loop().time()
        await waiting
        await client.close()
        return free_at

    assert virtual_time.run(scene()) == pytest.approx(1.0)


def test_what_is_urgent_waits_for_no_more_than_one_request_of_what_is_not():
    """A chunk of years makes thirty requests of a minute each, one after the other."""

    async def minute() -> httpx.Response:
        await asyncio.sleep(60.0)
        return httpx.Response(200, json={})

    async def scene():
        client, gate = client_of(Provider(minute), timeout_seconds=90.0), Gate(1)

        async def years() -> None:
            with through(gate, Urgency.SOMETIME):
                for page in range(30):
                    await client.get(f"/{page}")

        waiting = asyncio.create_task(years())
        await asyncio.sleep(90.0)
        with through(gate, Urgency.NOW):
            await client.get("/hole")
        took = asyncio.get_running_loop().time()
        waiting.cancel()
        await asyncio.wait([waiting])
        await client.close()
        return took

    assert virtual_time.run(scene()) == pytest.approx(180.0)  # 30 s of the other's request, 60 of its own


def test_requests_that_fail_at_every_attempt_open_the_breaker():
    provider = Provider(httpx.Response(500))

    async def scene() -> list[str]:
        client = client_of(provider, attempts=2, breaker_failures=2)
        outcomes = []
        for _ in range(4):
            try:
                await client.get("/v2/bars")
            except ProviderUnavailable as error:
                outcomes.append(type(error).__name__)
        await client.close()
        return outcomes

    assert virtual_time.run(scene()) == ["ProviderUnavailable"] * 2 + ["LeftAlone"] * 2
    assert len(provider.moments) == 4


def test_an_answer_of_no_use_is_asked_for_again_and_a_later_attempt_may_ask_for_less():
    provider = Provider(ok(b"half"), ok(b"half"), ok(b"whole"))

    def decode(answer: Answer) -> str:
        if answer.content != b"whole":
            raise Transient("massive sent half an answer")
        return "read"

    async def scene() -> str:
        client = client_of(provider)
        try:
            return await client.read(lambda attempt: ("/bars", {"limit": 100 // attempt}), decode)
        finally:
            await client.close()

    assert virtual_time.run(scene()) == "read"
    assert [request.url.params["limit"] for request in provider.requests] == ["100", "50", "33"]


def test_every_attempt_waits_for_its_turn():
    provider = Provider(httpx.Response(500), httpx.Response(500), ok())

    async def scene():
        client = client_of(provider, RateLimit(0.1), wait_seconds=0.01)
        await client.get("/v2/bars")
        await client.close()

    virtual_time.run(scene())
    assert provider.moments == pytest.approx([0.0, 10.0, 20.0])


@pytest.mark.parametrize(
    "trouble",
    [
        httpx.Response(401, json={"error": f"Unknown API Key {KEY}"}),
        httpx.Response(403, json={"message": f"no plan for Bearer {KEY}"}),
        httpx.Response(400, json={"error": KEY}),
        httpx.Response(404, json={"error": KEY}),
        httpx.Response(503, json={"error": f"{KEY} is too heavy"}),
        httpx.ConnectError(f"cannot connect with {KEY}"),
        httpx.ReadTimeout(KEY),
    ],
)
def test_the_key_appears_in_no_text(trouble, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    provider = Provider(trouble)
    client = client_of(provider)

    async def scene():
        try:
            await client.get("/v2/bars")
        finally:
            await client.close()

    with pytest.raises(Exception) as caught:
        virtual_time.run(scene())
    shown = capfd.readouterr()
    texts = [
        *(str(caught.value), repr(caught.value)),
        *("".join(traceback.format_exception(caught.value)), repr(client), repr(vars(client))),
        *(caplog.text, shown.out, shown.err),
    ]
    assert provider.requests[0].headers["authorization"] == f"Bearer {KEY}"
    for text in texts:
        assert KEY not in text

"""The OpenAPI document: every endpoint, and the messages of the live stream among its schemas."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import TypeAdapter
from pydantic.json_schema import models_json_schema

from crypto_tracker.desk.views import live
from crypto_tracker.desk.views.system import Problem
from crypto_tracker.desk.web.samples import sample

DESCRIPTION = """\
What a trader looks at, and what can be told to an account.

Every time is an integer of UTC milliseconds and ends in `_ms`; amounts are in the quote currency and end in
`_quote`; rates are fractions. What is not known is null. Lists that grow come in pages: send `next` back as
`cursor`. Errors are problem documents (RFC 9457).

The live stream is the websocket `/api/v1/ws`: one JSON text for each message. Its messages are the schemas
`StreamWish` (what a client says) and `StreamMessage` (what it is told).
"""
_TAGS = {
    "account": "How an account or a recorded run stands.",
    "trades": "Closed trades, open positions, and their sums.",
    "decisions": "What was decided, and why.",
    "market": "Strategies, prices, and what keeps from buying.",
    "control": "What people tell an account.",
    "research": "Recorded runs, targets and experiments.",
    "server": "The server, and every part behind it.",
}


def document(app: FastAPI, code_version: str) -> dict[str, Any]:
    """The document of an application."""
    made = get_openapi(
        title="crypto-tracker",
        version=code_version,
        summary="The API of crypto-tracker",
        description=DESCRIPTION,
        routes=app.routes,
        tags=[{"name": name, "description": words} for name, words in _TAGS.items()],
        license_info={"name": "MIT", "identifier": "MIT"},
        servers=[{"url": "/", "description": "this server"}],
    )
    parts = made.setdefault("components", {})
    parts["schemas"] = dict(sorted((_stream_schemas() | parts.get("schemas", {})).items()))
    for name in ("HTTPValidationError", "ValidationError"):
        parts["schemas"].pop(name, None)
    for path in made["paths"].values():
        for operation in path.values():
            _show_answers(operation, parts["schemas"])
            operation["parameters"] = [_without_null(each) for each in operation.get("parameters", [])]
    parts["securitySchemes"] = {
        "token": {
            "type": "http",
            "scheme": "bearer",
            "description": "A token of `crypto-tracker tokens create NAME --scope read|control`.",
        }
    }
    return made


def _show_answers(operation: dict[str, Any], schemas: dict[str, Any]) -> None:
    """Give each answer that is no refusal an example, and each body that has none."""
    answers = [answer for status, answer in operation["responses"].items() if status.startswith("2")]
    for each in [*answers, operation.get("requestBody", {})]:
        for content in each.get("content", {}).values():
            if "example" not in content and "examples" not in content:
                content["example"] = sample(content["schema"], schemas)


def _without_null(parameter: dict[str, Any]) -> dict[str, Any]:
    """A parameter that may be left out; in a query there is no way to write null."""
    schema = dict(parameter["schema"])
    kinds = [kind for kind in schema.pop("anyOf", []) if kind != {"type": "null"}]
    return parameter | {"schema": schema | (kinds[0] if len(kinds) == 1 else {})}


def _stream_schemas() -> dict[str, Any]:
    models = (*live.CLIENT_MESSAGES, *live.SERVER_MESSAGES, Problem)
    _, told = models_json_schema(
        [(model, "serialization") for model in models], ref_template="#/components/schemas/{model}"
    )
    wish: Any = live.StreamWish
    message: Any = live.StreamMessage
    unions = {
        name: TypeAdapter[Any](union).json_schema(
            ref_template="#/components/schemas/{model}", mode="serialization"
        )
        for name, union in (("StreamWish", wish), ("StreamMessage", message))
    }
    for union in unions.values():
        union.pop("$defs", None)
    return dict(told["$defs"]) | unions

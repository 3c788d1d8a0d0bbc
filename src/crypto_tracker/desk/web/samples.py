"""Examples of whole answers, made of the examples that the fields of their schemas declare."""

from collections.abc import Mapping, Sequence
from typing import Any

_REFERENCE = "#/components/schemas/"
_NAMED: Mapping[str, Any] = {
    "actor": "web:anna",
    "advice": "Stop what writes it, and put back a copy of the whole folder",
    "arguments": {"symbol": "ETH/USDT"},
    "base": "1m",
    "bytes": 13_676_544,
    "code_version": "1.0.0",
    "command_id": "3f2b8c0e9d7a4f61b5c2e8d90a1f7b34",
    "description": "Buys a fall of the price, and more of it the deeper it falls",
    "disk_free_bytes": 73_014_444_032,
    "docs": "docs/strategies/dca.md",
    "exit_pending": None,
    "exit_reason": "take_profit",
    "first": "DCA",
    "gate": "volume",
    "halted": None,
    "held_ms": 5_400_000,
    "holder": "collector-1",
    "host": "trader-1",
    "key": "limits.max_open",
    "kind": "close",
    "lag_ms": 61_000,
    "left_ms": 5_400_000,
    "mean_held_ms": 5_400_000,
    "memory_bytes": 16_777_216_000,
    "name": "DCA",
    "new": 20,
    "note": None,
    "off_by": "a person",
    "old": 30,
    "order_id": "ETH/USDT-DCA-20250822T120000Z-1",
    "pid": 4711,
    "process_memory_bytes": 412_876_800,
    "provider": "kraken",
    "quote": "USDT",
    "reason": "share_used",
    "regime": "normal",
    "resolution_ms": 3_600_000,
    "second": "SWING",
    "sentence": "fell only 1.4 % in 4 h, at least 2.5 % are required",
    "status": "filled",
    "strategy": "DCA",
    "tier": "mid_cap",
    "time_ms": 1_755_864_000_000,
    "timeframe": "15m",
    "token": "ct_...",
    "trade_group_id": "ETH/USDT-DCA-20250822T120000Z",
    "unit": "days",
    "why": "4 of 1,440 minutes of the last day are missing",
    "value": 20,
}
"""Of fields that have no example of their own, and mean the same wherever they stand."""

_PLAIN: Mapping[str, Any] = {"string": "text", "integer": 3, "number": 1.5, "boolean": True}


def sample(schema: Mapping[str, Any], schemas: Mapping[str, Any], within: Sequence[str] = ()) -> Any:
    """An example of what a schema describes; `within` are the names of the schemas around it.

    What may be null is shown as it is when it is known, unless that would have no end.
    """
    for given in ("example", "const", "default"):
        if schema.get(given) is not None:
            return schema[given]
    if schema.get("examples"):
        return schema["examples"][0]
    if schema.get("enum"):
        return schema["enum"][0]
    if "$ref" in schema:
        name = str(schema["$ref"]).removeprefix(_REFERENCE)
        return None if name in within else sample(schemas[name], schemas, (*within, name))
    for several in ("anyOf", "oneOf", "allOf"):
        for each in schema.get(several, ()):
            if each.get("type") != "null":
                return sample(each, schemas, within)
    return _of_type(schema, schemas, within)


def _field(name: str, schema: Mapping[str, Any], schemas: Mapping[str, Any], within: Sequence[str]) -> Any:
    """The example of a field: its own, else that of its name, else any of its type."""
    if name in _NAMED and not _declares(schema):
        return [_NAMED[name]] if schema.get("type") == "array" else _NAMED[name]
    return sample(schema, schemas, within)


def _declares(schema: Mapping[str, Any]) -> bool:
    """Whether a schema says itself what something of it may look like."""
    if any(each in schema for each in ("$ref", "const", "enum", "example", "examples")):
        return True
    inner = [*schema.get("anyOf", ()), *([schema["items"]] if schema.get("items") else ())]
    return any(map(_declares, inner))


def _of_type(schema: Mapping[str, Any], schemas: Mapping[str, Any], within: Sequence[str]) -> Any:
    kind = schema.get("type")
    if kind == "object":
        fields = schema.get("properties", {})
        found = {name: _field(name, each, schemas, within) for name, each in fields.items()}
        more = schema.get("additionalProperties")
        return found | ({"name": sample(more, schemas, within)} if isinstance(more, dict) else {})
    if kind == "array":
        item = sample(schema.get("items", {}), schemas, within)
        return [] if item is None else [item]
    least = schema.get("minimum")
    plain = _PLAIN.get(str(kind))
    return plain if least is None or plain is None else max(plain, least)

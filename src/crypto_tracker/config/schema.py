"""The JSON schema of configuration files, for editors that complete and check them."""

import re
import tomllib
from collections.abc import Mapping
from typing import Any

from crypto_tracker.config.keys import Key, line_numbers
from crypto_tracker.config.tree import configuration_model, defaults
from crypto_tracker.core.model import Frozen

_REMARK = re.compile(r"\s#\s(?P<text>.+)$")


def file_schema(strategies: Mapping[str, type[Frozen]]) -> dict[str, Any]:
    """The schema of a file: every key may be left out, and says what it means and what its default is.

    `strategies` maps the names of strategies to their models of parameters.
    """
    text = defaults().text
    tree = configuration_model(strategies).model_json_schema(mode="validation")
    definitions = tree.pop("$defs", {})
    schema = _described(_whole(tree, definitions), tomllib.loads(text), remarks(text), ())
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "Configuration of crypto-tracker"
    return schema


def remarks(text: str) -> dict[Key, str]:
    r"""The comment behind each key or table of a TOML text.

    >>> remarks("[trading]\nquote = 'USD' # the currency")
    {('trading', 'quote'): 'the currency'}
    """
    lines = text.splitlines()
    found = {}
    for key, number in line_numbers(text).items():
        if remark := _REMARK.search(lines[number - 1]):
            found[key] = remark["text"].strip()
    return found


def _whole(node: Any, definitions: Mapping[str, Any]) -> Any:
    """The node with every reference replaced by what it refers to, and nothing required."""
    if isinstance(node, list):
        return [_whole(item, definitions) for item in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        target = definitions[node["$ref"].removeprefix("#/$defs/")]
        return _whole(
            {**target, **{name: value for name, value in node.items() if name != "$ref"}}, definitions
        )
    return {
        name: _whole(value, definitions)
        for name, value in node.items()
        if name != "required" and not (name == "title" and isinstance(value, str))
    }


def _described(node: dict[str, Any], default: Any, said: Mapping[Key, str], key: Key) -> dict[str, Any]:
    """The node with the default and the comment of each key."""
    described = dict(node)
    if key in said:
        described["description"] = said[key]
    if "properties" in node:
        described.pop("default", None)
        described["properties"] = {
            name: _described(
                inside, default.get(name) if isinstance(default, dict) else None, said, (*key, name)
            )
            for name, inside in node["properties"].items()
        }
    elif default is not None:
        described["default"] = default
    return described

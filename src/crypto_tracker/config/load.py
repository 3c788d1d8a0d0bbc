"""From layers to one validated tree: defaults < file < environment < command line.

Everything here is a function of its arguments: who reads files and the environment is `app`.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ValidationError

from crypto_tracker.config.fields import is_secret
from crypto_tracker.config.keys import Key, dotted
from crypto_tracker.config.layers import (
    Merged,
    TextFile,
    environment_settings,
    file_settings,
    merge,
    option_settings,
)
from crypto_tracker.config.origin import Origin, OriginKind
from crypto_tracker.core.errors import ConfigError
from crypto_tracker.core.model import Frozen

TreeT = TypeVar("TreeT", bound=Frozen)


@dataclass(frozen=True, slots=True)
class Loaded(Generic[TreeT]):
    """A validated tree, and for every value the place that set it."""

    tree: TreeT
    origins: Mapping[Key, Origin]

    def origin(self, key: Key) -> Origin:
        """Who set `key`; values that a plug-in's own model supplies come from the plug-in."""
        for length in range(len(key), 0, -1):
            if key[:length] in self.origins:
                return self.origins[key[:length]]
        return Origin(OriginKind.PLUGIN, "default of the plug-in")


def load(
    tree: type[TreeT],
    *,
    defaults: TextFile,
    file: TextFile | None,
    environment: Mapping[str, str],
    assignments: Sequence[str],
) -> Loaded[TreeT]:
    """Build the tree from its layers.

    Parameters
    ----------
    tree : the model to build
    defaults, file : TOML texts; `file` is what a person wrote, None where there is none
    environment : all variables of the process; those named CRYPTO_TRACKER__SECTION__KEY count
    assignments : `section.key=value`, from the command line, later ones win

    Raises
    ------
    ConfigError
        For unknown keys and wrong values: one sentence for each, with key, value, expectation and place.
    """
    layers = [
        file_settings(defaults, OriginKind.DEFAULTS),
        [] if file is None else file_settings(file, OriginKind.FILE),
        environment_settings(environment, tree),
        option_settings(assignments, tree),
    ]
    merged = merge(layers, tree)
    try:
        # Strict, from JSON: text is no number, 1 is no boolean; but arrays may become tuples, text an enum.
        built = tree.model_validate_json(json.dumps(merged.table, default=_json_time), strict=True)
    except ValidationError as error:
        raise ConfigError("\n".join(_sentences(error, merged, tree))) from None
    return Loaded(built, merged.origins)


def values(loaded: Loaded[TreeT]) -> dict[Key, Any]:
    """Every value of the tree as JSON knows it, by key; secrets are stars, what nobody set is left out."""
    found: dict[Key, Any] = {}

    def collect(node: Any, key: Key) -> None:
        if isinstance(node, dict) and node:
            for name, value in node.items():
                collect(value, (*key, name))
        elif node is not None:
            found[key] = node

    collect(loaded.tree.model_dump(mode="json"), ())
    return found


def _json_time(value: object) -> str:
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    raise ConfigError(f"a value of type {type(value).__name__} cannot stand in a configuration")


def _sentences(error: ValidationError, merged: Merged, tree: type[BaseModel]) -> list[str]:
    """What is wrong, one sentence a finding."""
    sentences = []
    for finding in error.errors(include_url=False, include_context=False):
        key, found = _place(finding["loc"], merged.table)
        if finding["type"] == "missing":
            sentences.append(f"{dotted(tuple(str(part) for part in finding['loc']))} is missing: set it")
            continue
        expectation = finding["msg"].removeprefix("Value error, ").replace("Input should be", "expected")
        if finding["type"] == "value_error" and isinstance(found, dict):
            sentences.append(f"{dotted(key)}: {expectation} ({_places(key, merged)})")
            continue
        shown = "a secret value" if is_secret(tree, key) else json.dumps(found, default=str)
        sentences.append(f"{dotted(key)} is {shown} ({_places(key, merged)}): {expectation}")
    return sentences


def _place(loc: tuple[int | str, ...], table: Mapping[str, Any]) -> tuple[Key, Any]:
    """The longest part of pydantic's location that is a key of the table, and what stands there."""
    key: list[str] = []
    node: Any = table
    for part in loc:
        if isinstance(node, dict) and part in node:
            node = node[part]
            key.append(str(part))
        else:
            break
    return tuple(key), node


def _places(key: Key, merged: Merged) -> str:
    """Who set `key`; for a table those who changed it, or its defaults."""
    inside = {origin: None for at, origin in merged.origins.items() if at[: len(key)] == key[: len(at)]}
    changed = [origin for origin in inside if origin.kind is not OriginKind.DEFAULTS]
    return ", ".join(str(origin) for origin in (changed or list(inside)))

"""The configuration version: a name for all the values that change trades."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from crypto_tracker.config.fields import changes_trades

VERSION_LENGTH = 12  # hexadecimal digits: enough to tell apart as many configurations as people can try


def canonical(tree: BaseModel) -> str:
    """All values that change trades, as JSON with sorted keys and no spaces.

    Secrets, paths and values marked `NoTrade` are left out: a trade made under another password or another
    folder is the same trade.
    """
    document = _what_changes_trades(tree, tree.model_dump(mode="json"))
    return json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)


def version(tree: BaseModel) -> str:
    """The first digits of the SHA-256 of the canonical form."""
    return hashlib.sha256(canonical(tree).encode()).hexdigest()[:VERSION_LENGTH]


def _what_changes_trades(node: Any, dumped: Any) -> Any:
    if isinstance(node, BaseModel):
        return {
            name: _what_changes_trades(getattr(node, name), dumped[name])
            for name, field in type(node).model_fields.items()
            if changes_trades(field)
        }
    if isinstance(node, Mapping):
        return {name: _what_changes_trades(value, dumped[name]) for name, value in node.items()}
    return dumped

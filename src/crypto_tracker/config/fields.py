"""What a tree of pydantic models says of its own keys: their names, types, secrets and marks."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import PurePath
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, SecretBytes, SecretStr
from pydantic.fields import FieldInfo


@dataclass(frozen=True, slots=True)
class NoTrade:
    """Marks a value that changes no trade, and says why; it is no part of the configuration version."""

    why: str


def known_keys(place: Any) -> tuple[str, ...] | None:
    """The keys that a place of the tree has; None where any key may stand, or where there is a value."""
    model = _model(place)
    return None if model is None else tuple(model.model_fields)


def step_into(place: Any, name: str) -> Any:
    """The type found under `name`; None below values and unknown keys."""
    model = _model(place)
    if model is not None:
        field = model.model_fields.get(name)
        return None if field is None else _bare(field.annotation)
    bare = _bare(place)
    if get_origin(bare) in (dict, Mapping):
        return _bare(get_args(bare)[1])
    return None


def takes_text(tree: type[BaseModel], key: tuple[str, ...]) -> bool:
    """Whether the value of `key` is text, so that `12` and `true` must be taken literally."""
    place: Any = tree
    for part in key:
        place = step_into(place, part)
    return place is not None and all(_is_text(option) for option in _options(place))


def changes_trades(field: FieldInfo) -> bool:
    """Whether a field belongs to the configuration version: all but secrets, paths, and `NoTrade` marks."""
    if any(isinstance(mark, NoTrade) for mark in field.metadata):
        return False
    return not any(_is_secret(option) or _is_path(option) for option in _options(_bare(field.annotation)))


def is_secret(tree: type[BaseModel], key: tuple[str, ...]) -> bool:
    """Whether the value of `key`, or anything in it, must never be shown."""
    place: Any = tree
    for part in key:
        place = step_into(place, part)
    return place is not None and any(_is_secret(option) for option in _options(place))


def _bare(annotation: Any) -> Any:
    """The annotation without `Annotated`, and without `None` where that is all that is left over."""
    while get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    options = _options(annotation)
    if len(options) == 1 and options[0] is not annotation:
        return _bare(options[0])
    return annotation


def _options(annotation: Any) -> tuple[Any, ...]:
    """The members of a union without None; a type by itself is its only member."""
    if get_origin(annotation) in (Union, UnionType):
        return tuple(_bare(option) for option in get_args(annotation) if option is not type(None))
    return (annotation,)


def _model(place: Any) -> type[BaseModel] | None:
    bare = _bare(place)
    return bare if isinstance(bare, type) and issubclass(bare, BaseModel) else None


def _is_secret(option: Any) -> bool:
    if isinstance(option, type):
        return issubclass(option, SecretStr | SecretBytes)
    return any(_is_secret(_bare(argument)) for argument in get_args(option))


def _is_path(option: Any) -> bool:
    return isinstance(option, type) and issubclass(option, PurePath)


def _is_text(option: Any) -> bool:
    if get_origin(option) is Literal:
        return all(isinstance(value, str) for value in get_args(option))
    if not isinstance(option, type):
        return False
    if issubclass(option, Enum):
        return all(isinstance(member.value, str) for member in option)
    return issubclass(option, str | SecretStr | PurePath)

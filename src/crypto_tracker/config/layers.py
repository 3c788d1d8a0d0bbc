"""The layers of a configuration: texts, environment and options become one table with origins."""

import difflib
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from crypto_tracker.config.fields import known_keys, step_into, takes_text
from crypto_tracker.config.keys import Key, dotted, line_numbers, parse_key
from crypto_tracker.config.origin import Origin, OriginKind
from crypto_tracker.core.errors import ConfigError

ENVIRONMENT_PREFIX = "CRYPTO_TRACKER__"

Table = dict[str, Any]  # a TOML table: its values are whatever a person wrote, until the tree accepts them


@dataclass(frozen=True, slots=True)
class TextFile:
    """A file that has been read: how people call it, and what it says."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Setting:
    """One value for one key, and who set it."""

    key: Key
    value: Any
    origin: Origin


@dataclass(frozen=True, slots=True)
class Merged:
    """All layers laid over each other: the values, and the origin of every leaf."""

    table: Table
    origins: Mapping[Key, Origin]


def file_settings(file: TextFile, kind: OriginKind) -> list[Setting]:
    """Every leaf of a TOML file; raises ConfigError where it is not TOML."""
    try:
        document = tomllib.loads(file.text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{file.name} is not valid TOML: {error}") from None
    lines = line_numbers(file.text)

    def line_of(key: Key) -> int | None:
        return next((lines[key[:n]] for n in range(len(key), 0, -1) if key[:n] in lines), None)

    return [
        Setting(key, value, Origin(kind, file.name, None if kind is OriginKind.DEFAULTS else line_of(key)))
        for key, value in _leaves(document)
    ]


def environment_settings(environment: Mapping[str, str], tree: type[BaseModel]) -> list[Setting]:
    """Values of variables named CRYPTO_TRACKER__SECTION__KEY; upper and lower case mean the same."""
    settings = []
    for name in sorted(environment):
        if not name.upper().startswith(ENVIRONMENT_PREFIX):
            continue
        origin = Origin(OriginKind.ENVIRONMENT, name)
        key = _as_the_tree_spells(tuple(name[len(ENVIRONMENT_PREFIX) :].split("__")), tree)
        settings.append(Setting(key, _scalar(environment[name], key, tree), origin))
    return settings


def option_settings(assignments: Sequence[str], tree: type[BaseModel]) -> list[Setting]:
    """Values of options `section.key=value`."""
    settings = []
    for assignment in assignments:
        text, equals, value = assignment.partition("=")
        if not equals:
            raise ConfigError(f"--set {assignment!r} sets nothing: write --set section.key=value")
        key = parse_key(text.strip())
        settings.append(
            Setting(
                key,
                _scalar(value.strip(), key, tree),
                Origin(OriginKind.COMMAND_LINE, f"--set {dotted(key)}"),
            )
        )
    return settings


def merge(layers: Sequence[Sequence[Setting]], tree: type[BaseModel]) -> Merged:
    """Lay later layers over earlier ones, key by key; arrays are replaced as a whole.

    Raises ConfigError with a sentence for every unknown key: where it stands, and which key is nearest.
    """
    table: Table = {}
    origins: dict[Key, Origin] = {}
    unknown: list[str] = []
    for setting in (setting for layer in layers for setting in layer):
        complaint = _complaint(setting, tree)
        if complaint is not None:
            unknown.append(complaint)
            continue
        node = table
        for depth, part in enumerate(setting.key[:-1], start=1):
            child = node.setdefault(part, {})
            if not isinstance(child, dict):  # a value where others say it is a table: the stronger layer wins
                origins.pop(setting.key[:depth], None)
                child = node[part] = {}
            node = child
        if setting.value == {} and isinstance(node.get(setting.key[-1]), dict):
            continue  # an empty table adds nothing
        if setting.key[-1] in node:
            for key in [key for key in origins if key[: len(setting.key)] == setting.key]:
                del origins[key]
        node[setting.key[-1]] = setting.value
        origins[setting.key] = setting.origin
    if unknown:
        raise ConfigError("\n".join(unknown))
    return Merged(table, origins)


def _leaves(table: Mapping[str, Any], above: Key = ()) -> Iterator[tuple[Key, Any]]:
    """Every value that is not a table, and every empty table, with its key."""
    for name, value in table.items():
        key = (*above, name)
        if isinstance(value, dict) and value:
            yield from _leaves(value, key)
        else:
            yield key, value


def _scalar(text: str, key: Key, tree: type[BaseModel]) -> Any:
    """A value from outside TOML: read as TOML where it is that, else the text itself."""
    try:
        value = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    if len(value) != 1 or (takes_text(tree, key) and not isinstance(value["value"], str)):
        return text
    return value["value"]


def _as_the_tree_spells(key: Key, tree: type[BaseModel]) -> Key:
    """The key with each part in the spelling of the tree, where it differs only by case."""
    place: Any = tree
    spelled: list[str] = []
    for part in key:
        names = known_keys(place)
        same = [name for name in names or () if name.casefold() == part.casefold()]
        name = same[0] if same else part
        if not same and not spelled:
            name = part.lower()
        spelled.append(name)
        place = step_into(place, name)
    return tuple(spelled)


def _complaint(setting: Setting, tree: type[BaseModel]) -> str | None:
    """A sentence if the tree does not know the key, with the key that was probably meant."""
    place: Any = tree
    for depth, part in enumerate(setting.key):
        names = known_keys(place)
        if names is None:
            return None  # an open table, or a value: its type is judged later
        if part not in names:
            above = setting.key[:depth]
            wrong = dotted(setting.key[: depth + 1])
            advice = _advice(part, above, names, setting.key[depth:], tree)
            return f"unknown key {wrong} ({setting.origin}): {advice}"
        place = step_into(place, part)
    return None


def _advice(part: str, above: Key, names: Sequence[str], rest: Key, tree: type[BaseModel]) -> str:
    spellings = {name.casefold(): name for name in reversed(names)}
    near = difflib.get_close_matches(part.casefold(), spellings, n=1, cutoff=0.6)
    if near:
        return f"did you mean {dotted((*above, spellings[near[0]]))}?"
    everywhere = {key[-1].casefold(): key for key in reversed(list(all_keys(tree)))}
    elsewhere = difflib.get_close_matches(rest[-1].casefold(), everywhere, n=1, cutoff=0.8)
    if elsewhere:
        return f"did you mean {dotted(everywhere[elsewhere[0]])}?"
    place = dotted(above) if above else "the configuration"
    return f"{place} knows {', '.join(names)}"


def all_keys(tree: type[BaseModel], above: Key = ()) -> Iterator[Key]:
    """Every key that the tree itself names; what a person names in open tables is not among them."""
    for name in known_keys(tree) or ():
        inside = step_into(tree, name)
        if isinstance(inside, type) and issubclass(inside, BaseModel):
            yield from all_keys(inside, (*above, name))
        else:
            yield (*above, name)

"""The parameters that a search may change: keys of the configuration with ranges or lists of values."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from random import Random
from typing import Any

from crypto_tracker.config.keys import Key, dotted, parse_key
from crypto_tracker.config.tree import Configuration
from crypto_tracker.config.versions import version
from crypto_tracker.core.errors import ConfigError, UsageError

Loader = Callable[[Sequence[str]], Configuration]

_RANGE = re.compile(r"(?P<low>[^:,]+):(?P<high>[^:,]+)(?::(?P<step>[^:,]+))?")
_DIGITS = 6  # of a number drawn from a range: more would pretend that they matter
_STEPS_MAX = 10_000
_ROUNDING = 1.0 + 1e-9  # 0.5 - 0.4 is a little less than 0.1

# What changes the bars that are read, or which strategies measure them; sets of one search share both.
_GATHERED: tuple[Key, ...] = (
    ("trading", "reference"),
    ("trading", "quote"),
    ("trading", "strategies"),
    ("universe", "symbols"),
    ("universe", "groups"),
    ("market_data",),
    ("protection", "slow_regime"),
    ("fills", "trailing_range_days"),
    ("fills", "source"),
    ("fills", "book_max_age_seconds"),
)
_DAYS: Key = ("trading", "timezone")
_SCANS_ONLY: Key = ("decisions",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """A closed list of values, as text."""

    key: Key
    values: tuple[str, ...]

    def draw(self, random: Random) -> str:
        """One of them."""
        return random.choice(self.values)


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """Numbers from low to high, both included where the step meets them; whole ones where `whole`."""

    key: Key
    low: float
    high: float
    step: float | None
    whole: bool

    @property
    def values(self) -> tuple[str, ...]:
        """All of them; raises UsageError where there is no step."""
        if self.step is None:
            raise UsageError(
                f"--space {dotted(self.key)}={self.low:g}:{self.high:g} has no step, which a grid needs: "
                "write low:high:step, or search with --method random"
            )
        return tuple(self.text(self.low + step * self.step) for step in range(self.steps + 1))

    @property
    def steps(self) -> int:
        """How many steps fit; 0 where there is no step."""
        return 0 if self.step is None else int((self.high - self.low) / self.step * _ROUNDING)

    def text(self, number: float) -> str:
        """A number as an assignment writes it."""
        return str(round(number)) if self.whole else repr(round(number, 12))

    def draw(self, random: Random) -> str:
        """One of them, each as likely as any other."""
        if self.step is not None:
            return self.text(self.low + random.randint(0, self.steps) * self.step)
        return self.text(float(f"{random.uniform(self.low, self.high):.{_DIGITS}g}"))


Dimension = Choices | Range
Space = tuple[Dimension, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ParameterSet:
    """One point of a space: its assignments, and the configuration that they make.

    Attributes
    ----------
    assignments : `section.key=value` in the order of the space; empty for the current configuration
    version : of the configuration; two sets of one version are the same
    document : the whole configuration as JSON
    """

    assignments: tuple[str, ...]
    version: str
    document: str


def parse_space(
    texts: Sequence[str], *, current: Mapping[Key, Any], scanning: Sequence[str], load: Loader
) -> Space:
    """Read `KEY=low:high`, `KEY=low:high:step` and `KEY=a,b,c`.

    Parameters
    ----------
    current : every value of the current configuration by key, for the types of ranges
    scanning : the strategies that take part
    load : makes the configuration of some assignments, or raises ConfigError

    Raises
    ------
    UsageError, ConfigError
        For what is no space, keys that there are not, values of the wrong type, and keys that a search cannot
        change: what they change is shared by all of its parameter sets, or is no trade.
    """
    if not texts:
        raise UsageError("nothing to search: name parameters with --space KEY=low:high:step or KEY=a,b,c")
    base = version(load(()))
    space = tuple(_dimension(text, current) for text in texts)
    keys = [dimension.key for dimension in space]
    for dimension in space:
        name = dotted(dimension.key)
        if keys.count(dimension.key) > 1:
            raise UsageError(f"--space names {name} twice: give it one range or list")
        versions = set()
        for value in _ends(dimension):
            try:
                versions.add(version(load([f"{name}={value}"])))
            except ConfigError as error:
                raise ConfigError(str(error).replace(f"--set {name}", f"--space {name}")) from None
        _refuse_what_is_shared(dimension.key, scanning)
        if versions == {base}:
            raise UsageError(f"--space {name}: it changes no trade, so there is nothing to search")
    return space


def point(space: Space, values: Iterable[str], load: Loader) -> ParameterSet:
    """The parameter set with these values; raises ConfigError where they do not go together."""
    return parameter_set(
        [f"{dotted(dimension.key)}={value}" for dimension, value in zip(space, values, strict=True)], load
    )


def parameter_set(assignments: Sequence[str], load: Loader) -> ParameterSet:
    """The parameter set of some assignments; of none, the current configuration."""
    configuration = load(assignments)
    return ParameterSet(
        assignments=tuple(assignments),
        version=version(configuration),
        document=configuration.model_dump_json(),
    )


def distinct(sets: Iterable[ParameterSet]) -> Iterator[ParameterSet]:
    """Each configuration once, in the order in which it comes first."""
    seen: set[str] = set()
    for each in sets:
        if each.version not in seen:
            seen.add(each.version)
            yield each


def grid(space: Space, *, most: int) -> list[tuple[str, ...]]:
    """Every combination of values; raises UsageError where there are more than `most`."""
    axes = [dimension.values for dimension in space]
    size = 1
    for axis in axes:
        size *= len(axis)
    if size > most:
        raise UsageError(
            f"the grid has {size:,} parameter sets, more than --trials {most:,}: raise --trials, "
            "take wider steps, or search with --method random"
        )
    return list(product(*axes))


def drawn(space: Space, *, trials: int, seed: int) -> Iterator[tuple[str, ...]]:
    """Different combinations at random, until there are `trials` of them or no new one is found."""
    random = Random(seed)
    seen: set[tuple[str, ...]] = set()
    attempts = 0
    while len(seen) < trials and attempts < 100 * trials:
        attempts += 1
        values = tuple(dimension.draw(random) for dimension in space)
        if values not in seen:
            seen.add(values)
            yield values


def _dimension(text: str, current: Mapping[Key, Any]) -> Dimension:
    name, equals, given = text.partition("=")
    given = given.strip()
    if not equals or not given:
        raise UsageError(f"--space {text!r} names no values: write KEY=low:high:step or KEY=a,b,c")
    key = parse_key(name.strip())
    if any(len(other) > len(key) and other[: len(key)] == key for other in current):
        raise UsageError(f"--space {dotted(key)} is a section: name one of its values")
    span = _RANGE.fullmatch(given)
    if span is None:
        values = tuple(dict.fromkeys(value.strip() for value in given.split(",") if value.strip()))
        if len(values) < 2:
            raise UsageError(f"--space {text!r} has one value, which is no search: set it with --set")
        return Choices(key=key, values=values)
    return _range(text, key, span, current.get(key))


def _range(text: str, key: Key, span: re.Match[str], now: Any) -> Range:
    if isinstance(now, bool | str | list):
        raise UsageError(
            f"--space {text!r}: {dotted(key)} is no number but {now!r}: write its values as KEY=a,b"
        )
    parts = [part for part in span.groups() if part is not None]
    try:
        numbers = [float(part) for part in parts]
    except ValueError:
        raise UsageError(f"--space {text!r}: a range has numbers: write low:high or low:high:step") from None
    whole = isinstance(now, int) or (now is None and all(_is_whole(part) for part in parts))
    if whole and not all(_is_whole(part) for part in parts):
        raise UsageError(f"--space {text!r}: {dotted(key)} is a whole number, so its range has whole numbers")
    low, high, step = numbers[0], numbers[1], numbers[2] if len(numbers) > 2 else 1.0 if whole else None
    if not (float("-inf") < low < high < float("inf")) or (
        step is not None and not 0.0 < step <= (high - low) * _ROUNDING
    ):
        raise UsageError(
            f"--space {text!r}: low must be below high, and a step above 0 and at most as long as the range"
        )
    found = Range(key=key, low=low, high=high, step=step, whole=whole)
    if found.steps > _STEPS_MAX:
        raise UsageError(
            f"--space {text!r} has {found.steps + 1:,} values, more than {_STEPS_MAX:,}: widen the step"
        )
    return found


def _is_whole(part: str) -> bool:
    return re.fullmatch(r"\s*[+-]?\d+\s*", part) is not None


def _ends(dimension: Dimension) -> tuple[str, ...]:
    """Values that are tried for their type: all of a list, both ends of a range."""
    if isinstance(dimension, Choices):
        return dimension.values
    return dimension.text(dimension.low), dimension.text(dimension.high)


def _refuse_what_is_shared(key: Key, scanning: Sequence[str]) -> None:
    name = dotted(key)
    if any(key[: len(shared)] == shared for shared in _GATHERED):
        raise UsageError(
            f"--space {name}: it changes which bars or books are read, which all parameter sets share: "
            "hold its values against each other with one optimize for each"
        )
    if key == _DAYS:
        raise UsageError(f"--space {name}: it changes what a day is, so results could not be paired by day")
    if key[0] == _SCANS_ONLY[0]:
        raise UsageError(f"--space {name}: it changes no trade, so there is nothing to search")
    if key[0] == "strategies" and len(key) > 1 and key[1] not in scanning:
        raise UsageError(
            f"--space {name}: {key[1]} does not scan here; those that do are {', '.join(scanning)}"
        )

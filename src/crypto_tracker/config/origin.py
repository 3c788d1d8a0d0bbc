"""Where a value of the configuration came from."""

from dataclasses import dataclass
from enum import StrEnum


class OriginKind(StrEnum):
    """The layers, from the weakest to the strongest."""

    PLUGIN = "plug-in"
    DEFAULTS = "defaults"
    FILE = "file"
    ENVIRONMENT = "environment"
    COMMAND_LINE = "command line"


@dataclass(frozen=True, slots=True)
class Origin:
    """One place that set a value: the file and line, the environment variable, or the option.

    The value itself is no part of it, because it may be a secret.

    >>> str(Origin(OriginKind.FILE, "config.toml", 7))
    'config.toml line 7'
    """

    kind: OriginKind
    name: str
    line: int | None = None

    def __str__(self) -> str:
        if self.kind is OriginKind.ENVIRONMENT:
            return f"environment variable {self.name}"
        return self.name if self.line is None else f"{self.name} line {self.line}"

"""What a person can tell an account, what it would do, and what came of it."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field

from crypto_tracker.desk.views.base import Listed, Ms, Pair, Sentence, Version, View


def _whole(value: Any) -> Any:
    """JSON knows one kind of number: 3.0 is 3, and neither true nor "3" is."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


CommandKind = Literal[
    "pause",
    "resume",
    "close",
    "close_worst",
    "regime_force",
    "regime_release",
    "cooldown_clear",
    "streak_clear",
    "strategy_on",
    "strategy_off",
    "block",
    "unblock",
]
"""What can be told; a configuration is offered, and taken with it."""

Count = Annotated[int, Field(ge=0, le=1_000_000), BeforeValidator(_whole)]
Moment = Annotated[Ms, Field(ge=0, le=4_102_444_800_000), BeforeValidator(_whole)]
Argument = Annotated[str, Field(max_length=100)] | Count

CommandId = Annotated[
    str | None,
    Field(
        pattern=r"^[0-9a-f]{32}$",
        description="made by who asks, at random: sent again, it gives no second command",
        examples=["3f2b8c0e9d7a4f61b5c2e8d90a1f7b34"],
    ),
]

CommandStatus = Literal["applied", "refused", "withdrawn", "waiting"]
Danger = Annotated[
    Literal["none", "caution", "danger"],
    Field(
        description="none: only holds back; caution: changes what is traded; danger: sells, or lifts a stop"
    ),
]


class Wish(View):
    """What a person sends: nothing in it is taken for something else that it could be read as."""

    model_config = ConfigDict(strict=True)


class CommandWish(Wish):
    """A command as a person asks for it."""

    kind: Annotated[CommandKind, Field(examples=["close"])]
    arguments: Annotated[
        dict[Annotated[str, Field(max_length=40)], Argument],
        Field(
            max_length=4,
            description="`symbol` of close, cooldown_clear, block and unblock; `strategy` of streak_clear, "
            "strategy_on and strategy_off; `count` of close_worst; `regime` (normal, caution, euphoria or "
            "panic) of regime_force; nothing of the others",
            examples=[{"symbol": "ETH/USDT"}],
            default_factory=dict,
        ),
    ]
    not_before_ms: Annotated[
        Moment | None,
        Field(
            description="market time: it acts at the first minute that opens at or after it; null to act at "
            "once"
        ),
    ] = None
    command_id: CommandId = None


class CommandPreview(View):
    """What a command would do, for the confirmation."""

    kind: str
    arguments: dict[str, str | int]
    title: Annotated[str, Field(examples=["Sell ETH/USDT"])]
    consequences: Annotated[
        list[Sentence], Field(examples=[["It sells 0.0421 ETH at the next open, worth 104.20 USDT now."]])
    ]
    danger: Danger
    confirm: Annotated[str, Field(description="the words of the button", examples=["Sell at the next open"])]


class CommandItem(View):
    """One command and what became of it: applied, refused, withdrawn, or waiting for its minute."""

    command_id: str
    kind: str
    arguments: dict[str, str | int]
    actor: Annotated[str, Field(examples=["web:anna"])]
    created_at_ms: Ms
    not_before_ms: Ms | None
    status: CommandStatus
    sentence: Annotated[str, Field(examples=["ETH/USDT is sold at the open of 12:01"])]
    time_ms: Annotated[Ms | None, Field(description="the minute before whose open it was answered")]


class CommandPage(Listed[CommandItem]):
    """What people told the account, the newest first."""


class AuditResult(View):
    """What came of a command: the trader's answer, who withdrew it, or none yet."""

    status: CommandStatus
    sentence: Annotated[Sentence, Field(description="the answer, or what it waits for")]
    time_ms: Annotated[
        Ms | None, Field(description="of the market: the minute before whose open it was answered")
    ]


class AuditItem(View):
    """One act of a person, also where the trader refused it."""

    number: Annotated[int, Field(ge=1, description="of the act: no other has it, later ones more")]
    at_ms: Annotated[Ms, Field(description="of the clock: when it was done")]
    actor: Annotated[str, Field(examples=["web:anna"])]
    action: Annotated[
        str,
        Field(
            description="the kind of the command, `withdraw`, or `configuration_offered`", examples=["pause"]
        ),
    ]
    detail: dict[str, Any]
    result: Annotated[AuditResult | None, Field(description="null where the act is no command")]


class AuditPage(Listed[AuditItem]):
    """Everything that people did, the newest first."""


class ConfigurationValue(View):
    """One value of the configuration that the account trades under."""

    key: Annotated[str, Field(examples=["limits.max_open"])]
    value: Any
    default: Any
    changed: Annotated[bool, Field(description="whether it is another than the default")]


class VersionItem(View):
    """One configuration that the account traded under, and since when."""

    version: Version
    first_ms: Ms


class ShowConfiguration(View):
    """Every value, and every version so far."""

    version: Version
    values: list[ConfigurationValue]
    versions: list[VersionItem]


class ConfigurationWish(Wish):
    """A configuration file, as TOML."""

    toml: Annotated[str, Field(max_length=200_000, examples=["[limits]\nmax_open = 20\n"])]
    replaces: Annotated[
        Version | None,
        Field(description="what the preview said that it replaces: refused where that is another one now"),
    ] = None
    command_id: CommandId = None


class ConfigurationChange(View):
    """One value that would be another."""

    key: str
    old: Any
    new: Any


class ConfigurationPreview(View):
    """What a configuration would change."""

    version: Version
    replaces: Version
    changes: list[ConfigurationChange]
    consequences: list[Sentence]


class ForceExit(Wish):
    """The position that is to be sold."""

    command_id: CommandId = None
    symbol: Annotated[Pair, Field(pattern=r"^[A-Za-z0-9]{1,24}/[A-Za-z0-9]{1,24}(:[A-Za-z0-9]{1,24})?$")]


class Withdraw(Wish):
    """The command that is to be taken back."""

    command_id: Annotated[
        str, Field(pattern=r"^[0-9a-f]{32}$", examples=["3f2b8c0e9d7a4f61b5c2e8d90a1f7b34"])
    ]


class Plain(Wish):
    """Nothing to say but which command it is: an empty object will do."""

    command_id: CommandId = None

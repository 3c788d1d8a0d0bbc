"""Layers, origins and refusals, on a small tree."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import pytest
from pydantic import Field, SecretStr, model_validator

from crypto_tracker.config.fields import NoTrade
from crypto_tracker.config.keys import line_numbers, parse_key
from crypto_tracker.config.layers import TextFile
from crypto_tracker.config.load import Loaded, load, values
from crypto_tracker.config.origin import OriginKind
from crypto_tracker.config.versions import canonical, version
from crypto_tracker.core.errors import ConfigError
from crypto_tracker.core.model import Frozen


class Mood(StrEnum):
    CALM = "calm"
    WILD = "wild"


class Switch(Frozen):
    off: float
    on: float

    @model_validator(mode="after")
    def _on_is_below_off(self) -> "Switch":
        if self.on > self.off:
            raise ValueError(f"on ({self.on:g}) must not be above off ({self.off:g})")
        return self


class Trading(Frozen):
    capital: Annotated[float, Field(gt=0.0)]
    rungs: int
    zone: str
    mood: Mood
    coins: tuple[str, ...]


class Access(Frozen):
    token: SecretStr
    folder: Path


class Tree(Frozen):
    trading: Trading
    access: Access
    shares: dict[str, float]
    switches: dict[str, Switch]
    colour: Annotated[str, NoTrade("only people see it")]


DEFAULTS = """
colour = "green"

[trading]
capital = 10000
rungs = 5
zone = "UTC"
mood = "calm"
coins = ["BTC", "ETH"]

[access]
token = "none"
folder = "data"

[shares]
DCA = 0.4

[switches.DCA]
off = 0.08
on = 0.06
"""


def made(file: str | None = None, environment: dict[str, str] | None = None, *options: str) -> Loaded[Tree]:
    return load(
        Tree,
        defaults=TextFile("defaults.toml", DEFAULTS),
        file=None if file is None else TextFile("config.toml", file),
        environment=environment or {},
        assignments=options,
    )


def refusal(file: str | None = None, environment: dict[str, str] | None = None, *options: str) -> str:
    with pytest.raises(ConfigError) as caught:
        made(file, environment, *options)
    return str(caught.value)


def test_the_defaults_alone_make_a_whole_tree():
    tree = made().tree
    assert tree.trading.capital == 10_000.0
    assert tree.trading.mood is Mood.CALM
    assert tree.trading.coins == ("BTC", "ETH")


def test_a_file_is_stronger_than_defaults_the_environment_than_files_and_options_than_all():
    file = "[trading]\ncapital = 1\nrungs = 1\nzone = 'A'"
    environment = {"CRYPTO_TRACKER__TRADING__RUNGS": "2", "CRYPTO_TRACKER__TRADING__ZONE": "B"}
    tree = made(file, environment, "trading.zone=C").tree
    assert (tree.trading.capital, tree.trading.rungs, tree.trading.zone) == (1.0, 2, "C")
    assert tree.trading.mood is Mood.CALM


def test_of_two_options_for_one_key_the_later_wins():
    assert made(None, None, "trading.rungs=3", "trading.rungs=4").tree.trading.rungs == 4


def test_every_value_knows_its_origin():
    loaded = made(
        "[trading]\n\nrungs = 1", {"CRYPTO_TRACKER__SHARES__DCA": "0.2"}, "trading.zone=X", "access.token=t"
    )
    assert str(loaded.origin(("trading", "capital"))) == "defaults.toml"
    assert str(loaded.origin(("trading", "rungs"))) == "config.toml line 3"
    assert str(loaded.origin(("shares", "DCA"))) == "environment variable CRYPTO_TRACKER__SHARES__DCA"
    assert str(loaded.origin(("trading", "zone"))) == "--set trading.zone"
    assert {loaded.origin(key).kind for key in values(loaded)} == {
        OriginKind.DEFAULTS,
        OriginKind.FILE,
        OriginKind.ENVIRONMENT,
        OriginKind.COMMAND_LINE,
    }


def test_tables_are_laid_over_each_other_and_arrays_are_replaced():
    tree = made("[shares]\nSWING = 0.3\n[trading]\ncoins = ['SOL']").tree
    assert tree.shares == {"DCA": 0.4, "SWING": 0.3}
    assert tree.trading.coins == ("SOL",)


def test_the_environment_may_be_spelled_in_capitals_but_names_of_strategies_stay_as_written():
    tree = made(
        None, {"CRYPTO_TRACKER__SWITCHES__SWING__OFF": "0.5", "CRYPTO_TRACKER__SWITCHES__SWING__ON": "0.4"}
    ).tree
    assert tree.switches["SWING"] == Switch(off=0.5, on=0.4)


def test_other_variables_of_the_program_are_no_configuration():
    assert made(None, {"CRYPTO_TRACKER_HOME": "/x", "HOME": "/y"}).origins == made().origins


def test_arrays_can_be_given_in_the_environment_and_as_options():
    assert made(None, {"CRYPTO_TRACKER__TRADING__COINS": '["SOL"]'}).tree.trading.coins == ("SOL",)
    assert made(None, None, 'trading.coins=["ADA", "XRP"]').tree.trading.coins == ("ADA", "XRP")


def test_text_that_looks_like_a_number_stays_text_where_text_is_wanted():
    loaded = made(None, {"CRYPTO_TRACKER__ACCESS__TOKEN": "123456"}, "trading.zone=true")
    assert loaded.tree.access.token.get_secret_value() == "123456"
    assert loaded.tree.trading.zone == "true"


def test_a_quoted_option_loses_its_quotes():
    assert made(None, None, "trading.zone='Europe/Berlin'").tree.trading.zone == "Europe/Berlin"


def test_an_unknown_key_is_refused_with_its_place_and_the_nearest_known_key():
    text = refusal("[trading]\nrungs = 1\ncapitol = 5")
    assert text == "unknown key trading.capitol (config.toml line 3): did you mean trading.capital?"


def test_an_unknown_variable_is_refused_by_its_name():
    text = refusal(None, {"CRYPTO_TRACKER__TRADING__RUNG": "1"})
    assert "unknown key trading.RUNG (environment variable CRYPTO_TRACKER__TRADING__RUNG)" in text
    assert "did you mean trading.rungs?" in text


def test_a_key_in_the_wrong_section_is_found_where_it_belongs():
    assert "did you mean trading.capital?" in refusal(None, None, "capital=5")


def test_a_key_like_no_other_is_answered_with_those_that_exist():
    assert "access knows token, folder" in refusal(None, None, "access.zzzzzz=1")


def test_all_unknown_keys_are_named_at_once():
    assert len(refusal("[trading]\ncapitol = 5\nrung = 1").splitlines()) == 2


@pytest.mark.parametrize(
    ("file", "sentence"),
    [
        (
            '[trading]\ncapital = "much"',
            'trading.capital is "much" (config.toml line 2): expected a valid number',
        ),
        (
            "[trading]\ncapital = true",
            "trading.capital is true (config.toml line 2): expected a valid number",
        ),
        ("[trading]\nrungs = 2.5", "trading.rungs is 2.5 (config.toml line 2): expected a valid integer"),
        ("[trading]\ncapital = -1", "trading.capital is -1 (config.toml line 2): expected greater than 0"),
        ("[trading]\ncapital = nan", "trading.capital is NaN (config.toml line 2): expected a finite number"),
        (
            "[trading]\nmood = 'sad'",
            "trading.mood is \"sad\" (config.toml line 2): expected 'calm' or 'wild'",
        ),
        ("[shares]\nDCA = 'all'", 'shares.DCA is "all" (config.toml line 2): expected a valid number'),
    ],
)
def test_a_wrong_value_is_refused_with_key_value_place_and_expectation(file: str, sentence: str):
    assert refusal(file).startswith(sentence)


def test_values_that_contradict_each_other_are_refused_with_the_place_that_changed_them():
    text = refusal(None, None, "switches.DCA.off=0.05")
    assert text == "switches.DCA: on (0.06) must not be above off (0.05) (--set switches.DCA.off)"


def test_a_secret_is_never_shown_neither_in_errors_nor_in_values():
    assert "12345" not in refusal("[access]\ntoken = 12345")
    loaded = made(None, None, "access.token=hunter2")
    assert "hunter2" not in str(values(loaded)) + repr(loaded) + canonical(loaded.tree)
    assert loaded.tree.access.token.get_secret_value() == "hunter2"


def test_a_file_that_is_no_toml_is_refused_with_the_line():
    assert "config.toml is not valid TOML" in refusal("[trading\n")
    assert "line 1" in refusal("[trading\n")


def test_an_option_that_sets_nothing_is_refused():
    assert "--set section.key=value" in refusal(None, None, "trading.rungs")
    assert "is not a key" in refusal(None, None, "trading rungs=1")


def test_a_value_in_the_place_of_a_section_is_refused():
    assert refusal(None, None, "trading=5").startswith("trading is 5 (--set trading): ")


def test_the_version_follows_every_value_that_changes_trades():
    assert version(made().tree) == version(made("[trading]\ncapital = 10000.0").tree)
    assert version(made().tree) != version(made("[trading]\ncapital = 10000.5").tree)
    assert version(made().tree) != version(made(None, None, "switches.DCA.on=0.05").tree)


def test_secrets_folders_and_colours_are_no_part_of_the_version():
    other = made(None, None, "access.token=x", "access.folder=elsewhere", "colour=blue")
    assert version(made().tree) == version(other.tree)
    assert canonical(other.tree) == (
        '{"access":{},"shares":{"DCA":0.4},"switches":{"DCA":{"off":0.08,"on":0.06}},'
        '"trading":{"capital":10000.0,"coins":["BTC","ETH"],"mood":"calm","rungs":5,"zone":"UTC"}}'
    )


def test_lines_are_found_under_quoted_dotted_and_nested_names():
    text = (
        'a = 1\n[instruments."BTC/USDT"]\ntick = 0.1  # grid\nx.y = 2\n[b]\nlist = [\n  1,\n]\nlast = "[no]"'
    )
    found = line_numbers(text)
    assert found[("a",)] == 1
    assert found[("instruments", "BTC/USDT", "tick")] == 3
    assert found[("instruments", "BTC/USDT", "x", "y")] == 4
    assert found[("b", "last")] == 9


def test_a_key_is_read_as_toml_reads_it():
    assert parse_key('a."b.c".d') == ("a", "b.c", "d")
    with pytest.raises(ConfigError):
        parse_key("a..b")

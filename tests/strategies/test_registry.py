"""Which strategies there are, and what is refused."""

from importlib.metadata import EntryPoint
from types import SimpleNamespace

import pytest

from crypto_tracker.core.errors import ConfigError
from crypto_tracker.core.timeframes import Timeframe
from crypto_tracker.strategies.base import Strategy
from crypto_tracker.strategies.dca import Dca
from crypto_tracker.strategies.registry import as_strategy, builtin, from_entry_points, with_plugins


class Own(Dca):
    """A strategy of a user: DCA under another name."""

    name = "OWN"


def test_the_built_in_strategies_come_in_the_order_that_decides_ties():
    assert list(builtin()) == ["DCA", "SWING", "CHANNEL"]
    assert all(isinstance(strategy, Strategy) for strategy in builtin().values())


def test_a_plug_in_follows_the_built_in_ones():
    known = with_plugins(builtin(), [("here", Own)])
    assert list(known) == ["DCA", "SWING", "CHANNEL", "OWN"]
    assert isinstance(known["OWN"], Own)


def test_a_class_that_is_found_twice_counts_once():
    assert list(with_plugins(builtin(), [("installed", Own), ("folder", Own)])) == [
        "DCA",
        "SWING",
        "CHANNEL",
        "OWN",
    ]


def test_a_name_that_is_taken_is_refused():
    other = type("Other", (Dca,), {})
    with pytest.raises(ConfigError, match="folder: a strategy named DCA exists already"):
        with_plugins(builtin(), [("folder", other)])


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"name": "own"}, "name is 'own', expected upper-case letters"),
        ({"timeframe": "15m"}, "timeframe is no Timeframe"),
        ({"warmup": {"15m": 3}}, "warmup does not map Timeframe to a number of bars"),
        ({"warmup": {Timeframe.H1: 3}}, "warmup says nothing of the strategy's own timeframe"),
        ({"reference_warmup": None}, "reference_warmup does not map"),
        ({"parameters_model": dict}, "parameters_model is no subclass"),
        ({"detect": None}, "detect is no method"),
    ],
)
def test_what_is_wrong_with_a_plug_in_is_said(changed: dict, sentence: str):
    with pytest.raises(ConfigError, match=sentence):
        as_strategy(type("Broken", (Own,), changed), "folder")


def test_what_is_missing_is_named():
    with pytest.raises(
        ConfigError, match="folder: SimpleNamespace is no strategy: it lacks timeframe, warmup"
    ):
        as_strategy(SimpleNamespace(name="X"), "folder")


def test_a_class_that_wants_arguments_is_refused():
    class Needy(Own):
        def __init__(self, number: int) -> None:
            self.number = number

    with pytest.raises(ConfigError, match="takes no arguments as a strategy"):
        as_strategy(Needy, "folder")


def test_entry_points_are_loaded_in_order_of_name():
    group = "crypto_tracker.strategies"
    here = "crypto_tracker.strategies"
    points = [
        EntryPoint("B", f"{here}.swing:Swing", group),
        EntryPoint("A", f"{here}.dca:Dca", group),
    ]
    assert [cls.__name__ for _, cls in from_entry_points(points)] == ["Dca", "Swing"]


@pytest.mark.parametrize("value", ["no_such_module_anywhere:X", "crypto_tracker.strategies.dca:Nothing"])
def test_an_entry_point_that_leads_nowhere_is_refused(value: str):
    with pytest.raises(ConfigError, match="cannot be loaded"):
        from_entry_points([EntryPoint("X", value, "crypto_tracker.strategies")])

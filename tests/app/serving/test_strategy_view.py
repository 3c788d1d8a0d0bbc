"""What each strategy does, under which numbers, and who switched it off."""

from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Annotated, ClassVar

import pytest
from pydantic import Field

from crypto_tracker.app.serving.home_bars import HomeBars
from crypto_tracker.app.serving.scope import Scope
from crypto_tracker.app.serving.strategy_view import (
    configuration_of,
    facts_of,
    strategies_of,
    strategy_infos,
    strategy_of,
)
from crypto_tracker.app.standing import StrategyStanding
from crypto_tracker.config.tree import configuration_model
from crypto_tracker.core.decisions import Tier
from crypto_tracker.core.model import Frozen
from crypto_tracker.core.timeframes import Timeframe
from crypto_tracker.desk.source import NotThere
from crypto_tracker.strategies.base import Strategy
from crypto_tracker.strategies.dca import Dca
from crypto_tracker.strategies.registry import builtin
from tests.store.shelf import BTC, ETH
from tests.trading.worlds import configuration


class PlainParameters(Frozen):
    """Numbers of a plug-in that has no table of exits."""

    level: Annotated[float, Field(gt=0.0)] = 3.0


class Plain(Dca):
    name: ClassVar[str] = "PLAIN"
    parameters_model: ClassVar[type[Frozen]] = PlainParameters


def scope(*names: str, installed: dict[str, Strategy] | None = None) -> Scope:
    strategies = installed or builtin()
    models = {name: each.parameters_model for name, each in strategies.items()}
    usual = configuration()
    document = usual.model_dump()
    document["strategies"] = {
        name: values for name, values in document["strategies"].items() if name in models
    }
    return Scope(
        account="paper",
        bars=HomeBars(Path("nowhere")),
        symbols=(BTC, ETH),
        reference=BTC,
        providers={},
        history="",
        strategies=names,
        installed=strategies,
        configuration=configuration_model(models).model_validate(document),
        version="1",
        quote="USDT",
        start_ms=0,
        until_ms=0,
        live=False,
        near_miss_readiness=80.0,
        now_ms=lambda: 0,
    )


def test_a_strategy_is_described_by_its_first_sentence_and_its_numbers():
    (info,) = strategy_infos(scope("DCA"), {}).items
    assert info.description == (
        "Buys when the close lies far below the high of the last hours, with volume, unless the market "
        "crashes."
    )
    numbers = configuration().parameters("DCA")
    assert info.thresholds["levels"] == numbers.levels  # type: ignore[attr-defined]
    assert info.thresholds["drop"]["large_cap"] == numbers.drop.large_cap  # type: ignore[attr-defined]
    assert not {"exits", "confidence"} & set(info.thresholds)
    assert [row.tier for row in info.exits] == [tier.name.lower() for tier in Tier]
    assert info.exits[0].take_profit == numbers.exits.take_profit.large_cap  # type: ignore[attr-defined]
    assert (info.timeframe, info.docs) == ("5m", "docs/strategies/dca.md")


def test_the_bars_that_are_scanned_are_those_of_the_base_where_it_is_coarser():
    hours = replace(scope("DCA", "CHANNEL"), base=Timeframe.H1)
    assert [info.timeframe for info in strategy_infos(hours, {}).items] == ["1h", "1h"]


def test_who_switched_a_strategy_off_is_told():
    standing = StrategyStanding(
        name="DCA",
        off_by=("person", "volatility"),
        losing_streak=3,
        rests_until_ms=7,
        open_positions=2,
        used_quote=Decimal("12.5"),
        share_quote=Decimal("80"),
    )
    (info,) = strategy_infos(scope("DCA"), {"DCA": standing}).items
    assert (info.on, info.off_by) == (False, ["person", "volatility"])
    assert (info.losing_streak, info.rests_until_ms) == (3, 7)
    assert (info.open_positions, info.used_quote, info.share_quote) == (2, 12.5, 80.0)


def test_without_a_standing_the_configuration_says_who_is_off():
    book = scope("DCA", "SWING")
    trading = book.configuration.trading.model_copy(update={"switched_off": ("SWING",)})
    limits = book.configuration.limits.model_copy(update={"shares": {"SWING": 0.5}})
    changed = book.configuration.model_copy(update={"trading": trading, "limits": limits})
    infos = strategy_infos(replace(book, configuration=changed), {}).items
    assert [info.off_by for info in infos] == [["no_share"], ["configuration"]]


def test_a_plug_in_without_words_and_exits_is_shown_all_the_same():
    book = scope("PLAIN", installed=builtin() | {"PLAIN": Plain()})
    (info,) = strategy_infos(book, {}).items
    assert info.exits == []
    assert info.max_hold_hours is None
    assert info.thresholds == {"level": 3.0}
    assert info.docs is None


def test_a_strategy_that_is_gone_is_named():
    book = scope("DCA", "GONE")
    assert strategy_infos(book, {}).items[1].description == "GONE is not installed any more."
    assert [each.name for each in strategies_of(book, ())] == ["DCA"]
    with pytest.raises(NotThere, match="the strategy GONE is not installed any more"):
        strategy_of(book, "GONE")
    with pytest.raises(NotThere, match="paper has no strategy GRID: it has DCA, GONE"):
        strategy_of(book, "GRID")


def test_facts_are_those_of_one_symbol():
    book = scope("DCA")
    assert facts_of(book, ETH).symbols == (ETH,)
    with pytest.raises(NotThere, match="does not watch DOGE/USDT"):
        facts_of(book, type(BTC)("DOGE", "USDT"))


def test_a_recorded_run_has_one_configuration():
    book = scope("DCA")
    assert configuration_of(book, "another") is book.configuration

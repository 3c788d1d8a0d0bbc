"""The defaults: what the specification says, and that every model accepts it."""

import json
import tomllib
from pathlib import Path

import numpy as np
import pytest

from crypto_tracker.config.instruments import instruments
from crypto_tracker.config.layers import TextFile
from crypto_tracker.config.load import Loaded, values
from crypto_tracker.config.origin import OriginKind
from crypto_tracker.config.schema import file_schema
from crypto_tracker.config.tree import Configuration, defaults, load_configuration
from crypto_tracker.config.versions import canonical, version
from crypto_tracker.core.decisions import Tier
from crypto_tracker.core.errors import ConfigError
from crypto_tracker.core.model import Frozen
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.strategies.registry import builtin

ROOT = Path(__file__).resolve().parents[2]
BUILTIN: dict[str, type[Frozen]] = {name: strategy.parameters_model for name, strategy in builtin().items()}


def configured(
    file: str | None = None, *options: str, strategies: dict[str, type[Frozen]] = BUILTIN
) -> Loaded[Configuration]:
    return load_configuration(
        strategies,
        file=None if file is None else TextFile("config.toml", file),
        environment={},
        assignments=options,
    )


def test_the_defaults_are_those_of_the_specification():
    tree = configured().tree
    assert tree.trading.capital_quote == 10_000
    assert (tree.limits.max_open, tree.limits.max_open_per_strategy) == (150, 50)
    assert (tree.limits.max_symbol_exposure, tree.limits.max_strategy_exposure) == (0.20, 0.60)
    assert (tree.limits.reserve, tree.limits.min_confidence) == (0.20, 0.45)
    assert (tree.limits.correlation_limit, tree.limits.max_correlation) == (False, 0.7)
    assert tree.limits.shares == {"DCA": 0.40, "SWING": 0.30, "CHANNEL": 0.30}
    assert tree.protection.day_loss_max == 0.10
    assert tree.protection.drawdown_max == 0.25
    assert not tree.protection.close_on_transition
    assert (tree.sizing.mode, tree.sizing.kelly) == ("fixed", 0.25)
    assert (tree.sizing.trend_factors.bear, tree.sizing.trend_factors.bull) == (1.3, 0.7)
    assert (tree.sizing.confidence_low, tree.sizing.confidence_high) == (0.7, 1.3)
    assert (tree.protection.losing_streak, tree.protection.losing_streak_hours) == (5, 12)
    assert tree.protection.cooldown_hours.array().tolist() == [4, 6, 12, 24]
    assert tree.protection.stop_widening.caps.array().tolist() == [0.10, 0.12, 0.15, 0.15]
    assert tree.costs.slippage.array().tolist() == [0.0015, 0.0025, 0.0050, 0.0050]
    assert (tree.costs.taker_fee, tree.costs.maker_fee) == (0.003, 0.003)
    assert (tree.fills.entry_participation, tree.fills.exit_participation) == (0.05, 0.25)
    assert tree.fills.intrabar == "pessimistic"


@pytest.mark.parametrize(
    ("strategy", "table", "hours"),
    [
        ("DCA", "0.04/0.06/0.02 0.07/0.08/0.035 0.10/0.11/0.06 0.12/0.12/0.06", 72),
        ("SWING", "0.05/0.05/0.02 0.08/0.07/0.035 0.12/0.10/0.06 0.15/0.12/0.06", 48),
        ("CHANNEL", "0.020/0.020/0.005 0.025/0.025/0.007 0.030/0.030/0.010 0.030/0.030/0.010", 24),
    ],
)
def test_the_exits_are_those_of_the_specification_tier_by_tier(strategy: str, table: str, hours: int):
    exits = configured().tree.parameters(strategy).exits
    expected = np.array([[float(number) for number in cell.split("/")] for cell in table.split()])
    found = np.column_stack([exits.take_profit.array(), exits.stop_loss.array(), exits.trailing.array()])
    assert found.tolist() == expected.tolist()
    assert exits.max_hold_hours == hours


def test_the_universe_has_the_99_coins_of_the_specification():
    universe = configured().tree.universe
    assert {group: len(coins) for group, coins in universe.groups.items()} == {
        "core": 20,
        "defi": 20,
        "memecoins": 20,
        "mid_caps": 39,
    }
    members = universe.members("USD")
    assert len(set(members)) == 99
    assert str(members[0]) == "BTC/USD"


@pytest.mark.parametrize(
    ("symbol", "tier"),
    [
        ("BTC/USD", Tier.LARGE_CAP),
        ("ETH/USDT:USDT", Tier.LARGE_CAP),
        ("SOL/USD", Tier.MID_CAP),
        ("ARB/USD", Tier.MID_CAP),
        ("PEPE/USD", Tier.MEMECOIN),
        ("kPEPE/USDC:USDC", Tier.MEMECOIN),
        ("1000PEPE/USDT:USDT", Tier.MEMECOIN),
        ("XLM/USD", Tier.SMALL_CAP),
        ("KAS/USD", Tier.SMALL_CAP),
        ("SUI/USD", Tier.MID_CAP),
    ],
)
def test_every_coin_has_the_tier_of_the_specification(symbol: str, tier: Tier):
    assert configured().tree.universe.tier(Symbol.parse(symbol)) is tier


def test_a_universe_can_be_named_symbol_by_symbol():
    tree = configured(None, 'universe.symbols=["SOL/USDT", "BTC/USDT:USDT"]').tree
    assert [str(symbol) for symbol in tree.universe.members("USD")] == ["SOL/USDT", "BTC/USDT:USDT"]
    with pytest.raises(ConfigError, match=r"universe\.symbols.*write BASE/QUOTE"):
        configured(None, 'universe.symbols=["SOL"]')


def test_a_coin_is_in_one_group():
    with pytest.raises(ConfigError, match="the coin BTC is in the groups core and defi"):
        configured('[universe.groups]\ndefi = ["BTC"]')


def test_facts_of_an_instrument_are_its_own_then_its_tiers_then_the_defaults():
    tree = configured(
        '[instruments."PEPE/USD"]\ntick = 0.5\nslippage = 0.02\n[instruments."X/USD"]\ntier = "large_cap"'
    ).tree
    facts = instruments(tree, [Symbol.parse(text) for text in ("BTC/USD", "PEPE/USD", "X/USD")])
    assert facts.tier.tolist() == [Tier.LARGE_CAP, Tier.MEMECOIN, Tier.LARGE_CAP]
    assert facts.tick.tolist() == [0.0, 0.5, 0.0]
    assert facts.slippage.tolist() == [0.0015, 0.02, 0.0015]
    assert facts.taker_fee.tolist() == [0.003, 0.003, 0.003]


def test_an_override_is_named_by_a_symbol():
    with pytest.raises(ConfigError, match="'BTC' is not a symbol"):
        configured("[instruments.BTC]\ntick = 1.0")


def test_the_simulator_gets_the_rules_of_the_tree():
    tree = configured(None, "fills.intrabar=adaptive", "limits.max_open=3").tree
    rules = tree.rules()
    assert rules.limits is tree.limits
    assert rules.fills.intrabar == "adaptive"
    assert (rules.limits.max_open, rules.capital_quote, rules.timezone) == (3, 10_000, "UTC")


def test_every_value_is_a_default_until_somebody_sets_it():
    loaded = configured()
    assert {loaded.origin(key).kind for key in values(loaded)} == {OriginKind.DEFAULTS}


def test_a_strategy_that_does_not_exist_is_refused_wherever_it_is_named():
    for option, key in [
        ('trading.strategies=["DCA", "SWIGN"]', r"trading\.strategies"),
        ("limits.shares.SWIGN=0.1", r"limits\.shares\.SWIGN"),
        ("protection.condition.rising=SWIGN", r"protection\.condition\.rising"),
    ]:
        with pytest.raises(ConfigError, match=rf"{key} .*no strategy is named SWIGN: did you mean SWING\?"):
            configured(None, option, "limits.shares.DCA=0.1")


def test_shares_above_the_whole_are_refused():
    with pytest.raises(ConfigError, match=r"limits: the shares .* add up to 1\.1.*--set limits\.shares\.DCA"):
        configured(None, "limits.shares.DCA=0.5")


class PluginParameters(Frozen):
    depth: float = 0.1


class PluginWithoutDefaults(Frozen):
    depth: float


def test_a_plugin_brings_its_own_defaults_and_can_be_configured():
    strategies = {**BUILTIN, "MINE": PluginParameters}
    loaded = configured(strategies=strategies)
    assert loaded.tree.parameters("MINE") == PluginParameters(depth=0.1)
    assert loaded.origin(("strategies", "MINE", "depth")).kind is OriginKind.PLUGIN
    loaded = configured("[strategies.MINE]\ndepth = 0.2", strategies=strategies)
    assert loaded.tree.parameters("MINE") == PluginParameters(depth=0.2)
    with pytest.raises(ConfigError, match=r"did you mean strategies\.MINE\.depth\?"):
        configured("[strategies.MINE]\ndepht = 0.2", strategies=strategies)


def test_a_plugin_without_defaults_needs_its_section_only_where_it_trades():
    strategies = {**BUILTIN, "MINE": PluginWithoutDefaults}
    assert configured(strategies=strategies).tree.trading.strategies == ("DCA", "SWING", "CHANNEL")
    with pytest.raises(ConfigError, match=r"write a section \[strategies\.MINE\]"):
        configured(None, 'trading.strategies=["MINE"]', strategies=strategies)
    loaded = configured(None, 'trading.strategies=["MINE"]', "strategies.MINE.depth=1", strategies=strategies)
    assert loaded.tree.parameters("MINE") == PluginWithoutDefaults(depth=1.0)


def test_the_version_changes_with_a_trading_rule_and_not_with_the_way_bars_are_fetched():
    base = version(configured().tree)
    assert version(configured(None, "fills.entry_bars=6").tree) != base
    assert version(configured(None, "strategies.DCA.spacing=0.02").tree) != base
    assert version(configured(None, "market_data.timeframes.1m.hot_days=10").tree) == base
    assert "hot_days" not in canonical(configured().tree)


def test_the_published_schema_is_current():
    published = json.loads((ROOT / "docs" / "config-schema.json").read_text(encoding="utf-8"))
    assert published == json.loads(json.dumps(file_schema(BUILTIN))), "run `make schema`"


def test_the_schema_says_what_a_key_means_and_requires_nothing():
    schema = file_schema(BUILTIN)
    text = json.dumps(schema)
    assert '"required"' not in text
    assert "$ref" not in text
    limit = schema["properties"]["limits"]["properties"]["max_open"]
    assert limit["default"] == 150
    assert "at most one per symbol" in limit["description"]
    assert schema["additionalProperties"] is False


def test_the_schema_knows_every_default():
    schema = file_schema(BUILTIN)

    def check(node: dict, default: object, key: str) -> None:
        if "properties" in node:
            assert isinstance(default, dict), key
            for name, value in default.items():
                check(node["properties"][name], value, f"{key}.{name}")
        else:
            assert node["default"] == default, key

    check(schema, tomllib.loads(defaults().text), "")


@pytest.mark.parametrize(
    "assignment",
    [
        "fills.data_lost_hours=1e300",
        "protection.cooldown_hours.memecoin=1e300",
        "protection.losing_streak_hours=1e9",
        "protection.stale_minutes=1e12",
        "protection.fast_regime.max_age_minutes=1e12",
        "strategies.DCA.exits.max_hold_hours=1e9",
    ],
)
def test_times_that_no_clock_reaches_are_refused(assignment):
    with pytest.raises(ConfigError, match=assignment.split("=")[0].rsplit(".", 1)[0]):
        configured(None, assignment)

"""What an account keeps of its configuration is read back as it was."""

import pytest

from crypto_tracker.config.tree import load_configuration
from crypto_tracker.config.versions import version
from crypto_tracker.strategies.registry import builtin
from crypto_tracker.trading.setting import configuration_row, stored_configuration

STRATEGIES = dict(builtin())
MODELS = {name: strategy.parameters_model for name, strategy in STRATEGIES.items()}


@pytest.mark.parametrize(
    "assignments",
    [
        (),
        ("limits.shares={DCA=0.3}",),
        ("limits.shares={DCA=1.0}",),
        ("protection.volatility.switches={}",),
        ("protection.volatility.sizes={DCA={threshold=0.1,factor=0.5}}",),
        ("universe.tier_of_coin={SUI='memecoin'}",),
        ("strategies.DCA.drop.large_cap=0.03", "limits.max_open=7"),
    ],
)
def test_a_configuration_that_is_kept_comes_back_without_what_it_left_out(assignments):
    tree = load_configuration(MODELS, file=None, environment={}, assignments=assignments).tree
    again = stored_configuration(configuration_row(tree), STRATEGIES)
    assert again.limits.shares == tree.limits.shares
    assert again.model_dump() == tree.model_dump()
    assert version(again) == version(tree)

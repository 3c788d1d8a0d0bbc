"""docs/compare-and-scorecard.md and the code agree: every row, every estimate, every reason, every target."""

from pathlib import Path

from crypto_tracker.app.cli.compare_view import document
from crypto_tracker.config.tree import load_configuration
from crypto_tracker.simulation import paired
from crypto_tracker.simulation.paired import Comparing, compare
from crypto_tracker.simulation.scorecard import Targets, scorecard
from crypto_tracker.strategies.registry import builtin
from tests.simulation.sides import side

PAGE = (Path(__file__).parents[1] / "docs" / "compare-and-scorecard.md").read_text(encoding="utf-8")
RULES = Comparing(confidence=0.95, draws=100, days_min=20)


def defaults() -> tuple[Targets, Comparing]:
    models = {name: strategy.parameters_model for name, strategy in builtin().items()}
    tree = load_configuration(models, file=None, environment={}, assignments=()).tree
    return tree.scorecard, tree.compare


def test_every_row_of_the_scorecard_is_defined_with_its_target():
    targets, _ = defaults()
    rows = {row.name: row for row in scorecard(side(), targets, uptime="", data_quality="").rows}
    table = [line for line in PAGE.splitlines() if line.startswith("| `")]
    for name, row in rows.items():
        (defined,) = [line for line in table if f"`{name}`" in line.split("|")[1]]
        assert f"{'>' if row.above else '<'} {row.target:g}" in defined.replace("0.50", "0.5").replace(
            "0.60", "0.6"
        ).replace("0.30", "0.3").replace("0.10", "0.1"), name


def test_the_samples_and_ends_on_the_page_are_the_defaults():
    targets, rules = defaults()
    assert f"fewer than {targets.trades_min} trades (`trades_min`) or {targets.days_min} days" in PAGE
    assert f"at most {targets.late_seconds:g} s (`late_seconds`)" in PAGE
    assert f"fewer than {rules.days_min} days (`compare.days_min`)" in PAGE
    assert f"Each has a {100 * rules.confidence:g} % percentile interval from {rules.draws:,} draws" in PAGE


def test_every_estimate_and_every_word_for_what_the_other_did_is_defined():
    difference = document(compare(side("A"), side("B"), RULES), RULES)["difference"]
    words = [
        paired.NO_SETUP,
        paired.NOT_RECORDED,
        paired.STRATEGY_ABSENT,
        paired.SYMBOL_ABSENT,
        paired.UNFILLED,
    ]
    estimates = [name for name in difference if "_per_" in name]
    assert len(estimates) == 4
    assert [name for name in [*estimates, *words] if f"`{name}`" not in PAGE] == []

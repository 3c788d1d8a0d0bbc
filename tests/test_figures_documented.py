"""docs/figures.md and the result agree: every figure has its entry, and no entry is of a figure that is gone."""

import re
from dataclasses import fields
from pathlib import Path

from crypto_tracker.app.backtest_document import document
from crypto_tracker.simulation.breakdown import Period
from crypto_tracker.simulation.buy_and_hold import BuyAndHold
from crypto_tracker.simulation.metrics import Figures, GroupFigures
from crypto_tracker.simulation.performance import Drawdown, Performance
from crypto_tracker.simulation.report import About, Costs, Deflated, report
from crypto_tracker.simulation.trade_figures import TradeFigures
from tests.simulation.hand_made_run import ABOUT, closed, run

PAGE = (Path(__file__).parents[1] / "docs" / "figures.md").read_text(encoding="utf-8")
TABLE = re.compile(r"^\| key \|.*\n\|---\|---\|\n((?:\|.*\n)+)", re.M)
NAME = re.compile(r"`([a-z_]+)`")
# The tables of the page, in their order.
SHOWN = (
    Figures, About, Performance, Drawdown, BuyAndHold, Deflated, TradeFigures, GroupFigures, Costs, Period,
)  # fmt: skip


def test_each_table_has_the_figures_of_its_part_and_no_others():
    tables = TABLE.findall(PAGE)
    assert len(tables) == len(SHOWN)
    for part, table in zip(SHOWN, tables, strict=True):
        named = [name for row in table.splitlines() for name in NAME.findall(row.split("|")[1])]
        assert sorted(named) == sorted(field.name for field in fields(part)), part.__name__


def test_every_key_of_the_document_is_on_the_page():
    scenario, result = run(closed())
    missing = [key for key in document(report(scenario, result, ABOUT)) if f"`{key}`" not in PAGE]
    assert missing == []

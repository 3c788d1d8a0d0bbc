"""The examples run and say what they promise."""

import runpy
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_the_drawn_market_is_bought_at_the_bottom_of_its_fall(capsys: pytest.CaptureFixture[str]):
    runpy.run_path(str(EXAMPLES / "why_was_it_bought.py"), run_name="__main__")
    printed = capsys.readouterr().out
    # 97.4 and 97.0 are 2.6 and 3 % below 100; the bar after has left the threshold again: an episode of two
    assert printed.count("SETUP") == 2
    assert "05:20  close  97.40" in printed
    assert "events for the simulator: 3" in printed
    assert "STOPPED  drop_too_small: the close 99.2 is 0.8 % below the 4 h high 100" in printed

"""The conformance files themselves are read strictly: what is not understood is an error with file and line."""

from pathlib import Path

import pytest

from tests.conformance.parser import Case, CaseError, read_base, read_cases
from tests.conformance.scenario import build

BASE = read_base(Path(__file__).parent / "cases" / "base.txt")

GOOD = """\
case A market
set max_open 3
bars XYZ
  time          open  high  low  close  volume
  12:00..12:01   100   101   99    100  1000
  12:02          -
setups
  decided  size  hold
  12:01    500   2h
commands
  at     do     what
  12:01  close  XYZ
expect
fills
  time   kind   price  quantity
  12:01  entry    100         5
end
  cash  reserved  equity
  9500         0   10000
"""


def read(folder: Path, text: str) -> list[Case]:
    path = folder / "markets.txt"
    path.write_text(text, encoding="utf-8")
    return read_cases(path)


def test_a_good_case_becomes_a_scenario(tmp_path: Path) -> None:
    (case,) = read(tmp_path, GOOD)
    scenario = build(case, BASE).scenario
    assert case.title == "A market"
    assert scenario.rules.limits.max_open == 3
    assert scenario.panel.close[:2, 0].tolist() == [100, 100]
    assert scenario.panel.present[:, 0].tolist() == [True, True, False]
    assert scenario.setups["size_quote"].tolist() == [500]
    assert scenario.setups["decision_close"].tolist() == [100]
    assert scenario.setups["max_hold_ms"].tolist() == [7_200_000]


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("expect\n", "expects\n", "markets.txt:13: 'expects' is no section"),
        ("setups\n", "setup\n", "markets.txt:7: 'setup' is no section"),
        ("fills\n", "setups\n", "markets.txt:14: 'setups' is no section after `expect`"),
        ("decided  size", "decided  colour", "markets.txt:8: 'colour' is no column of `setups`"),
        ("12:01    500   2h", "12:01    500", "markets.txt:9: 2 words, but the table has 3 columns"),
        ("12:01    500   2h", "12:01    500   2h  7", "markets.txt:9: 4 words, but the table has 3 columns"),
        ("case A market\n", "", "markets.txt:1: 'set' stands before the first `case`"),
        ("case A market\n", "case\n", "markets.txt:1: a case needs a title"),
        ("  cash  reserved  equity\n  9500         0   10000\n", "", "markets.txt:17: `end` holds no row"),
        ("end\n  cash  reserved  equity\n  9500         0   10000\n", "", "must expect one row"),
        (
            "time   kind   price  quantity",
            "time   kind   price",
            "markets.txt:15: `fills` needs the column 'quantity'",
        ),
        ("bars XYZ\n", "bars\n", "markets.txt:3: `bars` needs one symbol"),
        ("setups\n", "books\nsetups\n", "`books` needs one symbol, such as `books XYZ`"),
        ("set max_open 3", "set max_open", "markets.txt:2: `set` needs a name and a value"),
        ("setups\n", "resets\n  at\n  12:01\nresets\n", "markets.txt:10: `resets` stands twice"),
        ("  12:02          -", "\t12:02          -", "markets.txt:6: a tab"),
    ],
)
def test_a_word_that_is_not_known_is_an_error_with_its_line(
    tmp_path: Path, old: str, new: str, complaint: str
) -> None:
    assert old in GOOD
    with pytest.raises(CaseError) as error:
        read(tmp_path, GOOD.replace(old, new, 1))
    assert complaint in str(error.value)


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("max_open 3", "max_closed 3", "markets.txt:2: 'max_closed' names 0 values of the rules"),
        ("max_open 3", "large_cap 3", "markets.txt:2: 'large_cap' names 2 values of the rules"),
        ("max_open 3", "shares 0.5", "markets.txt:2: name the strategy"),
        ("set max_open 3", "set ABC.tick 3", "markets.txt:2: 'ABC.tick' names 0 values of the rules"),
        ("12:01    500   2h", "12:1     500   2h", "markets.txt:9: '12:1' is no time"),
        ("12:01    500   2h", "12:01    500   2", "markets.txt:9: '2' is no length of time"),
        ("12:01    500   2h", "12:01    5oo   2h", "markets.txt:9: '5oo' is no number"),
        ("12:02          -", "12:03          -", "markets.txt:6: rows must follow each other on the grid"),
        ("101   99", " 98   97", "markets.txt:5: no such bar"),
        ("close  XYZ", "close  ABC", "markets.txt:12: 'ABC' is none of XYZ"),
        ("close  XYZ", "shout  XYZ", "markets.txt:12: 'shout' is no command"),
        ("close  XYZ", "pause  XYZ", "markets.txt:12: `pause` needs nothing"),
        ("setups", "books ABC\n  time   bids  asks\n  12:01  9x1   10x1\nsetups", "'ABC' is none of XYZ"),
        ("setups", "books XYZ\n  time   bids  asks\n  12:01  9x1   10\nsetups", "'10' is no level"),
        ("setups", "books XYZ\n  time     bids  asks\n  12:01:9  9x1   10x1\nsetups", "is no moment"),
        ("commands", "bars ABC\n  time   close\n  12:00  5\ncommands", "must begin and end together"),
    ],
)
def test_a_word_that_means_nothing_is_an_error_with_its_line(
    tmp_path: Path, old: str, new: str, complaint: str
) -> None:
    assert old in GOOD
    (case,) = read(tmp_path, GOOD.replace(old, new, 1))
    with pytest.raises(CaseError) as error:
        build(case, BASE)
    assert complaint in str(error.value)


def test_a_file_without_cases_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CaseError, match="no case in this file"):
        read(tmp_path, "# nothing yet\n")

"""`list-data` and `import-data` in a terminal: a line for each series, whole whatever the width."""

import re
from pathlib import Path

import pytest

from tests.app.conftest import Command

SERIES = 5


def plain(out: str) -> list[str]:
    """Lines without the codes for colours."""
    return [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in out.splitlines()]


@pytest.mark.parametrize("width", [80, 100, 140])
def test_every_line_fits_and_nothing_is_cut(
    market_home: Path, command: Command, monkeypatch: pytest.MonkeyPatch, width: int
):
    monkeypatch.setenv("FORCE_COLOR", "1")  # as in a terminal
    monkeypatch.setenv("COLUMNS", str(width))
    code, out, _ = command(market_home, "list-data")
    lines = plain(out)
    assert code == 0
    assert lines == [line.rstrip() for line in lines]
    assert "…" not in out
    assert all(len(line) <= width for line in lines)
    assert len([line for line in lines if "/USD " in line and "synthetic" in line]) >= SERIES


@pytest.mark.parametrize("columns", [None, "80", "100"])
def test_a_pipe_gets_lines_of_eighty_columns_or_of_those_that_were_asked_for(
    market_home: Path, command: Command, monkeypatch: pytest.MonkeyPatch, columns: str | None
):
    monkeypatch.delenv("COLUMNS", raising=False)
    if columns is not None:
        monkeypatch.setenv("COLUMNS", columns)
    _, out, _ = command(market_home, "list-data")
    lines = out.splitlines()
    assert lines[0].split() == ["symbol", "provider", "tf", "start", "end", "rows", "gaps", "complete"]
    assert lines == [line.rstrip() for line in lines]
    assert max(map(len, lines)) <= int(columns or 80)


def test_bars_in_doubt_have_columns_or_are_named_below_where_there_is_no_room(
    tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
):
    rows = "".join(f"2025-01-01 00:{m:02},1,2,0.5,1.5,10\n" for m in range(1, 40))
    (tmp_path / "ETHUSDT-1m.csv").write_text(
        "time,open,high,low,close,volume\n2025-01-01 00:00,1,0.9,0.5,1,10\n" + rows
    )
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    code, out, err = command(tmp_path / "home", "import-data", str(tmp_path / "ETHUSDT-1m.csv"))
    lines = plain(out)
    assert code == 0
    assert lines[0].split() == ["what", "layout", "provider", "tf", "files", "rows", "new", "quarantined"]
    assert lines[1].split() == ["ETH/USDT", "ETHUSDT-1m.csv", "plain", "file", "1m", "1", "40", "39", "1"]
    assert "1 file, 40 rows, 39 of them new" in err
    monkeypatch.setenv("COLUMNS", "100")
    _, out, _ = command(tmp_path / "home", "list-data")
    assert plain(out)[0].split()[-2:] == ["suspect", "quarantined"]
    assert plain(out)[1].split()[-1] == "1"
    monkeypatch.setenv("COLUMNS", "80")
    _, out, _ = command(tmp_path / "home", "list-data")
    assert plain(out)[0].endswith("complete")
    assert plain(out)[-1] == "ETH/USDT file 1m: 1 quarantined"
    assert max(map(len, plain(out))) <= 80

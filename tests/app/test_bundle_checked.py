"""Whatever stands in a bundle: it is believed where nobody touched it, else refused in a sentence."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crypto_tracker.app import backtesting
from crypto_tracker.research.bundle_contents import changed_parts, sealed
from tests.app.books import Document
from tests.app.conftest import LIVELY, backtest, copied, run_command

SPAN = ("--timerange", "20250308-20250310", "--pairs", "ETH/USD,PEPE/USD")
PATIENT = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], database=None
)
Path_ = tuple[str | int, ...]


@pytest.fixture(scope="module")
def exported(market_home: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A home, and the bundle of a run in it, with trades left open."""
    folder = tmp_path_factory.mktemp("checked")
    home = copied(market_home, folder / "home")
    printed = backtest(home, *SPAN, *LIVELY, "--export", str(folder / "run.json"))
    assert printed["n_trades"] > 5
    return home, folder / "run.json"


@pytest.fixture
def not_run_again(exported: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """What `--rerun` simulates is simulated once: what is tested is what comes before and after it."""
    made: list[Any] = []
    really = backtesting.measured_run

    def once(*arguments: Any, **options: Any) -> Any:
        if not made:
            made.append(really(*arguments, **options))
        return made[0]

    monkeypatch.setattr(backtesting, "measured_run", once)
    home, path = exported
    assert run_command(home, "backtest", "--rerun", str(path))[0] == 0
    assert len(made) == 1


def read(path: Path) -> Document:
    document: Document = json.loads(path.read_text(encoding="utf-8"))
    return document


def written(document: object, to: Path) -> Path:
    to.write_text(json.dumps(document), encoding="utf-8")
    return to


def of(document: Document, change: Callable[[Document], object]) -> Document:
    change(document)
    return document


def put(*place: str | int, value: object) -> Callable[[Document], None]:
    """A change that puts a value in a place of a document."""

    def change(document: Document) -> None:
        node: Any = document
        for part in place[:-1]:
            node = node[part]
        node[place[-1]] = value

    return change


DAMAGES: list[tuple[Callable[[Document], None], str]] = [
    (put("choice", "symbols", value=["FOO/USDT"]), "choice.providers has none for FOO/USDT"),
    (put("choice", "reference", value="FOO/USDT"), "choice.providers has none for FOO/USDT"),
    (
        put("choice", "symbols", value=["ETH/USD"]),
        "choice.providers has one for PEPE/USD, which is not among the symbols",
    ),
    (put("choice", "symbols", value=[]), "choice.symbols is []: expected at least one"),
    (put("code", "version", value=""), 'code.version is "": expected text that is not empty'),
    (put("choice", "symbols", value=["ETH/USD", "ETH/USD"]), "choice.symbols names a symbol twice"),
    (put("choice", "symbols", 0, value="eth"), 'choice.symbols number 1 is "eth": expected a symbol'),
    (put("choice", "base", value="5m"), 'choice.base is "5m": expected 1m, 15m or 1h'),
    (put("choice", "base", value="1h"), "figures.base and choice.base do not say the same"),
    (put("choice", "start_ms", value=1.5), "choice.start_ms is 1.5: expected a whole number"),
    (put("choice", "start_ms", value=2e12), "expected a whole number"),
    (put("choice", "end_ms", value=0), "choice.end_ms is not after choice.start_ms"),
    (put("choice", "end_ms", value=10**30), "choice.end_ms is 1"),
    (put("choice", "end_ms", value=1741651200000), "figures.end and choice.end_ms do not say the same"),
    (put("choice", "luck", value=7), "choice.luck is no key of a bundle"),
    (put("luck", value=7), "luck is no key of a bundle"),
    (put("trades", value=5), "trades is 5: expected a list"),
    (put("trades", 0, value={}), "trades number 1.trade_group_id is missing"),
    (put("trades", 1, "pnl_quote", value="1"), 'trades number 2.pnl_quote is "1": expected a number'),
    (put("trades", 1, "pnl_quote", value=10**400), "expected a finite number"),
    (
        put("trades", 1, "symbol", value="BTC/USD"),
        "trades number 2 is of BTC/USD, which is not among",
    ),
    (put("trades", 1, "strategy", value="MINE"), "trades number 2 is of MINE, which is not among"),
    (put("trades", 1, "exit_time", value=None), "trades number 2 has no exit"),
    (put("trades", 1, "exit_price", value=None), "trades number 2 has no exit price"),
    (put("trades", 1, "exit_reason", value="luck"), "expected one of take_profit"),
    (
        put("trades", 1, "exit_time", value="2025-03-11T00:00:00Z"),
        "the times of trades number 2 are not in order, or not in the span",
    ),
    (put("trades", 1, "entry_time", value="2025-03-08T15:00"), "expected a time with its zone"),
    (put("trades", value=[]), "trades has 0, figures.n_trades says"),
    (put("records", "closes", "count", value=3), "the span has 2,880, records.closes.count says 3"),
    (put("records", "fills", value=3), "records.fills is 3: expected an object"),
    (put("figures", value=[]), "figures is []: expected an object"),
    (
        put("figures", "breakdown", "day", value=[]),
        "figures.breakdown.day does not have the days of the span",
    ),
    (put("figures", "breakdown", "day", 0, "max_drawdown", value=-1), "max_drawdown is -1: expected"),
    (put("configuration", value=None), "configuration is null: expected an object"),
    (put("configuration", "trading", "timezone", value="Moon"), "expected a time zone such as UTC"),
    (put("configuration", "trading", "timezone", value="../x"), "expected a time zone such as UTC"),
    (put("configuration", "trading", "strategies", value=["MINE"]), "configuration.strategies has no MINE"),
    (put("options", "strategies", value=["mine"]), "configuration.strategies has no MINE"),
    (put("options", "strategies", value="DCA"), 'options.strategies is "DCA": expected a list'),
    (put("data", "symbols", value={}), "data.symbols has no digest of ETH/USD"),
]


@pytest.mark.parametrize(("change", "words"), DAMAGES)
def test_damage_is_named_with_its_place(
    exported: tuple[Path, Path], tmp_path: Path, change: Callable[[Document], None], words: str
):
    home, path = exported
    damaged = written(sealed(of(read(path), change)), tmp_path / "b.json")
    for asked in (
        ("backtest", "--rerun", str(damaged)),
        ("compare", str(damaged), str(path)),
        ("scorecard", "--bundle", str(damaged)),
    ):
        code, out, err = run_command(home, *asked, "--json")
        assert (code, out) == (1, ""), asked
        assert err.startswith(f"the bundle {damaged} is damaged: ")
        assert words in err
        assert "Input should" not in err
        assert err.endswith("; export the run again\n")
        assert err.count("\n") == 1


TAMPERED: list[tuple[Callable[[Document], None], str]] = [
    (put("trades", 0, "pnl_quote", value=999), "trades"),
    (put("trades", 0, "exit_price", value=1.5), "trades"),
    (put("figures", "breakdown", "day", 0, "equity_final", value=20_000.0), "figures"),
    (put("figures", "max_drawdown", value=0.0), "figures"),
    (put("configuration", "limits", "max_open", value=1), "configuration"),
    (put("seed", value=1), "seed"),
    (put("data", "symbols", "ETH/USD", value="0"), "data"),
    (put("digests", "trades", value="0"), "trades"),
    (put("digests", "whole", value="0"), "digests"),
    (put("digests", value={}), "format, format_version, code, data, "),
]


@pytest.mark.parametrize(("change", "part"), TAMPERED)
def test_a_bundle_that_was_changed_proves_nothing(
    exported: tuple[Path, Path], tmp_path: Path, change: Callable[[Document], None], part: str
):
    home, path = exported
    tampered = written(of(read(path), change), tmp_path / "b.json")
    told = f"the bundle {tampered} has been changed since it was written: {part}"
    for asked in (
        ("compare", str(tampered), str(path)),
        ("compare", str(path), str(tampered)),
        ("scorecard", "--bundle", str(tampered)),
    ):
        code, out, err = run_command(home, *asked)
        assert (code, out) == (1, ""), asked
        assert err.startswith(told)
        assert err.count("\n") == 1


def test_a_changed_choice_is_never_told_to_have_done_the_same(exported: tuple[Path, Path], tmp_path: Path):
    """Even where all that names the symbols was changed alike."""
    home, path = exported
    document = read(path)
    for part, swapped in (("choice", ["PEPE/USD", "ETH/USD"]), ("figures", ["PEPE/USD", "ETH/USD"])):
        document[part]["symbols"] = swapped
    code, out, err = run_command(home, "compare", str(written(document, tmp_path / "b.json")), str(path))
    assert (code, out) == (1, "")
    assert "has been changed since it was written: choice, figures; " in err


@pytest.mark.parametrize(
    ("change", "part"),
    [
        (put("configuration", "limits", "max_open", value=1), "configuration"),
        (put("options", "strategies", value=["DCA"]), "options"),
        (put("configuration", "fills", "data_lost_hours", value=1e300), "configuration"),
    ],
)
def test_what_a_run_is_repeated_from_may_not_be_changed(
    exported: tuple[Path, Path], tmp_path: Path, change: Callable[[Document], None], part: str
):
    home, path = exported
    tampered = written(of(read(path), change), tmp_path / "b.json")
    code, out, err = run_command(home, "backtest", "--rerun", str(tampered))
    assert (code, out) == (1, "")
    assert err == (
        f"the bundle {tampered} has been changed since it was written: {part}; export the run again\n"
    )


def test_a_digest_is_of_what_a_file_says_and_not_of_how_it_is_laid_out(
    exported: tuple[Path, Path], tmp_path: Path
):
    home, path = exported
    document = read(path)
    assert changed_parts(document) == ()
    turned = written(dict(reversed(document.items())), tmp_path / "b.json")
    assert run_command(home, "scorecard", "--bundle", str(turned))[0] == 0


def test_digests_that_are_none_are_damage(exported: tuple[Path, Path], tmp_path: Path):
    home, path = exported
    for value, words in (
        ("x", 'digests is "x": expected an object'),
        ({"trades": 1}, "digests.trades is 1: exp"),
    ):
        damaged = written(of(read(path), put("digests", value=value)), tmp_path / "b.json")
        code, out, err = run_command(home, "backtest", "--rerun", str(damaged))
        assert (code, out) == (1, "")
        assert words in err


def test_bars_that_the_home_does_not_have_are_named(exported: tuple[Path, Path], tmp_path: Path, home: Path):
    _, path = exported
    document = json.loads(path.read_text(encoding="utf-8").replace("PEPE/USD", "FOO/USD"))
    foreign = written(sealed(document), tmp_path / "b.json")
    code, out, err = run_command(home, "backtest", "--rerun", str(foreign))
    assert (code, out) == (1, "")
    assert "has no bars of FOO/USD" in err


# --------------------------------------------------------------------------------------- any change at all

VALUES = st.sampled_from(
    [
        None, True, 0, -1, 5, 0.5, 1e300, 10**30, 10**400, "", "x", "FOO/USDT", "SOL/USD", "DCA", "1h", "UTC",
        "2025-03-08T12:00:00Z", "2025-03-08", "9999-12-31T23:59:59Z", "\ud800", [], {}, [{}], {"x": {}}, [[[]]],
    ]
)  # fmt: skip


@st.composite
def changes(draw: st.DrawFn, document: Document) -> tuple[Path_, object]:
    """A place in the document, and what is put there; the value DELETED where the place is taken away."""
    node: Any = document
    place: list[str | int] = []
    while True:
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        place.append(draw(st.sampled_from(keys)))
        node = node[place[-1]]
        if not isinstance(node, dict | list) or not node or not draw(st.integers(0, 3)):
            return tuple(place), draw(st.one_of(st.just(DELETED), VALUES))


DELETED = object()


def mutated(document: Document, place: Path_, value: object) -> Document:
    node: Any = document
    for part in place[:-1]:
        node = node[part]
    if value is DELETED:
        del node[place[-1]]
    else:
        node[place[-1]] = value
    return document


def ended_in_a_sentence(home: Path, *asked: str) -> int:
    """The exit code; whatever is not the program's own error travels on and fails the test."""
    code, out, err = run_command(home, *asked, "--json")
    assert code in {0, 1, 2, 3}, err
    assert (out == "") == (code in {1, 2})
    assert "Traceback" not in err
    return code


@PATIENT
@given(data=st.data())
def test_no_change_is_believed_and_none_ends_in_a_traceback(
    exported: tuple[Path, Path], tmp_path: Path, data: st.DataObject
):
    home, path = exported
    place, value = data.draw(changes(read(path)))
    document = mutated(read(path), place, value)
    same = json.dumps(document) == json.dumps(read(path))
    file = str(written(document, tmp_path / "b.json"))
    assert ended_in_a_sentence(home, "scorecard", "--bundle", file) == (0 if same else 1)
    assert ended_in_a_sentence(home, "compare", file, str(path)) == (0 if same else 1)


@PATIENT
@given(data=st.data())
def test_a_change_with_digests_of_its_own_ends_in_no_traceback_either(
    exported: tuple[Path, Path], tmp_path: Path, data: st.DataObject
):
    home, path = exported
    place, value = data.draw(changes(read(path)))
    file = str(written(sealed(mutated(read(path), place, value)), tmp_path / "b.json"))
    ended_in_a_sentence(home, "scorecard", "--bundle", file)
    ended_in_a_sentence(home, "compare", file, str(path))


@PATIENT
@given(data=st.data())
@pytest.mark.usefixtures("not_run_again")
def test_a_changed_bundle_that_is_run_again_ends_in_no_traceback(
    exported: tuple[Path, Path], tmp_path: Path, data: st.DataObject
):
    home, path = exported
    place, value = data.draw(changes(read(path)))
    document = mutated(read(path), place, value)
    same = json.dumps(document) == json.dumps(read(path))
    code = ended_in_a_sentence(home, "backtest", "--rerun", str(written(document, tmp_path / "b.json")))
    assert (code == 0) == same
    document = sealed(document)  # which may come out the same: with another digest of the code, for one
    ended_in_a_sentence(home, "backtest", "--rerun", str(written(document, tmp_path / "b.json")))

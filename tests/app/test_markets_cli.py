"""`list-markets`: what an exchange says of its markets, shown, kept, and made into configuration."""

import json
import tomllib
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from crypto_tracker.app import providers
from crypto_tracker.config.layers import TextFile
from crypto_tracker.config.tree import load_configuration
from crypto_tracker.core.errors import ProviderUnavailable
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import to_ms
from crypto_tracker.market.providers.base import MarketInfo
from crypto_tracker.store.instruments import instruments
from crypto_tracker.store.market_database import writing
from crypto_tracker.store.tables import symbols
from crypto_tracker.strategies.registry import builtin
from tests.app.conftest import Command

MARKETS = (
    MarketInfo(
        symbol=Symbol("BTC", "USD"), provider_symbol="XBTUSD", tick=Decimal("0.1"), lot=Decimal("1E-8"),
        quantity_min=Decimal("0.00005"), notional_min=Decimal("0.5"), taker_fee=Decimal("0.0040"),
        maker_fee=Decimal("0.0025"), volume_quote=123_456_789.0,
    ),
    MarketInfo(symbol=Symbol("ETH", "USD"), provider_symbol="ETHUSD", tick=Decimal("0.01")),
    MarketInfo(symbol=Symbol("OLD", "USD"), provider_symbol="OLDUSD", active=False),
)  # fmt: skip
KRAKEN = ("--provider", "kraken")


class Exchange:
    """A provider that is asked for nothing but its markets."""

    name = "kraken"

    def __init__(self, answer: Callable[[], Sequence[MarketInfo]]) -> None:
        self.asked = 0
        self.closed = 0
        self._answer = answer

    async def markets(self) -> Sequence[MarketInfo]:
        self.asked += 1
        return self._answer()

    async def close(self) -> None:
        self.closed += 1


@pytest.fixture
def exchange(monkeypatch: pytest.MonkeyPatch) -> Exchange:
    made = Exchange(lambda: MARKETS)
    monkeypatch.setattr(providers, "history_of", lambda *_, **__: made)
    return made


def test_the_markets_of_a_provider_are_shown_and_the_connection_is_closed(
    exchange: Exchange, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("COLUMNS", "100")
    code, out, err = command(tmp_path, "list-markets", *KRAKEN)
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert code == 0
    assert lines == [
        "symbol there tick lot min coins min quote taker maker 24 h volume",
        "BTC/USD XBTUSD 0.1 0.00000001 0.00005 0.5 0.4 % 0.25 % 123,456,789",
        "ETH/USD ETHUSD 0.01 - - - - - -",
        "OLD/USD OLDUSD - - - - - - -",
        "inactive: OLD/USD kraken: not traded now",
    ]
    assert err.endswith("3 markets of kraken; - is what nobody says.\n")
    assert (exchange.asked, exchange.closed) == (1, 1)


@pytest.mark.usefixtures("exchange")
@pytest.mark.parametrize("width", [80, 100])
def test_no_line_is_wider_than_the_terminal(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, width: int
):
    monkeypatch.setenv("COLUMNS", str(width))
    assert max(map(len, command(tmp_path, "list-markets", *KRAKEN)[1].splitlines())) <= width


def test_what_concerns_us_is_kept_and_shown_again_without_asking(
    exchange: Exchange, command: Command, tmp_path: Path
):
    before = json.loads(command(tmp_path, "list-markets", *KRAKEN, "--json")[1])
    assert [str(each.rules.symbol) for each in instruments(tmp_path)] == [
        "BTC/USD",
        "ETH/USD",
    ]  # the universe
    assert command(tmp_path, "list-markets", *KRAKEN, "-p", "OLD/USD")[0] == 0
    after = json.loads(command(tmp_path, "list-markets", "--stored", "--json")[1])
    assert [each["symbol"] for each in after] == ["BTC/USD", "ETH/USD", "OLD/USD"]
    assert exchange.asked == 2
    for name in ("symbol", "provider", "provider_symbol", "tick", "lot", "taker_fee", "quantity_min"):
        assert after[0][name] == before[0][name]
    assert before[0]["lot"] == "0.00000001"
    assert before[1]["lot"] is None


@pytest.mark.usefixtures("exchange")
def test_the_reason_why_a_symbol_was_marked_inactive_is_told(command: Command, tmp_path: Path):
    command(tmp_path, "list-markets", *KRAKEN)
    with writing(tmp_path) as connection:
        connection.execute(
            symbols.update().where(symbols.c.symbol == "ETH/USD").values(status="inactive", reason="halted")
        )
    for asked in (KRAKEN, ("--stored",)):
        assert "inactive: ETH/USD kraken: halted" in command(tmp_path, "list-markets", *asked)[1]


@pytest.mark.usefixtures("exchange")
def test_the_sections_are_configuration_and_hold_the_same_numbers(command: Command, tmp_path: Path):
    code, out, _ = command(tmp_path, "list-markets", *KRAKEN, "--toml")
    assert code == 0
    assert tomllib.loads(out) == {
        "instruments": {
            "BTC/USD": {
                "tick": 0.1,
                "lot": 1e-8,
                "min_notional": 0.5,
                "taker_fee": 0.004,
                "maker_fee": 0.0025,
            },
            "ETH/USD": {"tick": 0.01},
        }
    }
    assert "# an order is for 0.00005 BTC at least" in out
    strategies = {name: strategy.parameters_model for name, strategy in builtin().items()}
    loaded = load_configuration(strategies, file=TextFile("pasted", out), environment={}, assignments=())
    assert loaded.tree.instruments["BTC/USD"].lot == 1e-8
    assert loaded.tree.instruments["ETH/USD"].taker_fee is None


@pytest.mark.usefixtures("exchange")
def test_sections_of_the_pairs_that_are_named(command: Command, tmp_path: Path):
    document = tomllib.loads(command(tmp_path, "list-markets", *KRAKEN, "--toml", "-p", "OLD/USD")[1])
    assert document == {"instruments": {"OLD/USD": {}}}


@pytest.mark.usefixtures("exchange")
@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ((*KRAKEN, "--toml", "--json"), 2, "choose one"),
        ((*KRAKEN, "-p", "XRP/USD"), 1, "kraken has no market XRP/USD"),
        (("--stored",), 1, "no rules of markets are stored"),
        (
            (*KRAKEN, "--toml", "--set", 'trading.quote="JPY"'),
            1,
            "none of the universe is among these markets",
        ),
    ],
)
def test_what_cannot_be_shown_is_told_in_one_sentence(
    command: Command, tmp_path: Path, arguments: tuple[str, ...], code: int, said: str
):
    found, out, err = command(tmp_path, "list-markets", *arguments)
    assert (found, out) == (code, "")
    assert said in " ".join(err.split())


def test_a_provider_that_cannot_be_reached_is_a_failure_and_its_connection_is_closed(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def unreachable() -> Any:
        raise ProviderUnavailable("kraken does not answer: try again later")

    made = Exchange(unreachable)
    monkeypatch.setattr(providers, "history_of", lambda *_, **__: made)
    code, out, err = command(tmp_path, "list-markets", *KRAKEN)
    assert (code, out) == (1, "")
    assert "kraken does not answer" in err
    assert made.closed == 1


def test_the_provider_is_the_configured_one_where_none_is_named(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    asked: list[str] = []

    def history_of(name: str, *_: object, **__: object) -> Exchange:
        asked.append(name)
        return Exchange(lambda: MARKETS)

    monkeypatch.setattr(providers, "history_of", history_of)
    for more in ((), ("--set", 'market_data.provider="kucoin"'), ("--provider", "Polygon")):
        assert command(tmp_path, "list-markets", *more)[0] == 0
    assert asked == ["kraken", "kucoin", "massive"]


def test_a_kraken_is_asked_through_ccxt_and_its_rules_are_exact(command: Command, tmp_path: Path):
    pytest.importorskip("ccxt")
    from tests.servers.exchange import minutes
    from tests.servers.kraken import KrakenServer

    start_ms = to_ms(datetime(2025, 3, 1, tzinfo=UTC))
    market = {"BTC/USD": minutes(start_ms, 10), "ETH/USD": minutes(start_ms, 10)}
    with KrakenServer(market, now_ms=lambda: start_ms + 600_000).running() as server:
        settings = ("--set", f"market_data.exchanges.kraken.settings={json.dumps(server.settings())}")
        code, out, err = command(tmp_path, "list-markets", *KRAKEN, "--json", *settings)
        assert code == 0, err
        _, sections, _ = command(tmp_path, "list-markets", "--stored", "--toml")
    bitcoin, ether = json.loads(out)
    assert (bitcoin["symbol"], ether["symbol"]) == ("BTC/USD", "ETH/USD")
    exact = {name: bitcoin[name] for name in ("tick", "lot", "quantity_min", "notional_min")}
    assert exact == {"tick": "0.1", "lot": "0.00000001", "quantity_min": "0.00005", "notional_min": "0.5"}
    assert (bitcoin["taker_fee"], bitcoin["maker_fee"]) == ("0.004", "0.0025")
    assert tomllib.loads(sections)["instruments"]["ETH/USD"] == {
        "tick": 0.1,
        "lot": 1e-8,
        "min_notional": 0.5,
        "taker_fee": 0.004,
        "maker_fee": 0.0025,
    }

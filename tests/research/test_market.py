"""What a simulation reads of the store: base, span, symbols, providers and reference, and what is said of it."""

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache

import numpy as np
import pytest

from crypto_tracker.config.tree import Configuration, load_configuration
from crypto_tracker.core.bars import Panel
from crypto_tracker.core.decisions import SlowRegime
from crypto_tracker.core.errors import CryptoTrackerError, DataError, UsageError
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import DAY_MS, HOUR_MS, MINUTE_MS, Timeframe, to_ms
from crypto_tracker.research.market import gather
from crypto_tracker.store.choice import Choice, choose, choose_reference
from crypto_tracker.store.series import SeriesInfo
from crypto_tracker.store.sources import side_by_side
from crypto_tracker.strategies.base import StrategyEntry
from crypto_tracker.strategies.needs import scan_timeframe
from crypto_tracker.strategies.registry import builtin

MARCH_MS = to_ms(datetime(2025, 3, 1, tzinfo=UTC))


@cache
def configuration(*assignments: str) -> Configuration:
    models = {name: strategy.parameters_model for name, strategy in builtin().items()}
    return load_configuration(models, file=None, environment={}, assignments=assignments).tree


def series(text: str) -> list[SeriesInfo]:
    """Series as lines `SYMBOL PROVIDER TIMEFRAME FIRST-DAY LAST-DAY ...` of March 2025, last days exclusive.

    More than one pair of days are several stretches that are known, with a gap between them.
    """
    found = []
    for line in text.split("\n"):
        if line.strip():
            symbol, provider, timeframe, *days = line.split()
            ends = [day(int(number)) for number in days]
            found.append(
                SeriesInfo(
                    symbol=Symbol.parse(symbol),
                    provider=provider,
                    timeframe=Timeframe.parse(timeframe),
                    start_ms=ends[0],
                    end_ms=ends[-1],
                    rows=1,
                    gaps=len(ends) // 2 - 1,
                    known=tuple(zip(ends[::2], ends[1::2], strict=True)),
                    completeness=1.0,
                    suspect=0,
                    quarantined=0,
                )
            )
    return found


def day(number: int) -> int:
    return MARCH_MS + (number - 1) * DAY_MS


def chosen(
    text: str,
    *pairs: str,
    timeframe: str | None = None,
    provider: str | None = None,
    span: tuple[int | None, int | None] = (None, None),
    settings: Sequence[str] = (),
) -> Choice:
    """The choice; the span is in days of March."""
    start, end = span
    return choose(
        series(text),
        configuration(*settings),
        pairs=pairs,
        timeframe=timeframe,
        provider=provider,
        start_ms=None if start is None else day(start),
        end_ms=None if end is None else day(end),
    )


def refusal(kind: type[CryptoTrackerError], text: str, *pairs: str, **arguments) -> str:
    with pytest.raises(kind) as refused:
        chosen(text, *pairs, **arguments)
    assert type(refused.value) is kind
    return str(refused.value)


TWO_COINS = """
    BTC/USD kraken 1m 1 20
    ETH/USD kraken 1m 5 25
"""
MIXED = """
    BTC/USD kraken 1m 1 20
    ETH/USD kraken 15m 1 20
    ADA/USD kraken 1h 1 20
"""

# ------------------------------------------------------------------------------------------------- base


@pytest.mark.parametrize(
    ("pairs", "base"),
    [
        (("BTC/USD",), Timeframe.M1),
        (("ETH/USD",), Timeframe.M15),
        (("ADA/USD",), Timeframe.H1),
        (("BTC/USD", "ETH/USD"), Timeframe.M15),
        (("BTC/USD", "ETH/USD", "ADA/USD"), Timeframe.H1),
        ((), Timeframe.M1),
    ],
)
def test_the_base_is_the_finest_that_every_pair_has_or_can_be_made_into(
    pairs: tuple[str, ...], base: Timeframe
):
    assert chosen(MIXED, *pairs).base is base


def test_without_pairs_those_with_the_finest_base_take_part():
    assert chosen(MIXED).symbols == (Symbol("BTC", "USD"),)
    assert chosen(MIXED, timeframe="1h").symbols == tuple(
        Symbol(coin, "USD") for coin in ("ADA", "BTC", "ETH")
    )


def test_a_coarse_base_is_labelled_with_its_cause():
    (note,) = chosen(MIXED, "ADA/USD").notes
    assert (
        note
        == "coarse base: orders meet 1h bars and strategies of finer ones scan them, since not every symbol has 1m bars in the span"
    )
    (note,) = chosen(MIXED, "BTC/USD", timeframe="15m").notes
    assert (
        note
        == "coarse base: orders meet 15m bars and strategies of finer ones scan them, as --timeframe asks"
    )
    assert chosen(MIXED, "BTC/USD").notes == ()


def test_bars_outside_the_span_make_no_base():
    text = "BTC/USD kraken 1m 10 20\nBTC/USD kraken 1h 1 20"
    assert chosen(text, "BTC/USD", span=(1, 9)).base is Timeframe.H1
    assert (
        chosen(text, "BTC/USD", span=(1, 10)).base is Timeframe.H1
    )  # the minutes begin when the span has ended
    assert chosen(text, "BTC/USD", span=(1, 11)).base is Timeframe.M1
    early = "BTC/USD kraken 1m 1 10\nBTC/USD kraken 1h 1 20"
    assert chosen(early, "BTC/USD", span=(10, 12)).base is Timeframe.H1  # they end when the span begins


@pytest.mark.parametrize("timeframe", ["5m", "4h", "1d"])
def test_a_timeframe_that_is_no_base_is_wrong_use(timeframe: str):
    message = refusal(UsageError, TWO_COINS, timeframe=timeframe)
    assert message == f"--timeframe {timeframe} can not be the base: choose 1m, 15m or 1h"


def test_an_unknown_timeframe_is_wrong_use():
    assert "choose 1m, 15m or 1h" in refusal(UsageError, TWO_COINS, timeframe="7m")


def test_a_finer_base_than_what_is_stored_is_refused_by_name():
    message = refusal(DataError, MIXED, "ADA/USD", "BTC/USD", timeframe="1m")
    assert message.startswith("the span holds no 1m bars of ADA/USD, BTC/USD: see list-data")


# ------------------------------------------------------------------------------------------------- span


def test_without_a_span_everything_is_taken():
    choice = chosen(TWO_COINS, "ETH/USD")
    assert (choice.start_ms, choice.end_ms) == (day(5), day(25))
    both = chosen(TWO_COINS)
    assert (both.start_ms, both.end_ms) == (day(1), day(25))


def test_a_span_within_the_bars_is_taken_as_it_is():
    choice = chosen(TWO_COINS, span=(6, 10))
    assert (choice.start_ms, choice.end_ms, choice.notes) == (day(6), day(10), ())


@pytest.mark.parametrize("span", [(1, 30), (1, 10), (1, None), (6, 30), (None, 30)])
def test_a_span_beyond_the_bars_is_cut_and_that_is_said(span: tuple[int | None, int | None]):
    choice = chosen(TWO_COINS, "ETH/USD", span=span)
    start, end = span
    assert choice.start_ms == day(max(5, start or 5))
    assert choice.end_ms == day(min(25, end or 25))
    assert choice.notes[0].startswith("bars reach from 2025-03-0")
    assert choice.notes[0].endswith("UTC only")


def test_an_open_side_reaches_to_the_end_of_the_bars_and_needs_no_note():
    assert chosen(TWO_COINS, "BTC/USD", span=(3, None)).end_ms == day(20)
    assert chosen(TWO_COINS, "BTC/USD", span=(3, None)).notes == ()


def test_a_span_without_bars_says_what_was_asked_for():
    message = refusal(DataError, TWO_COINS, "BTC/USD", span=(26, 28))
    assert message.startswith(
        "the span holds no 1m or 15m or 1h bars of BTC/USD: see list-data, and choose the span"
    )
    assert "of any symbol:" in refusal(DataError, TWO_COINS, span=(26, 28))


GAPPED = """
    BTC/USD kraken 1m 1 3 20 22
    BTC/USD kraken 1h 1 22
    ETH/USD kraken 1m 1 22
"""


def test_where_nothing_finer_is_known_in_the_span_the_coarser_base_is_taken():
    assert chosen(GAPPED, "BTC/USD", span=(5, 15)).base is Timeframe.H1
    assert chosen(GAPPED, "BTC/USD", span=(5, 21)).base is Timeframe.M1


def test_a_span_of_which_little_is_known_is_said_to_be_so():
    (note,) = chosen(GAPPED, "BTC/USD", "ETH/USD", span=(2, 22)).notes
    assert note == (
        "of the span only a part is known on 1m: BTC/USD 15.0 %; list-data --gaps says what is missing"
    )
    assert chosen(GAPPED, "BTC/USD", "ETH/USD", span=(1, 3)).notes == ()
    assert chosen(GAPPED, "ETH/USD").notes == ()
    six = "\n".join(f"C{n}/USD kraken 1m 1 2 {8 + n} 21" for n in range(1, 7))
    (note,) = [note for note in chosen(six).notes if "only a part" in note]
    assert "on 1m: C6/USD 40.0 %, C5/USD 45.0 %, C4/USD 50.0 %, and 3 more in part;" in note


# ------------------------------------------------------------------------------------- symbols, providers


def test_unknown_pairs_are_all_named():
    message = refusal(DataError, TWO_COINS, "BTC/USD", "XYZ/USD", "ETH/EUR")
    assert message == "there are no bars of XYZ/USD, ETH/EUR: see list-data, or bring some with import-data"


@pytest.mark.parametrize(("said", "meant"), [("btc/usd", "BTC/USD"), ("ETH/USDT", "ETH/USD")])
def test_a_pair_that_is_nearly_right_is_met_with_the_right_one(said: str, meant: str):
    message = refusal(DataError, TWO_COINS, said)
    assert message.startswith(f"there are no bars of {said}: did you mean {meant}? If not, see list-data")


@pytest.mark.parametrize("text", ["BTCUSD", "BTC/", "BTC/USD:"])
def test_what_is_no_symbol_is_wrong_use(text: str):
    refusal(UsageError, TWO_COINS, text)


def test_the_same_symbol_twice_is_wrong_use():
    assert "twice" in refusal(UsageError, TWO_COINS, "BTC/USD", "BTC/USD")


def test_an_empty_store_has_no_base():
    assert "of any symbol" in refusal(DataError, "")


def test_without_pairs_the_configured_universe_takes_part():
    text = TWO_COINS + "OTHER/USD kraken 1m 1 20"
    assert chosen(text).symbols == (Symbol("BTC", "USD"), Symbol("ETH", "USD"))
    assert chosen(text, settings=('universe.symbols=["OTHER/USD"]',)).symbols == (Symbol("OTHER", "USD"),)


def test_where_nothing_of_the_universe_is_stored_everything_takes_part_and_that_is_said():
    choice = chosen("BTC/USDT binance 1m 1 20\nOTHER/USDT binance 1m 1 20")
    assert choice.symbols == (Symbol("BTC", "USDT"), Symbol("OTHER", "USDT"))
    assert choice.notes == (
        (
            "every stored symbol takes part, as none of the universe is stored against USD: "
            "set trading.quote or universe.symbols"
        ),
    )


def test_two_providers_of_one_symbol_must_be_chosen_between():
    text = TWO_COINS + "ETH/USD coinbase 1m 1 20"
    assert refusal(UsageError, text, "ETH/USD") == (
        "ETH/USD has bars of several providers in the span (coinbase, kraken): "
        "choose one with --provider or market_data.provider"
    )
    assert chosen(text, "ETH/USD", provider="coinbase").provider_of[Symbol("ETH", "USD")] == "coinbase"
    configured = chosen(text, "ETH/USD", settings=("market_data.provider=coinbase",))
    assert configured.provider_of[Symbol("ETH", "USD")] == "coinbase"
    assert chosen(text, "ETH/USD", span=(22, 25)).provider_of[Symbol("ETH", "USD")] == "kraken"  # alone there


def test_the_span_is_that_of_the_chosen_provider():
    text = "BTC/USD kraken 1m 1 20\nBTC/USD coinbase 1m 8 30"
    choice = chosen(text, "BTC/USD", provider="coinbase")
    assert (choice.start_ms, choice.end_ms) == (day(8), day(30))


def test_a_provider_without_bars_is_named():
    message = refusal(DataError, TWO_COINS, "BTC/USD", provider="nobody")
    assert "of BTC/USD from nobody: see list-data" in message


# --------------------------------------------------------------------------------------------- reference


def test_the_reference_is_the_coin_in_the_kind_and_quote_of_what_is_traded():
    def reference(traded: str, *available: str) -> str | None:
        found = choose_reference(map(Symbol.parse, available), [Symbol.parse(traded)], "BTC")
        return None if found is None else str(found)

    everything = ("BTC/USD", "BTC/USDT", "BTC/USDT:USDT", "BTC/USDC:USDC", "ETH/USDT")
    assert reference("ETH/USDT", *everything) == "BTC/USDT"
    assert reference("SOL/USDT:USDT", *everything) == "BTC/USDT:USDT"
    assert reference("SOL/EUR", *everything) == "BTC/USD"  # spot; of those the first in the alphabet
    assert reference("SOL/USD", "BTC/USDC:USDC") == "BTC/USDC:USDC"
    assert reference("SOL/USD", "ETH/USD") is None


def test_the_reference_is_read_although_it_is_not_traded():
    choice = chosen(TWO_COINS, "ETH/USD")
    assert choice.symbols == (Symbol("ETH", "USD"),)
    assert choice.reference_symbol == Symbol("BTC", "USD")
    assert choice.provider_of == {Symbol("ETH", "USD"): "kraken", Symbol("BTC", "USD"): "kraken"}


def test_the_reference_of_a_coarse_base_may_be_made_of_minutes():
    assert chosen(MIXED, "ADA/USD").reference_symbol == Symbol("BTC", "USD")


def test_the_reference_comes_from_the_provider_of_what_is_traded():
    text = TWO_COINS + "BTC/USD coinbase 1m 1 20"
    assert chosen(text, "ETH/USD").provider_of[Symbol("BTC", "USD")] == "kraken"
    elsewhere = "ETH/USD bitstamp 1m 1 20\nBTC/USD coinbase 1m 1 20\nBTC/USD kraken 1m 1 20"
    assert refusal(UsageError, elsewhere, "ETH/USD").startswith("BTC/USD has bars of several providers")


def test_a_missing_reference_is_said_once():
    choice = chosen("ETH/USD kraken 1m 1 20", "ETH/USD")
    assert choice.reference_symbol is None
    assert choice.notes == (
        "the reference coin BTC has no 1m bars in the span: regime and volatility rules stay NORMAL",
    )


# ------------------------------------------------------------------------------------------------ gathering


class Drawn:
    """Bars of every timeframe whose close is the number of their day since 1970; notes what was read."""

    def __init__(self, missing: Sequence[str] = ()) -> None:
        self.missing = missing
        self.reads: list[tuple[str, Timeframe, int, int]] = []

    def panel(self, symbols: Sequence[Symbol], timeframe: Timeframe, start_ms: int, end_ms: int) -> Panel:
        self.reads.append((",".join(s.base for s in symbols), timeframe, start_ms, end_ms))
        empty = Panel.empty(timeframe, symbols, start_ms, end_ms)
        close = np.repeat((empty.open_time_ms // DAY_MS).astype(float)[:, None], len(symbols), axis=1)
        for column, symbol in enumerate(symbols):
            if symbol.base in self.missing:
                close[:, column] = np.nan
        fields = dict.fromkeys(("open", "high", "low", "close", "volume"), np.asfortranarray(close))
        return Panel(
            timeframe=timeframe,
            symbols=tuple(symbols),
            open_time_ms=empty.open_time_ms,
            covered=np.ones_like(empty.covered),
            **fields,
        )


def entries(*names: str) -> list[StrategyEntry]:
    return [
        StrategyEntry(strategy=builtin()[name], parameters=configuration().parameters(name)) for name in names
    ]


def gathered(
    source: Drawn,
    base: Timeframe = Timeframe.H1,
    *names: str,
    start_ms: int = day(10),
    reference: bool = True,
):
    return gather(
        source,
        configuration(),
        entries(*(names or ("DCA", "SWING", "CHANNEL"))),
        [Symbol("SOL", "USD"), Symbol("ETH", "USD")],
        reference_symbol=Symbol("BTC", "USD") if reference else None,
        base=base,
        start_ms=start_ms,
        end_ms=day(12),
    )


def test_columns_stand_in_the_order_of_their_names():
    market = gathered(Drawn())
    assert [symbol.base for symbol in market.panel.symbols] == ["ETH", "SOL"]
    assert market.instruments.symbols == market.panel.symbols == market.history.symbols


def test_the_history_holds_the_days_that_rule_R7_looks_at():
    market = gathered(Drawn())
    assert market.history.open_time_ms[0] == day(10) - 30 * DAY_MS
    assert market.panel.open_time_ms[0] == day(10)
    assert market.panel.close_time_ms[-1] == market.history.close_time_ms[-1] == day(12)


def test_the_reference_begins_three_days_earlier_and_ends_with_the_span():
    market = gathered(Drawn())
    assert market.reference is not None
    assert market.reference.open_time_ms[0] == day(7)
    assert market.reference.close_time_ms[-1] == day(12)


def test_a_span_is_cut_to_whole_bars_of_the_base():
    market = gathered(Drawn(), start_ms=day(10) + MINUTE_MS)
    assert market.start_ms == day(10) + HOUR_MS  # the bar that had begun before is left out
    assert market.panel.open_time_ms[0] == day(10) + HOUR_MS


def test_each_strategy_sees_its_timeframe_or_the_coarser_base_with_its_warmup_before_the_month():
    market = gathered(Drawn())
    assert set(market.views) == {Timeframe.H1}
    swing = builtin()["SWING"]
    view = market.views[Timeframe.H1]
    bars = swing.warmup[Timeframe.M15]
    assert view.panels[Timeframe.H1].open_time_ms[0] == MARCH_MS - bars * HOUR_MS
    assert view.panels[Timeframe.H4].open_time_ms[0] == MARCH_MS - swing.warmup[Timeframe.H4] * 4 * HOUR_MS
    fine = gathered(Drawn(), Timeframe.M15)
    assert set(fine.views) == {Timeframe.M15}
    assert scan_timeframe(builtin()["DCA"], Timeframe.M1) is Timeframe.M5
    assert scan_timeframe(builtin()["DCA"], Timeframe.H1) is Timeframe.H1


def test_the_slow_regime_is_that_of_the_daily_bars_of_the_reference():
    # The close rises by one each day: BULL from the 200th bar on, and the warm-up is long enough for it.
    view = gathered(Drawn()).views[Timeframe.H1]
    days = view.reference[Timeframe.D1]
    assert view.slow_regime is not None
    assert set(view.slow_regime[days.open_time_ms >= day(1)].tolist()) == {SlowRegime.BULL}


def test_a_reference_without_a_bar_in_the_span_is_none():
    market = gathered(Drawn(missing=["BTC"]))
    assert market.reference is None
    without = gathered(Drawn(), reference=False)
    assert without.reference is None
    assert without.views[Timeframe.H1].reference == {}
    assert without.views[Timeframe.H1].slow_regime is None


def test_a_span_without_a_single_bar_is_refused():
    with pytest.raises(DataError, match="there is no 1h bar of ETH/USD, SOL/USD in the span"):
        gathered(Drawn(missing=["ETH", "SOL"]))
    assert gathered(Drawn(missing=["ETH"])).panel.present.any()


def test_panels_side_by_side_keep_their_columns():
    source = Drawn(missing=["ETH"])
    left = source.panel([Symbol("SOL", "USD")], Timeframe.H1, day(1), day(2))
    right = source.panel([Symbol("ETH", "USD")], Timeframe.H1, day(1), day(2))
    both = side_by_side([left, right])
    assert [symbol.base for symbol in both.symbols] == ["SOL", "ETH"]
    assert both.present[:, 0].all()
    assert not both.present[:, 1].any()


def test_perpetuals_mixed_currencies_and_coins_that_stand_twice_are_said():
    text = "ADA/USDT file 1m 1 20\nADA/USDT:USDT binance 1m 1 20\nSOL/USDC:USDC hyperliquid 1m 1 20"
    notes = "\n".join(chosen(text).notes)
    assert "without funding payments" in notes
    assert "USDC and USDT" in notes
    assert "ADA: several symbols of one coin" in notes
    alone = "\n".join(chosen(text, "ADA/USDT").notes)
    assert "funding" not in alone
    assert "currency" not in alone
    assert "several symbols" not in alone

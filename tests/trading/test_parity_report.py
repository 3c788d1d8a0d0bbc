"""Records that were made by hand are compared, and every difference gets the right cause."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from crypto_tracker.core.decisions import Reason, Verdict
from crypto_tracker.core.orders import ExitReason, Fill, FillKind, Trade
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import MINUTE_MS, to_ms
from crypto_tracker.store.trading_records import SetupRecord
from crypto_tracker.strategies.decisions import ScanBlock, encode_block
from crypto_tracker.trading.parity_report import (
    Closes,
    Comparison,
    Difference,
    Held,
    Kind,
    Records,
    fill_differences,
    money_differences,
    position_differences,
    scan_differences,
    setup_differences,
    trade_differences,
    with_causes,
)

BTC, SOL = Symbol("BTC", "USDT"), Symbol("SOL", "USDT")
NOON = datetime(2025, 9, 1, 12, tzinfo=UTC)
NOON_MS = to_ms(NOON)
CLOSE_MS = NOON_MS + MINUTE_MS  # what is decided at this close belongs to the minute of noon
GROUP = "SOL/USDT-DCA-20250901T120000Z"


def same_program(minute_ms: int) -> None:
    """No other program has stepped the minute."""
    del minute_ms


def fill(minute: int = 0, **changes: object) -> Fill:
    made = Fill(
        trade_group_id=GROUP,
        symbol=SOL,
        strategy="DCA",
        kind=FillKind.RUNG,
        rung=1,
        bar_open_time=NOON + timedelta(minutes=minute),
        price=Decimal("20.5"),
        quantity=Decimal("2"),
        notional_quote=Decimal("41"),
        fee_quote=Decimal("0.123"),
        slippage_quote=Decimal("0"),
        exit_reason=ExitReason.NONE,
        volume_unknown=False,
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def trade(**changes: object) -> Trade:
    made = Trade(
        trade_group_id=GROUP,
        symbol=SOL,
        strategy="DCA",
        decision_time=NOON,
        entry_time=NOON,
        exit_time=NOON + timedelta(minutes=5),
        entry_price=Decimal("20.5"),
        exit_price=Decimal("21"),
        quantity=Decimal("2"),
        invested_quote=Decimal("41"),
        fee_quote=Decimal("0.25"),
        slippage_quote=Decimal("0"),
        pnl_quote=Decimal("0.75"),
        return_net=0.018,
        exit_reason=ExitReason.TAKE_PROFIT,
        entry_fills=1,
        ambiguous=False,
        fallback=False,
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def setup(**changes: object) -> SetupRecord:
    made = SetupRecord(
        setup_number=7,
        time_ms=CLOSE_MS,
        symbol=SOL,
        strategy="DCA",
        verdict=Verdict.TAKE,
        reason=Reason.ACCEPTED,
        readiness=100.0,
        confidence=0.7,
        rank=0,
        fallback=False,
        measured=None,
        limit=None,
        version="one",
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def block(*reasons: Reason, drop: tuple[float, ...] = (0.03, 0.04), version: str = "one") -> bytes:
    return encode_block(
        ScanBlock(
            strategy="DCA",
            time_ms=CLOSE_MS,
            version=version,
            symbols=(BTC, SOL),
            reason=np.array(reasons, dtype=np.int8),
            readiness=np.array([50.0, np.nan]),
            confidence=np.array([0.5, np.nan]),
            measurements={"drop": np.array(drop)},
        )
    )


def closes(equity: list[int], start_ms: int = NOON_MS, **changes: object) -> Closes:
    count = len(equity)
    made = Closes(
        time_ms=start_ms + MINUTE_MS * np.arange(count, dtype=np.int64),
        known=np.ones(count, dtype=np.bool_),
        equity_e8=np.array(equity, dtype=np.int64) * 10**8,
        cash_e8=np.zeros(count, dtype=np.int64),
        reserved_e8=np.zeros(count, dtype=np.int64),
        regime=np.zeros(count, dtype=np.int8),
        volatility=np.full(count, np.nan),
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def says(found: object) -> list[str]:
    return [each.says for each in found]  # type: ignore[attr-defined]


# ---------------------------------------------------------------------------------- comparison


def test_a_scan_that_was_a_setup_is_told_first_and_the_others_are_counted():
    key = (CLOSE_MS, "DCA")
    old = {key: block(Reason.DROP_TOO_SMALL, Reason.ACCEPTED)}
    new = {key: block(Reason.NOT_READY, Reason.VOLUME_LOW)}
    (found,) = scan_differences(old, new, {})
    assert found.says == (
        "the scan of DCA at 2025-09-01 12:01 of SOL/USDT and of 1 more says volume_low, recorded was a setup"
    )
    assert found.symbols == (SOL, BTC)
    assert (found.minute_ms, found.strategy) == (NOON_MS, "DCA")


def test_a_scan_that_measures_otherwise_is_told_with_both_numbers():
    key = (CLOSE_MS, "DCA")
    old = {key: block(Reason.DROP_TOO_SMALL, Reason.NOT_READY)}
    new = {key: block(Reason.DROP_TOO_SMALL, Reason.NOT_READY, drop=(0.025, 0.04))}
    assert says(scan_differences(old, new, {})) == [
        "the scan of DCA at 2025-09-01 12:01 of BTC/USDT has drop 0.025, recorded was 0.03"
    ]


def test_scans_that_only_one_side_has_are_told():
    key, made = (CLOSE_MS, "DCA"), block(Reason.NOT_READY, Reason.NOT_READY)
    where = "the scan of DCA at 2025-09-01 12:01"
    assert says(scan_differences({key: made}, {}, {})) == [f"{where} is recorded, and none is due"]
    assert says(scan_differences({}, {key: made}, {})) == [f"{where} is made, and none is recorded"]
    assert says(scan_differences({key: made}, {}, {key: "KeyError: 'x'"})) == [
        f"{where} fails now: KeyError: 'x'"
    ]
    (damaged,) = scan_differences({key: b"nonsense"}, {key: made}, {})
    assert damaged.says.startswith(f"{where} is recorded, but a decision block")
    assert says(
        scan_differences({key: made}, {key: block(Reason.NOT_READY, Reason.NOT_READY, version="two")}, {})
    ) == [f"{where} is of the configuration two, recorded was one"]


def test_what_the_portfolio_answers_is_told_with_both_reasons():
    refused = setup(verdict=Verdict.SKIP, reason=Reason.NO_CASH)
    assert says(setup_differences([setup()], [refused])) == [
        "the portfolio answers no_cash, recorded was accepted (DCA of SOL/USDT at 2025-09-01 12:01)"
    ]
    assert says(setup_differences([setup()], [setup(rank=3)])) == [
        "the setup of DCA of SOL/USDT at 2025-09-01 12:01: rank 3, recorded was 0"
    ]


def test_setups_are_known_by_time_symbol_and_strategy_and_not_by_their_number():
    assert not list(setup_differences([setup()], [setup(setup_number=None)]))
    near = setup(verdict=Verdict.NEAR_MISS, reason=Reason.VOLUME_LOW, setup_number=None)
    where = "DCA of SOL/USDT at 2025-09-01 12:01"
    assert says(setup_differences([near], [])) == [
        f"a near miss of {where} is recorded, the re-run finds none"
    ]
    assert says(setup_differences([], [setup()])) == [f"a setup of {where} is found, and none is recorded"]


def test_fills_of_one_rung_in_one_minute_are_matched_in_their_order():
    twice = [fill(), fill(quantity=Decimal("3"))]
    assert not list(fill_differences(twice, twice))
    assert says(fill_differences(twice, [fill()])) == [
        f"the rung 1 fill of {GROUP} is recorded, the re-run has none"
    ]
    assert says(fill_differences([fill()], [fill(price=Decimal("20.4"))])) == [
        f"the rung 1 fill of {GROUP}: price 20.4, recorded was 20.5"
    ]


def test_trades_are_told_with_what_differs():
    other = trade(exit_reason=ExitReason.STOP_LOSS, pnl_quote=Decimal("-1"))
    (found,) = trade_differences([trade()], [other])
    assert found.says == (
        f"the trade {GROUP}: pnl_quote -1, recorded was 0.75, exit_reason stop_loss, recorded was take_profit"
    )
    assert found.minute_ms == NOON_MS + 5 * MINUTE_MS
    assert says(trade_differences([], [trade()])) == [
        f"the trade {GROUP} comes of the re-run, and none is recorded"
    ]


def test_positions_are_told_with_what_differs():
    open_trade = trade(exit_time=None, exit_price=None, exit_reason=ExitReason.NONE)
    held = Held(trade=open_trade, open_quantity=Decimal("2"), stop_price=19.0, target_price=22.0)
    assert not list(position_differences(CLOSE_MS, [held], [held]))
    assert says(position_differences(CLOSE_MS, [held], [replace(held, stop_price=18.5)])) == [
        f"the position {GROUP}: stop_price 18.5, recorded was 19.0"
    ]
    assert says(position_differences(CLOSE_MS, [held], [])) == [
        f"the position {GROUP} is recorded, the re-run has none"
    ]


def test_minutes_that_follow_one_another_are_one_difference():
    found = list(money_differences(closes([5, 5, 5, 5, 5]), closes([5, 6, 7, 5, 4])))
    assert [(each.minute_ms - NOON_MS, each.end_ms - NOON_MS) for each in found if each.end_ms] == [
        (MINUTE_MS, 3 * MINUTE_MS),
        (4 * MINUTE_MS, 5 * MINUTE_MS),
    ]
    assert says(found)[0] == "equity 6.00000000, recorded was 5.00000000"


def test_minutes_without_a_record_are_not_compared():
    unknown = closes([5, 0], known=np.array([True, False]))
    assert not list(money_differences(unknown, closes([5, 5])))


def test_money_that_differs_across_two_pieces_is_one_difference():
    comparison = Comparison()
    for start_ms in (NOON_MS, NOON_MS + 2 * MINUTE_MS):
        old, new = (
            Records(blocks={}, setups=[], fills=[], trades=[], closes=closes(equity, start_ms))
            for equity in ([5, 5], [4, 4])
        )
        comparison.piece(old, new)
    (found,) = comparison.finish(same_program)
    assert (found.minute_ms, found.end_ms) == (NOON_MS, NOON_MS + 4 * MINUTE_MS)
    assert comparison.compared.minutes == 4


def test_equal_records_have_no_difference():
    comparison = Comparison()
    records = Records(
        blocks={(CLOSE_MS, "DCA"): block(Reason.NOT_READY, Reason.ACCEPTED)},
        setups=[setup()],
        fills=[fill()],
        trades=[trade(return_net=float("nan"))],
        closes=closes([5]),
    )
    comparison.piece(records, records)
    assert comparison.finish(same_program) == []
    assert comparison.compared.scans == 2


# ---------------------------------------------------------------------------------- causes


def difference(minute: int, kind: Kind, *symbols: Symbol, minutes: int | None = None) -> Difference:
    start_ms = NOON_MS + minute * MINUTE_MS
    return Difference(
        minute_ms=start_ms,
        kind=kind,
        says=f"{kind} {minute}",
        symbols=symbols,
        strategy="DCA" if kind in (Kind.SCAN, Kind.SETUP) else None,
        end_ms=None if minutes is None else start_ms + minutes * MINUTE_MS,
    )


def causes(
    found: list[Difference],
    altered: set[int] = frozenset(),  # type: ignore[assignment]
    code: Callable[[int], str | None] = same_program,
) -> list[tuple[str, str, bool]]:
    minutes = {NOON_MS + minute * MINUTE_MS for minute in altered}
    return [(each.says, each.cause, each.root) for each in with_causes(found, minutes, code)]


def test_everything_follows_from_bars_that_changed():
    found = [
        difference(5, Kind.EQUITY, minutes=9),
        difference(5, Kind.FILL, SOL),
        difference(3, Kind.SETUP, SOL),
        difference(3, Kind.SCAN, SOL),
        difference(1, Kind.BARS, SOL),
        difference(8, Kind.TRADE, SOL),
    ]
    follows = "follows from the difference at 2025-09-01 12:01 (bars of SOL/USDT)"
    assert causes(found) == [
        ("bars 1", "bars 1", True),
        ("scan 3", follows, False),
        ("setup 3", follows, False),
        ("fill 5", follows, False),
        ("equity 5", follows, False),
        ("trade 8", follows, False),
    ]


def test_a_scan_does_not_follow_from_bars_of_another_symbol_or_from_the_portfolio():
    found = [
        difference(1, Kind.BARS, BTC),
        difference(2, Kind.FILL, BTC),
        difference(3, Kind.SCAN, SOL),
        difference(4, Kind.SCAN, SOL),
    ]
    assert causes(found)[2:] == [
        ("scan 3", "scan 3", True),
        ("scan 4", "as in the scan at 2025-09-01 12:04", False),
    ]


def test_a_difference_follows_from_the_last_root_of_its_symbol():
    found = [
        difference(1, Kind.BARS, SOL),
        difference(2, Kind.BARS, BTC),
        difference(3, Kind.FILL, SOL),
        difference(4, Kind.EQUITY, minutes=1),
    ]
    assert [cause for _, cause, _ in causes(found)[2:]] == [
        "follows from the difference at 2025-09-01 12:01 (bars of SOL/USDT)",
        "follows from the difference at 2025-09-01 12:01 (bars of SOL/USDT)",
    ]


def test_an_altered_record_explains_itself_and_nothing_later():
    found = [difference(1, Kind.FILL, SOL), difference(4, Kind.SETUP, BTC)]
    assert causes(found, {1}) == [
        ("fill 1", "a fill was altered after it was written", True),
        ("setup 4", "setup 4", True),
    ]


def test_a_minute_whose_altered_records_had_consequences_is_the_root_of_them():
    found = [difference(1, Kind.FILL, SOL), difference(1, Kind.EQUITY, minutes=3)]
    altered = "the records of the minute 2025-09-01 12:01 were altered after they were written"
    follows = "follows from the difference at 2025-09-01 12:01 (altered records)"
    assert causes(found, {1}) == [
        (altered, altered, True),
        ("fill 1", follows, False),
        ("equity 1", follows, False),
    ]
    assert causes([difference(1, Kind.SETUP, SOL), difference(2, Kind.FILL, SOL)], {1})[0] == (
        altered,
        altered,
        True,
    )


def test_an_altered_minute_that_shows_nothing_is_a_difference():
    altered = "the records of the minute 2025-09-01 12:07 were altered after they were written"
    assert causes([], {7}) == [(altered, altered, True)]


def test_another_program_is_named_where_nothing_else_explains_a_difference():
    def other(minute_ms: int) -> str | None:
        return "code version 0.1.0 then, 0.2.0 now" if minute_ms < NOON_MS + 3 * MINUTE_MS else None

    found = [difference(1, Kind.SCAN, SOL), difference(2, Kind.FILL, SOL), difference(5, Kind.BARS, BTC)]
    assert [cause for _, cause, _ in causes(found, code=other)] == [
        "scan 1; code version 0.1.0 then, 0.2.0 now",
        "follows from the difference at 2025-09-01 12:01 (scan of SOL/USDT)",
        "bars 5",
    ]


@given(
    st.lists(
        st.builds(
            difference,
            st.integers(0, 9),
            st.sampled_from([kind for kind in Kind if kind is not Kind.RECORD]),
            st.sampled_from([BTC, SOL]),
        )
    ),
    st.sets(st.integers(0, 9)),
)
def test_every_difference_has_a_cause_and_what_is_first_is_a_root(found: list[Difference], altered: set[int]):
    minutes = {NOON_MS + minute * MINUTE_MS for minute in altered}
    result = with_causes(found, minutes, same_program)
    assert len(result) >= len(found)
    assert all(each.cause for each in result)
    assert result == sorted(result, key=lambda each: each.minute_ms)
    assert minutes <= {each.minute_ms for each in result}
    if result:
        assert result[0].root
    for each in result:
        if each.kind in (Kind.BARS, Kind.RECORD):
            assert each.root

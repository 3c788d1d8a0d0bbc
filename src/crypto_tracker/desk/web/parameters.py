"""What endpoints can be asked for: the query parameters that several share, with bounds and examples."""

import difflib
from dataclasses import dataclass
from typing import Annotated, Literal

from fastapi import Depends, Query
from pydantic import WithJsonSchema

from crypto_tracker.core.decisions import Reason
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import DAY_MS, Timeframe
from crypto_tracker.desk.source import ROWS_MAX, DecisionFilter, LogFilter, TradeFilter, TradeOrder
from crypto_tracker.desk.views.decisions import LogKind, Verdict
from crypto_tracker.desk.web.problems import Refused

LATEST_MS = 4_102_444_800_000  # the year 2100
SPAN_DAYS_MAX = 400  # of what is drawn over candles
NAMES_MAX = 200  # of one repeated parameter

ACCOUNT = r"^([a-z0-9][a-z0-9_-]{0,62}|run:[1-9][0-9]{0,9})$"
SYMBOL = r"^[A-Za-z0-9]{1,24}/[A-Za-z0-9]{1,24}(:[A-Za-z0-9]{1,24})?$"
STRATEGY = r"^[A-Z_][A-Z0-9_]{0,63}$"
REASONS = tuple(reason.code for reason in Reason)
CURSOR = r"^[A-Za-z0-9_=-]{1,512}$"

TimeframeCode = Literal["1m", "5m", "15m", "1h", "4h", "1d"]
Tier = Literal["large_cap", "mid_cap", "small_cap", "memecoin"]
ExitCode = Literal[
    "take_profit",
    "stop_loss",
    "trailing_stop",
    "time_exit",
    "manual",
    "market_transition",
    "data_lost",
    "end_of_data",
]

ReasonCode = Annotated[str, Query(max_length=64), WithJsonSchema({"type": "string", "enum": [*REASONS]})]
AccountQuery = Annotated[
    str | None,
    Query(
        pattern=ACCOUNT,
        description="An account such as `paper`, or a recorded run such as `run:17`. Without it: the account "
        "that runs, else the one that was started last, else the newest run.",
        examples=["paper", "run:17"],
    ),
]
Limit = Annotated[int, Query(ge=1, le=ROWS_MAX, description="Rows of one page.", examples=[50])]
Cursor = Annotated[
    str | None,
    Query(pattern=CURSOR, description="`next` of the page before this one.", examples=["MTAyNA"]),
]
StartMs = Annotated[
    int | None,
    Query(
        ge=0, le=LATEST_MS, description="Start of the span, UTC milliseconds.", examples=[1_755_820_800_000]
    ),
]
EndMs = Annotated[
    int | None,
    Query(
        ge=0,
        le=LATEST_MS,
        description="End of the span, UTC milliseconds; not in it.",
        examples=[1_755_907_200_000],
    ),
]
SymbolText = Annotated[str, Query(pattern=SYMBOL, description="BASE/QUOTE.", examples=["BTC/USDT"])]
StrategyText = Annotated[str, Query(pattern=STRATEGY, description="Its name.", examples=["DCA"])]
TimeframeQuery = Annotated[TimeframeCode, Query(description="Length of a bar.", examples=["15m"])]
StrategyTexts = Annotated[
    list[Annotated[str, Query(pattern=STRATEGY)]],
    Query(description="Only these; may be repeated.", examples=[["DCA"]], max_length=NAMES_MAX),
]
SymbolTexts = Annotated[
    list[Annotated[str, Query(pattern=SYMBOL)]],
    Query(description="Only these; may be repeated.", examples=[["BTC/USDT"]], max_length=NAMES_MAX),
]


@dataclass(frozen=True, slots=True)
class Span:
    """[start_ms, end_ms); None leaves that side open."""

    start_ms: int | None
    end_ms: int | None


async def span(start_ms: StartMs = None, end_ms: EndMs = None) -> Span:
    """The span that is asked for; refuses one that is empty."""
    refuse_empty(start_ms, end_ms)
    return Span(start_ms, end_ms)


def refuse_empty(start_ms: int | None, end_ms: int | None) -> None:
    """Refuse a span that holds nothing."""
    if start_ms is not None and end_ms is not None and start_ms >= end_ms:
        raise Refused(400, "the span is empty: end_ms is exclusive and must be later than start_ms")


def refuse_long(start_ms: int, end_ms: int) -> None:
    """Refuse a span that is longer than what is drawn at once."""
    refuse_empty(start_ms, end_ms)
    if end_ms - start_ms > SPAN_DAYS_MAX * DAY_MS:
        raise Refused(400, f"the span is longer than {SPAN_DAYS_MAX} days: ask for less at once")


async def trade_filter(
    asked_span: Annotated[Span, Depends(span)],
    symbol: SymbolTexts = [],  # noqa: B006 - read only, and what FastAPI documents as the default
    strategy: StrategyTexts = [],  # noqa: B006
    reason: Annotated[
        list[ExitCode],
        Query(description="Why they were closed; may be repeated.", examples=[["take_profit"]]),
    ] = [],  # noqa: B006
    tier: Annotated[
        list[Tier], Query(description="Of the symbol; may be repeated.", examples=[["mid_cap"]])
    ] = [],  # noqa: B006
    outcome: Annotated[
        Literal["win", "loss"] | None, Query(description="Only those that made, or lost, money.")
    ] = None,
) -> TradeFilter:
    """Which trades are wanted; the span is of their exits."""
    return TradeFilter(
        symbols=symbols_of(symbol),
        strategies=_once(strategy),
        reasons=_once(reason),
        tiers=_once(tier),
        outcome=outcome,
        start_ms=asked_span.start_ms,
        end_ms=asked_span.end_ms,
    )


async def decision_filter(
    asked_span: Annotated[Span, Depends(span)],
    symbol: SymbolTexts = [],  # noqa: B006
    strategy: StrategyTexts = [],  # noqa: B006
    reason: Annotated[
        list[ReasonCode],
        Query(
            description="The code of the answer; may be repeated.",
            examples=[["share_used"]],
            max_length=NAMES_MAX,
        ),
    ] = [],  # noqa: B006
    verdict: Annotated[
        list[Verdict],
        Query(
            description="TAKE and SKIP are setups, NEAR_MISS nearly was one; may be repeated.",
            examples=[["SKIP"]],
        ),
    ] = [],  # noqa: B006
) -> DecisionFilter:
    """Which setups and near misses are wanted; the span is of the deciding closes."""
    for code in reason:
        refuse_unknown_reason(code)
    return DecisionFilter(
        symbols=symbols_of(symbol),
        strategies=_once(strategy),
        reasons=_once(reason),
        verdicts=tuple(dict.fromkeys(verdict)),
        start_ms=asked_span.start_ms,
        end_ms=asked_span.end_ms,
    )


async def log_filter(
    asked_span: Annotated[Span, Depends(span)],
    symbol: SymbolTexts = [],  # noqa: B006
    kind: Annotated[
        list[LogKind],
        Query(description="What happened; may be repeated.", examples=[["buy"]], max_length=NAMES_MAX),
    ] = [],  # noqa: B006
) -> LogFilter:
    """Which lines of the log are wanted; with a symbol only those that are of it."""
    return LogFilter(
        symbols=symbols_of(symbol),
        kinds=tuple(dict.fromkeys(kind)),
        start_ms=asked_span.start_ms,
        end_ms=asked_span.end_ms,
    )


def refuse_unknown_reason(code: str) -> None:
    """Refuse a reason that no scan and no portfolio can give, with the one that was most likely meant."""
    if code not in REASONS:
        near = difflib.get_close_matches(code, REASONS, n=1)
        meant = f"did you mean {near[0]}?" if near else "decisions/counts names those that were given"
        raise Refused(422, f"the parameter reason is no reason that there is: {meant}")


def symbols_of(texts: list[str]) -> tuple[Symbol, ...]:
    """The symbols, once each."""
    return tuple(dict.fromkeys(Symbol.parse(text) for text in texts))


def timeframe_of(code: TimeframeCode) -> Timeframe:
    """The timeframe with this code."""
    return Timeframe.parse(code)


def _once(names: list[str] | list[ExitCode] | list[Tier]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))


SpanAsked = Annotated[Span, Depends(span)]
TradesAsked = Annotated[TradeFilter, Depends(trade_filter)]
DecisionsAsked = Annotated[DecisionFilter, Depends(decision_filter)]
LogAsked = Annotated[LogFilter, Depends(log_filter)]
OrderQuery = Annotated[TradeOrder, Query(description="By which column.")]

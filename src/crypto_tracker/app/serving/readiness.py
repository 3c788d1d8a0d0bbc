"""How near every symbol is to a setup of every strategy, from the last scan of each."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from crypto_tracker.app.screen.words import lacks
from crypto_tracker.app.serving.pairs import UNKNOWN, PriceNow
from crypto_tracker.app.serving.recent import Recent
from crypto_tracker.app.serving.scans import scan_sentence
from crypto_tracker.app.serving.scope import Scope
from crypto_tracker.app.serving.strategy_view import facts_of, parameters_of, timeframe_of
from crypto_tracker.app.serving.trade_view import tiers_of
from crypto_tracker.core.decisions import Reason
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.desk.views import strategies as views
from crypto_tracker.strategies.decisions import ScanBlock
from crypto_tracker.strategies.levels import trigger

BANDS = (("ready", 80.0), ("close", 60.0), ("neutral", 30.0))
"""From which readiness on a symbol is in a band; below the last one it is `waiting`."""

_ROWS_KEPT = 16


class _Rows(Recent[list[tuple[Symbol, dict[str, Any]]]]):
    """What the newest scans alone said."""

    def __init__(self) -> None:
        super().__init__(_ROWS_KEPT)


def band(readiness: float) -> str:
    """The band of a readiness, `waiting` where it is NaN.

    >>> band(80.0), band(79.9), band(30.0), band(float("nan"))
    ('ready', 'close', 'neutral', 'waiting')
    """
    return next((name for name, least in BANDS if readiness >= least), "waiting")


def readiness(
    scope: Scope,
    blocks: Mapping[str, ScanBlock],
    states: Mapping[Symbol, str],
    prices: Mapping[Symbol, PriceNow],
) -> views.ReadinessBoard:
    """The last scan of every strategy; `states` are what the portfolio has with a symbol that is not free."""
    return views.ReadinessBoard(
        account=scope.account,
        until_ms=scope.until_ms,
        items=[_board(scope, name, blocks.get(name), states, prices) for name in scope.strategies],
    )


def _board(
    scope: Scope,
    name: str,
    block: ScanBlock | None,
    states: Mapping[Symbol, str],
    prices: Mapping[Symbol, PriceNow],
) -> views.StrategyReadiness:
    strategy = scope.installed.get(name)
    timeframe = None if strategy is None else timeframe_of(scope, strategy)
    rows = []
    if block is not None:
        key = (scope.version, name, block.time_ms)
        for symbol, row in scope.memory.of(_Rows).made(key, lambda: _rows(scope, block)):
            price = prices.get(symbol, UNKNOWN)
            rows.append(
                views.ReadinessRow.model_validate(
                    {
                        **row,
                        "price": price.price,
                        "return_24h": price.return_24h,
                        "state": states.get(symbol, "free"),
                    }
                )
            )
    bands = [row.band for row in rows]
    return views.StrategyReadiness(
        strategy=name,
        timeframe="" if timeframe is None else str(timeframe),
        scanned_ms=None if block is None else block.time_ms,
        next_ms=None
        if timeframe is None or not scope.live
        else timeframe.floor(scope.until_ms) + timeframe.ms,
        ready=bands.count("ready"),
        close=bands.count("close"),
        neutral=bands.count("neutral"),
        waiting=bands.count("waiting"),
        rows=rows,
    )


def _rows(scope: Scope, block: ScanBlock) -> list[tuple[Symbol, dict[str, Any]]]:
    """What the scan alone says of each symbol that is still watched, the nearest first."""
    tiers, watched = tiers_of(scope.configuration, scope.symbols), set(scope.symbols)
    strategy = scope.installed.get(block.strategy)
    parameters = None if strategy is None else parameters_of(scope.configuration, strategy)
    order = sorted(
        (column for column, symbol in enumerate(block.symbols) if symbol in watched),
        key=lambda column: (-np.nan_to_num(block.readiness[column], nan=-1.0), block.symbols[column]),
    )
    rows = []
    for column in order:
        symbol, reason = block.symbols[column], Reason(int(block.reason[column]))
        measured = {name: float(values[column]) for name, values in block.measurements.items()}
        needed = None
        if strategy is not None and parameters is not None and reason is not Reason.ACCEPTED:
            needed = trigger(strategy, parameters, facts_of(scope, symbol), measured)
        row = {
            "symbol": str(symbol),
            "tier": tiers[symbol],
            "readiness": float(block.readiness[column]),
            "band": band(float(block.readiness[column])),
            "confidence": float(block.confidence[column]),
            "reason": reason.code,
            "lacks": lacks(reason, measured),
            "sentence": scan_sentence(reason, measured),
            "trigger": None if needed is None else needed.sentence,
            "trigger_price": None if needed is None else needed.price,
            "measurements": measured,
        }
        rows.append((symbol, row))
    return rows

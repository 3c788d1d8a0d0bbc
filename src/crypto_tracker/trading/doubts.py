"""The gate of data quality: setups of symbols whose bars are doubtful are withheld, as the journal notes."""

from collections.abc import Sequence

import numpy as np

from crypto_tracker.core.arrays import FloatArray, IntArray, RecordArray
from crypto_tracker.core.decisions import Reason
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import MINUTE_MS
from crypto_tracker.store.trading_records import Doubt
from crypto_tracker.strategies.base import EVENT_SETUP


def withhold_doubtful(
    setups: RecordArray, symbols: Sequence[Symbol], scores: FloatArray, score_min: float
) -> list[Doubt]:
    """Withhold the setups of symbols that score less than `score_min`; returns these symbols, in their order.

    Parameters
    ----------
    setups : SETUP_DTYPE of one minute, changed in place; `symbols` are the columns that they name
    scores : (symbols,), NaN where nobody has measured: such a symbol is not doubted
    """
    doubtful = np.flatnonzero(scores < score_min)
    rows = np.flatnonzero((setups["kind"] == EVENT_SETUP) & np.isin(setups["symbol"], doubtful))
    setups["withheld"][rows] = Reason.DATA_DOUBTFUL
    return [
        Doubt(symbol=symbols[column], score=float(scores[column]), score_min=score_min)
        for column in np.unique(setups["symbol"][rows]).tolist()
    ]


def withhold_again(
    setups: RecordArray, symbols: Sequence[Symbol], journaled: Sequence[tuple[int, Doubt]]
) -> None:
    """Withhold, in place, the setups that were withheld when they were found.

    `journaled` are the minutes and symbols of the journal; a setup is decided at the close of its minute.
    """
    if not journaled:
        return
    columns = {symbol: column for column, symbol in enumerate(symbols)}
    found = {(time_ms + MINUTE_MS, columns[doubt.symbol]) for time_ms, doubt in journaled}
    rows: IntArray = np.array(
        [
            row
            for row in np.flatnonzero(setups["kind"] == EVENT_SETUP).tolist()
            if (int(setups["time_ms"][row]), int(setups["symbol"][row])) in found
        ],
        dtype=np.int64,
    )
    setups["withheld"][rows] = Reason.DATA_DOUBTFUL

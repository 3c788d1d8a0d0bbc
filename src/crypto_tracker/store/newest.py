"""The newest minutes of many symbols, out of the hot tier alone where it can answer."""

import json
from collections.abc import Sequence

from sqlalchemy import Connection

from crypto_tracker.core.arrays import BoolArray, FloatArray, IntArray
from crypto_tracker.store.database import plain_rows

# Revisions of one minute come in their order, so that the newest one is met last.
_NEWEST_HOT = (
    "SELECT wanted.key, open_time_ms, open, high, low, close, ifnull(volume, 9e999) "
    "FROM json_each(?1) AS wanted CROSS JOIN bars ON symbol_id = wanted.value AND timeframe = '1m' "
    "AND open_time_ms = (SELECT max(open_time_ms) FROM bars AS own "
    "WHERE own.symbol_id = wanted.value AND own.timeframe = '1m')"
)
# What keeps the hot tier from answering: a newer bar in a cold file, a doubt about the newest bar.
_BEYOND_HOT = (
    "SELECT wanted.key, "
    "max(ifnull((SELECT max(open_time_ms) FROM suspects "
    "WHERE symbol_id = wanted.value AND timeframe = '1m'), -1), "
    "ifnull((SELECT last_ms FROM manifest WHERE symbol_id = wanted.value AND timeframe = '1m' "
    "ORDER BY month_ms DESC LIMIT 1), -1)) FROM json_each(?1) AS wanted"
)


def newest_hot(
    connection: Connection,
    symbol_ids: Sequence[int | None],
    times: IntArray,
    values: FloatArray,
    left: BoolArray,
) -> None:
    """Enter the newest minute of each symbol into its column of `times` and `values`.

    Of the columns that are `left`, those are left thereafter for which the cold tier or the doubts about bars
    must be asked.
    """
    listed = json.dumps(symbol_ids)
    beyond: dict[int, int] = dict(map(tuple, connection.exec_driver_sql(_BEYOND_HOT, (listed,))))
    for column, time_ms, *prices, volume in plain_rows(connection, _NEWEST_HOT, (listed,)):
        place = int(column)
        if time_ms > beyond[place]:
            times[place] = time_ms
            values[:, place] = (*prices, float("nan") if volume == float("inf") else volume)
            left[place] = False

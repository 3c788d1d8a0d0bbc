"""The strategy that freqtrade is given: entries are a column of the bars, exits come with each run."""

from typing import Any

import pandas as pd
from freqtrade.strategy import IStrategy


class Drawn(IStrategy):
    """Buys where the column `drawn` says so."""

    INTERFACE_VERSION = 3
    timeframe = "1m"
    startup_candle_count = 0
    process_only_new_candles = True
    use_exit_signal = False
    can_short = False

    def populate_indicators(self, dataframe: pd.DataFrame, metadata: dict[str, Any]) -> pd.DataFrame:
        del metadata
        return dataframe

    def populate_entry_trend(self, dataframe: pd.DataFrame, metadata: dict[str, Any]) -> pd.DataFrame:
        del metadata
        dataframe["enter_long"] = dataframe["drawn"]
        return dataframe

    def populate_exit_trend(self, dataframe: pd.DataFrame, metadata: dict[str, Any]) -> pd.DataFrame:
        del metadata
        return dataframe

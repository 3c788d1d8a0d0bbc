"""freqtrade's backtester."""

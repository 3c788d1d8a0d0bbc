"""backtrader."""

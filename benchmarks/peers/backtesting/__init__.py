"""backtesting.py."""

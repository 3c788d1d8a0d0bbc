"""crypto-tracker: rule-based trading on crypto markets, explained scan by scan, on paper, after costs."""

__version__ = "0.1.0"

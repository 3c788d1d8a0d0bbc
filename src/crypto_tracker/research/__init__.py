"""Experiments over recorded markets: backtests, searches, stress. Trading never imports this room."""

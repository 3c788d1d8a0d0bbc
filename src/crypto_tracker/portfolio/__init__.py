"""Regime, limits, protection and sizing: what the portfolio allows."""

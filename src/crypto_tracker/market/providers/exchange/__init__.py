"""Exchanges as ccxt speaks to them: past bars, markets, and minutes as they close."""

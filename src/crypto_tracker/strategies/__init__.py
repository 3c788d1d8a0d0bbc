"""Strategies: rules that find setups, all behind one protocol."""

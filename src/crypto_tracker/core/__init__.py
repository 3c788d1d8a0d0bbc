"""Symbols, time, bars, decisions, orders, money and errors: the words everything else is written in."""

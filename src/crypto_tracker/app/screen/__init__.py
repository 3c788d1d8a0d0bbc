"""The terminal view of a portfolio that is traded: of the demonstration, and of a trading account."""

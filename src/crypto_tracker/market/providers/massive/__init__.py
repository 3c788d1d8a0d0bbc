"""Massive, formerly Polygon.io: aggregates over REST, day files, and the stream of minutes."""

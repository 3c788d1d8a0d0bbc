"""Indicators and features over whole panels, and the proof that they never look ahead."""

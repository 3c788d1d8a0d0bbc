"""Sessions with providers as they were: recorded raw, and played again."""

"""The demonstration: a synthetic market traded on paper, shown while it runs."""

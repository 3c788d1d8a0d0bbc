"""Results as pages that stand alone: one file, no network."""

"""Market: where bars come from, and the checks they pass before they are stored."""

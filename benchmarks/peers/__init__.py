"""Other backtesters, each called with the same bars, entries and exits; see docs/benchmarks.md."""

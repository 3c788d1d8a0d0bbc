"""Configuration: one frozen tree, where every value came from, and the version it amounts to."""

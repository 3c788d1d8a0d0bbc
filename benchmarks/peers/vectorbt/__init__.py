"""vectorbt, with its Numba and its Rust engine."""

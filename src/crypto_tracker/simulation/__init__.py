"""The one simulator: the compiled kernel and its drivers."""

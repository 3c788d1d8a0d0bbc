"""Politeness to the outside: limits, retries, breakers and connections. The only place that retries."""

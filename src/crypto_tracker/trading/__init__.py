"""The paper-trading engine: minute after minute, exactly once, with a journal of what it saw."""

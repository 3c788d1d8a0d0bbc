"""How much may be asked for at once."""

from crypto_tracker.core.errors import UsageError
from crypto_tracker.desk.source import POINTS_MAX, ROWS_MAX


def check_limit(limit: int) -> None:
    """Raise UsageError for no row at all, or for more than a page may have."""
    if not 1 <= limit <= ROWS_MAX:
        raise UsageError(f"limit is {limit}: ask for 1 to {ROWS_MAX}")


def check_points(points: int) -> None:
    """Raise UsageError for no point at all, or for more than a curve may have."""
    if not 1 <= points <= POINTS_MAX:
        raise UsageError(f"points is {points}: ask for 1 to {POINTS_MAX:,}")

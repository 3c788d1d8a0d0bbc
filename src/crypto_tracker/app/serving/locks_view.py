"""Everything that keeps an account from opening positions, as pages show it."""

from collections.abc import Sequence

from crypto_tracker.app.serving.present import Present
from crypto_tracker.app.serving.status_view import entries_view
from crypto_tracker.app.standing import CoinStanding
from crypto_tracker.desk.views import market as views


def locks_view(present: Present, coins: Sequence[CoinStanding], now_ms: int) -> views.Locks:
    """Pauses, losses, streaks, cooldowns, blocks, doubtful bars and critical errors."""
    cursor_ms, rules = present.cursor_ms, present.scope.configuration.protection
    return views.Locks(
        until_ms=cursor_ms,
        entries=entries_view(present.entries(now_ms)),
        strategies=[
            views.StrategyLock(
                strategy=each.name,
                off_by=list(each.off_by),
                losing_streak=each.losing_streak,
                rests_until_ms=each.rests_until_ms,
                open_positions=each.open_positions,
                used_quote=float(each.used_quote),
                share_quote=float(each.share_quote),
            )
            for each in present.strategies
        ],
        symbols=[
            views.SymbolLock(
                symbol=str(each.symbol),
                stops=each.stops,
                cooldown_until_ms=each.cooldown_until_ms,
                left_ms=None if each.cooldown_until_ms is None else each.cooldown_until_ms - cursor_ms,
                blocked=each.blocked,
                score=each.score,
                why=each.why,
            )
            for each in coins
        ],
        halts=[
            views.HaltItem(
                time_ms=each.time_ms,
                cause=each.halt.cause,
                sentence=each.halt.sentence,
                strategy=each.halt.strategy,
            )
            for each in present.halts
        ],
        losing_streak_limit=rules.losing_streak,
        cooldown_stops_limit=rules.cooldown_stops,
    )

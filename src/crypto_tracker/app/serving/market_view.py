"""The market as an account sees it at its last close."""

from dataclasses import dataclass

from crypto_tracker.app.standing import (
    Breadth,
    MarketStanding,
    Reading,
    market_standing,
    reference_price,
)
from crypto_tracker.config.tree import Configuration
from crypto_tracker.core.decisions import Regime, SlowRegime
from crypto_tracker.desk.views import market as views
from crypto_tracker.store.reader import BarReader


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketNow:
    """What bars say of the market at the close before `time_ms`; dear to read, and the same for a minute."""

    time_ms: int
    standing: MarketStanding
    reference_price: float | None
    bars: bool  # whether any are stored

    @classmethod
    def read(cls, read: Reading, reader: BarReader | None) -> "MarketNow":
        """The market of an account that is open for reading."""
        return cls(
            time_ms=read.cursor_ms,
            standing=market_standing(read, reader=reader),
            reference_price=reference_price(read, reader=reader),
            bars=reader is not None,
        )


def market_view(
    now: MarketNow, breadth: Breadth | None, configuration: Configuration, strategies_off: frozenset[str]
) -> views.Market:
    """The market at the last close; `strategies_off` are those that volatility has switched off."""
    standing = now.standing
    switches = configuration.protection.volatility.switches
    return views.Market(
        time_ms=now.time_ms,
        reference=None if standing.reference is None else str(standing.reference),
        reference_price=now.reference_price,
        returns={f"{hours}h": value for hours, value in standing.returns.items()},
        regime=standing.regime.name,
        forced=standing.forced,
        size_factor=standing.size_factor,
        volatility=standing.volatility,
        condition=None if standing.condition is None else standing.condition.name,
        favoured=standing.favoured,
        slow_regime=None if standing.slow_regime is None else standing.slow_regime.name,
        rising=None if breadth is None else breadth.rising,
        breadth_symbols=None if breadth is None else breadth.symbols,
        thresholds=_thresholds(standing, configuration),
        switches=[
            views.VolatilitySwitch(
                strategy=name, off_at=switch.off, on_below=switch.on, on=name not in strategies_off
            )
            for name, switch in switches.items()
        ],
        notes=_notes(now, breadth),
    )


def _thresholds(standing: MarketStanding, configuration: Configuration) -> list[views.Threshold]:
    """The rules of the fast regime in the order of their test; the first that is met decides."""
    rules = configuration.protection.fast_regime
    listed = (
        (Regime.PANIC, 1, rules.panic_1h),
        (Regime.PANIC, 4, rules.panic_4h),
        (Regime.CAUTION, 1, rules.caution_1h),
        (Regime.CAUTION, 24, rules.caution_24h),
        (Regime.CAUTION, 48, rules.caution_48h),
        (Regime.EUPHORIA, 1, rules.euphoria_1h),
    )
    found = []
    for regime, hours, limit in listed:
        now = standing.returns.get(hours)
        met = now is not None and (now >= limit if regime is Regime.EUPHORIA else now <= limit)
        found.append(views.Threshold(regime=regime.name, hours=hours, limit=limit, now=now, met=met))
    return found


def _notes(now: MarketNow, breadth: Breadth | None) -> list[str]:
    """Why something is not known, and what that means."""
    standing, notes = now.standing, []
    if standing.reference is None:
        return ["no symbol stands for the market: the regime stays NORMAL, and nothing is favoured"]
    if not now.bars:
        return [f"no bars are stored any more: what {standing.reference} did is not known"]
    missing = [f"{hours} h" for hours, value in standing.returns.items() if value is None]
    if missing:
        notes.append(
            f"the return of {standing.reference} over {', '.join(missing)} is not known: "
            "a bar of then, or of now, is missing; the regime of before holds"
        )
    if standing.volatility is None:
        notes.append("the volatility is not known yet: it takes a day of bars, sampled on full hours")
    if standing.slow_regime in (None, SlowRegime.UNKNOWN):
        notes.append("the trend is not known, as too few days were seen: it counts as neutral")
    if breadth is None:
        notes.append("how many symbols rise is not known: no price of a day ago is stored")
    if standing.forced:
        notes.append(f"a person forces the regime {standing.regime.name}: the market does not decide it")
    return notes

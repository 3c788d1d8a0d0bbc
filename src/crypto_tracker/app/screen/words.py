"""Decisions and reasons in the words of the view: short, with the numbers that decided."""

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType

from crypto_tracker.app.screen.text import age, percent
from crypto_tracker.core.decisions import Reason, Regime
from crypto_tracker.strategies.gates import cut

# What a symbol that is no setup still lacks, in one or two words.
LACKS = {
    Reason.ACCEPTED: "setup",
    Reason.NOT_READY: "history",
    Reason.NO_BAR: "no trades",
    Reason.DATA_STALE: "fresh data",
    Reason.DATA_DOUBTFUL: "sound data",
    Reason.NOT_IN_UNIVERSE: "a place in the universe",
    Reason.DROP_TOO_SMALL: "drop",
    Reason.VOLUME_LOW: "volume",
    Reason.REGIME_CRASH: "calm",
    Reason.BREAKOUT_TOO_SMALL: "breakout",
    Reason.RSI_LOW: "strength",
    Reason.TREND_DOWN: "uptrend",
    Reason.NO_CHANNEL: "channel",
    Reason.TOO_FEW_TOUCHES: "touches",
    Reason.CHANNEL_WEAK: "strength",
    Reason.CHANNEL_TOO_NARROW: "width",
    Reason.NOT_IN_BUY_ZONE: "lower price",
    Reason.TARGET_BELOW_COSTS: "room",
    Reason.RULE_NOT_MET: "its rule",
}

# What the portfolio says of a setup, without the numbers of the one that it was said of.
ANSWERS = {
    Reason.ACCEPTED: "an order was placed",
    Reason.UNSUPPORTED_SIDE: "would sell short",
    Reason.PAUSED: "entries are paused",
    Reason.BLOCKED: "the symbol is blocked",
    Reason.STRATEGY_OFF: "the strategy is switched off",
    Reason.VOLATILITY_HIGH: "the market is too volatile for the strategy",
    Reason.REGIME_PANIC: "the market is in PANIC",
    Reason.DAY_LOSS: "the day has lost too much",
    Reason.DRAWDOWN: "the account is too far below its peak",
    Reason.LOSING_STREAK: "the strategy rests after a losing streak",
    Reason.COOLDOWN: "the symbol cools down after its stops",
    Reason.DATA_STALE: "the symbol has no fresh bar",
    Reason.DATA_DOUBTFUL: "the symbol's bars are of too little quality",
    Reason.NOT_IN_UNIVERSE: "the symbol is not in the universe of the day",
    Reason.SYMBOL_LIMIT: "the symbol is held or ordered already",
    Reason.SAME_EPISODE: "the same setup was traded already",
    Reason.CONFIDENCE_LOW: "the confidence is too low",
    Reason.TRAILING_TOO_TIGHT: "its trailing stop is within the noise",
    Reason.OUTRANKED: "another strategy is surer of the symbol",
    Reason.NO_EDGE: "the bet does not pay at this confidence",
    Reason.SIZE_TOO_SMALL: "the order would be too small",
    Reason.STRATEGY_LIMIT: "the strategy holds as many positions as it may",
    Reason.PORTFOLIO_LIMIT: "the account holds as many positions as it may",
    Reason.STRATEGY_EXPOSURE: "the strategy would have too much at work",
    Reason.CONCENTRATION: "too much would be in one symbol",
    Reason.SHARE_USED: "the strategy's share is used",
    Reason.NO_CASH: "it would go into the reserve of cash",
    Reason.CORRELATION: "it moves too much like what is held",
    Reason.SLIPPAGE_TOO_HIGH: "the price jumped away before the order",
    Reason.EXPIRED: "the order found no trade in its time",
    Reason.CANCELLED: "the order was cancelled",
}

REGIME_WORDS = {
    Regime.NORMAL: "NORMAL: full sizes again",
    Regime.CAUTION: "CAUTION: sizes are cut, stops widen",
    Regime.EUPHORIA: "EUPHORIA: sizes are cut",
    Regime.PANIC: "PANIC: no entries, ladders are cancelled",
}


def refusal(reason: Reason, strategy: str, measured: float, limit: float, now_ms: int) -> str:
    """Why the portfolio did not take a setup, or how its order ended."""
    sentences = {
        Reason.UNSUPPORTED_SIDE: "it would sell short, and nothing is sold short here",
        Reason.PAUSED: "trading is paused",
        Reason.BLOCKED: "the coin is blocked",
        Reason.STRATEGY_OFF: f"{strategy} is switched off",
        Reason.VOLATILITY_HIGH: f"volatility {percent(measured, signed=False)}: {strategy} is off",
        Reason.REGIME_PANIC: "no entries in a PANIC",
        Reason.DAY_LOSS: f"the day has lost {percent(measured, signed=False)}: no entries today",
        Reason.DRAWDOWN: f"equity is {percent(measured, signed=False)} below its peak: waits for a resume",
        Reason.LOSING_STREAK: f"too many losses in a row, rests {_wait(limit, now_ms)}",
        Reason.COOLDOWN: f"too many stops on this coin, cools down {_wait(limit, now_ms)}",
        Reason.DATA_STALE: f"no bar for {age(int(measured))}" if measured >= 0 else "no recent bar",
        Reason.DATA_DOUBTFUL: "its bars are of too little quality",
        Reason.NOT_IN_UNIVERSE: "not in the universe of the day",
        Reason.SYMBOL_LIMIT: "the coin is held or ordered already",
        Reason.SAME_EPISODE: "this setup was traded already",
        Reason.CONFIDENCE_LOW: f"confidence {measured:.2f}, needs {limit:.2f}",
        Reason.TRAILING_TOO_TIGHT: "its trailing stop is within the noise of one minute",
        Reason.OUTRANKED: f"another strategy is surer: {limit:.2f} against {measured:.2f}",
        Reason.NO_EDGE: f"confidence {measured:.2f} does not pay: its exits break even at {limit:.2f}",
        Reason.SIZE_TOO_SMALL: f"an order of {measured:,.2f} is below the minimum",
        Reason.STRATEGY_LIMIT: f"{strategy} has {measured:.0f} positions, the limit is {limit:.0f}",
        Reason.PORTFOLIO_LIMIT: f"{measured:.0f} positions are open, the limit is {limit:.0f}",
        Reason.STRATEGY_EXPOSURE: f"{strategy} would hold {measured:,.0f}, the limit is {limit:,.0f}",
        Reason.CONCENTRATION: f"{measured:,.0f} in one coin, the limit is {limit:,.0f}",
        Reason.SHARE_USED: f"its share is used: {measured:,.0f} would exceed {limit:,.0f}",
        Reason.NO_CASH: f"cash would fall to {measured:,.0f}, the reserve is {limit:,.0f}",
        Reason.CORRELATION: f"moves like what is held: {measured:.2f} on average, the limit is {limit:.2f}",
        Reason.SLIPPAGE_TOO_HIGH: "order dropped: the price jumped away",
        Reason.EXPIRED: "order expired: no trade in its time",
        Reason.CANCELLED: "order cancelled",
    }
    return sentences[reason] if reason in sentences else reason.code.replace("_", " ")


def entry(strategy: str, seen: Mapping[str, float], confidence: float) -> str:
    """What a strategy saw when it bought, from its own measurements."""
    sure = f"conf {confidence:.2f}"
    volume = f"volume {cut(seen['volume_ratio'], 1):.1f}x, " if "volume_ratio" in seen else ""
    if "drop" in seen:
        return f"fell {percent(cut(seen['drop'], 4), signed=False)} in 4 h, {volume}{sure}"
    if "breakout" in seen:
        return f"{percent(cut(seen['breakout'] - 1.0, 4), signed=False)} above resistance, {volume}{sure}"
    if "place" in seen and "strength" in seen:
        strength = f"{cut(seen['strength'], 2):.2f}"
        return f"at {-cut(-100 * seen['place'], 0):.0f} % of a channel of strength {strength}, {sure}"
    return f"{strategy} setup, {volume}{sure}"


def almost(reason: Reason, seen: Mapping[str, float]) -> str:
    """What stopped a scan that came near, from its own measurements.

    Numbers are cut off as the gates of a strategy do it, so that none reads as if it were enough.

    >>> almost(Reason.VOLUME_LOW, {"volume_ratio": 0.77}), almost(Reason.VOLUME_LOW, {"volume_ratio": 0.998})
    ('volume is 0.77 x its mean', 'volume is 0.99 x its mean')
    >>> almost(Reason.BREAKOUT_TOO_SMALL, {"breakout": 0.994}), almost(Reason.NO_CHANNEL, {})
    ('0.60 % below resistance', 'lacks channel')
    >>> almost(Reason.NOT_IN_BUY_ZONE, {"place": 0.251}), almost(Reason.NOT_IN_BUY_ZONE, {"place": -0.71})
    ('at 26 % of its channel, too high', 'below its channel: broken')
    """
    told: dict[Reason, tuple[str, Callable[[float], str]]] = {
        Reason.DROP_TOO_SMALL: (
            "drop",
            lambda drop: f"fell only {percent(cut(drop, 4), signed=False)} in 4 h",
        ),
        Reason.VOLUME_LOW: ("volume_ratio", lambda ratio: f"volume is {cut(ratio, 2):.2f} x its mean"),
        Reason.BREAKOUT_TOO_SMALL: ("breakout", _from_resistance),
        Reason.RSI_LOW: ("rsi", lambda rsi: f"RSI is only {cut(rsi, 1):.1f}"),
        Reason.CHANNEL_WEAK: (
            "strength",
            lambda strength: f"channel of strength {cut(strength, 2):.2f} is too weak",
        ),
        Reason.CHANNEL_TOO_NARROW: (
            "width",
            lambda width: f"channel is only {percent(cut(width, 4), signed=False)} wide",
        ),
        Reason.NOT_IN_BUY_ZONE: ("place", _beside_the_zone),
    }
    measured, said = told.get(reason, ("", str))
    value = seen.get(measured, math.nan)
    return f"lacks {lacks(reason)}" if math.isnan(value) else said(value)


def _from_resistance(breakout: float) -> str:
    above = cut(breakout - 1.0, 4)
    distance = percent(abs(above), signed=False)
    return f"only {distance} above resistance" if above >= 0.0 else f"{distance} below resistance"


def _beside_the_zone(place: float) -> str:
    if place < 0.0:
        return "below its channel: broken"
    return f"at {-cut(-100 * place, 0):.0f} % of its channel, too high"


def stopped(reason: Reason) -> str:
    """What a reason means, of a scan or of the portfolio, without numbers.

    >>> stopped(Reason.SHARE_USED), stopped(Reason.DROP_TOO_SMALL)
    ("the strategy's share is used", 'lacks drop')
    """
    return ANSWERS.get(reason) or f"lacks {lacks(reason)}"


def lacks(reason: Reason, seen: Mapping[str, float] = MappingProxyType({})) -> str:
    """What a symbol that is no setup still lacks, in one or two words.

    >>> lacks(Reason.NOT_IN_BUY_ZONE, {"place": 0.4}), lacks(Reason.NOT_IN_BUY_ZONE, {"place": -0.1})
    ('lower price', 'whole channel')
    """
    if reason is Reason.NOT_IN_BUY_ZONE and seen.get("place", math.nan) < 0.0:
        return "whole channel"
    return LACKS.get(reason, reason.code.replace("_", " "))


def nearly(sentence: str) -> str:
    """The first part of an explanation: what was seen, without what a setup needs.

    >>> nearly("the volume is 0.77 x its 20-bar mean; a setup needs 1 x")
    'volume is 0.77 x its 20-bar mean'
    """
    return sentence.partition(";")[0].removeprefix("the ")


def _wait(until_ms: float, now_ms: int) -> str:
    return "for a while" if math.isnan(until_ms) else f"{age(int(max(until_ms - now_ms, 0)))} more"

"""What a scan can say: verdicts and the closed set of reasons."""

from enum import IntEnum, StrEnum


class Verdict(StrEnum):
    """The outcome of one scan."""

    TAKE = "TAKE"
    SKIP = "SKIP"
    NEAR_MISS = "NEAR_MISS"


class Reason(IntEnum):
    """Why a scan ended as it did. The number is what arrays and blocks store: never renumber.

    1..19 come from data and warm-up, 20..59 from a strategy's own rules, 60..99 from the portfolio.
    """

    ACCEPTED = 0
    # data
    NOT_READY = 1
    NO_BAR = 2
    DATA_STALE = 3
    DATA_DOUBTFUL = 4  # the symbol's bars are of too little quality to open anything on
    NOT_IN_UNIVERSE = 5  # the symbol did not belong to the universe of the decision's day
    # strategy rules
    DROP_TOO_SMALL = 20
    VOLUME_LOW = 21
    REGIME_CRASH = 22
    BREAKOUT_TOO_SMALL = 23
    RSI_LOW = 24
    TREND_DOWN = 25
    NO_CHANNEL = 26
    TOO_FEW_TOUCHES = 27
    CHANNEL_WEAK = 28
    CHANNEL_TOO_NARROW = 29
    NOT_IN_BUY_ZONE = 30
    TARGET_BELOW_COSTS = 31
    RULE_NOT_MET = 32  # a plug-in's own rule, when it names no other reason
    # portfolio
    UNSUPPORTED_SIDE = 60
    PAUSED = 61
    BLOCKED = 62
    STRATEGY_OFF = 63
    VOLATILITY_HIGH = 64
    REGIME_PANIC = 65
    DAY_LOSS = 66
    LOSING_STREAK = 67
    COOLDOWN = 68
    SYMBOL_LIMIT = 69
    SAME_EPISODE = 70
    CONFIDENCE_LOW = 71
    TRAILING_TOO_TIGHT = 72
    OUTRANKED = 73
    SIZE_TOO_SMALL = 74
    STRATEGY_LIMIT = 75
    PORTFOLIO_LIMIT = 76
    STRATEGY_EXPOSURE = 77
    CONCENTRATION = 78
    SHARE_USED = 79
    NO_CASH = 80
    DRAWDOWN = 81  # gate after DAY_LOSS
    NO_EDGE = 82  # adaptive sizing would bet nothing
    CORRELATION = 83  # moves too much like what is held
    # after admission
    SLIPPAGE_TOO_HIGH = 90
    EXPIRED = 91
    CANCELLED = 92  # by a person or a transition, before anything was filled

    @property
    def code(self) -> str:
        """The name that people and files see, such as `drop_too_small`."""
        return self.name.lower()


class Regime(IntEnum):
    """Fast regime of the whole market."""

    NORMAL = 0
    CAUTION = 1
    EUPHORIA = 2
    PANIC = 3


class SlowRegime(IntEnum):
    """Slow trend of the reference coin, from daily bars. UNKNOWN is treated as NEUTRAL, and said."""

    UNKNOWN = 0
    NEUTRAL = 1
    BULL = 2
    BEAR = 3
    CRASH = 4


class Condition(IntEnum):
    """Market condition that the manager's preference reads."""

    NONE = 0
    SIDEWAYS = 1
    FALLING = 2
    RISING = 3


class Tier(IntEnum):
    """Class of a coin; selects exits, costs and cooldowns. The number indexes per-tier arrays."""

    LARGE_CAP = 0
    MID_CAP = 1
    SMALL_CAP = 2
    MEMECOIN = 3

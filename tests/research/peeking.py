"""A strategy that cheats: it buys when the next bar's close will be higher. The null test must catch it."""

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from crypto_tracker.core.decisions import Reason
from crypto_tracker.core.model import Frozen
from crypto_tracker.core.tiers import ByTier
from crypto_tracker.core.timeframes import Timeframe
from crypto_tracker.strategies import measures
from crypto_tracker.strategies.base import Detection, Explanation, Features, MarketView
from crypto_tracker.strategies.exits import Exits, make_plan


class PeekingParameters(Frozen):
    """How much the next bar must rise, and when what was bought is sold."""

    rise: float = 0.003
    exits: Exits = Exits(
        take_profit=ByTier(large_cap=0.03, mid_cap=0.03, small_cap=0.03, memecoin=0.03),
        stop_loss=ByTier(large_cap=0.03, mid_cap=0.03, small_cap=0.03, memecoin=0.03),
        trailing=ByTier(large_cap=0.0, mid_cap=0.0, small_cap=0.0, memecoin=0.0),
        max_hold_hours=2.0,
    )


class Peeking:
    """Buys at every close after which the next one is higher."""

    name: ClassVar[str] = "PEEKING"
    timeframe: ClassVar[Timeframe] = Timeframe.M15
    warmup: ClassVar[Mapping[Timeframe, int]] = {Timeframe.M15: 2}
    reference_warmup: ClassVar[Mapping[Timeframe, int]] = {}
    parameters_model: ClassVar[type[Frozen]] = PeekingParameters

    def features(self, market: MarketView) -> Features:
        panel = measures.scanned_panel(market)
        after = np.full(panel.close.shape, np.nan)
        after[:-1] = panel.close[1:] / panel.close[:-1] - 1.0
        return Features(
            panel=panel,
            instruments=market.instruments,
            values={"after": after},
            ready=np.ones(panel.close.shape, dtype=np.bool_),
        )

    def detect(self, features: Features, parameters: Frozen) -> Detection:
        assert isinstance(parameters, PeekingParameters)
        setup = features.values["after"] > parameters.rise
        return Detection(
            strategy=self.name,
            panel=features.panel,
            setup=setup,
            reason=np.where(setup, Reason.ACCEPTED, Reason.RULE_NOT_MET).astype(np.int8),
            readiness=np.where(setup, 100.0, 0.0),
            confidence=np.where(setup, 1.0, 0.0),
            measurements={},
            plan=make_plan(features.instruments, parameters.exits, size_quote=100.0),
        )

    def explain(self, *_: object) -> list[Explanation]:
        return []

"""Ask a strategy about a market that you draw yourself, without store or configuration file.

Five hours of 5m bars at 100, then a fall: at which close does DCA see a setup, and what does it say before?

    python examples/why_was_it_bought.py
"""

import numpy as np

from crypto_tracker.config.tree import load_configuration
from crypto_tracker.core.bars import Panel
from crypto_tracker.core.decisions import Reason, Tier
from crypto_tracker.core.instruments import Instruments
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.core.timeframes import Timeframe, from_ms
from crypto_tracker.strategies.base import MarketView
from crypto_tracker.strategies.registry import builtin
from crypto_tracker.strategies.scan import scan, setup_events

START_MS = 1_754_006_400_000  # 2025-08-01 00:00 UTC
CLOSES = [100.0] * 60 + [99.2, 98.4, 97.9, 97.4, 97.0, 98.5, 99.0]
VOLUMES = [10.0] * 60 + [12.0, 18.0, 25.0, 40.0, 35.0, 20.0, 15.0]


def drawn_market() -> MarketView:
    """One coin, whose bars are the closes above."""
    coin = Symbol.parse("BTC/USDT")
    price = np.array(CLOSES)[:, None]
    panel = Panel(
        timeframe=Timeframe.M5,
        symbols=(coin,),
        open_time_ms=START_MS + Timeframe.M5.ms * np.arange(len(CLOSES), dtype=np.int64),
        open=price,
        high=price,
        low=price,
        close=price,
        volume=np.array(VOLUMES)[:, None],
        covered=np.ones(price.shape, dtype=np.bool_),
    )
    facts = Instruments(
        symbols=(coin,),
        tier=np.array([Tier.LARGE_CAP], dtype=np.int8),
        tick=np.zeros(1),
        lot=np.zeros(1),
        min_notional=np.full(1, 5.0),
        taker_fee=np.full(1, 0.003),
        maker_fee=np.full(1, 0.003),
        slippage=np.full(1, 0.0015),
    )
    return MarketView(timeframe=Timeframe.M5, panels={Timeframe.M5: panel}, reference={}, instruments=facts)


def main() -> None:
    """Scan the last bars, print what was said of each, and the gates of the first fall."""
    strategies = builtin()
    models = {name: strategy.parameters_model for name, strategy in strategies.items()}
    configuration = load_configuration(models, file=None, environment={}, assignments=[]).tree
    dca, parameters = strategies["DCA"], configuration.parameters("DCA")
    market = drawn_market()
    first, last = START_MS + 60 * Timeframe.M5.ms, START_MS + len(CLOSES) * Timeframe.M5.ms
    ((features, detection),) = scan(dca, market, parameters, first, last)
    for row, time_ms in enumerate(detection.panel.close_time_ms):
        reason = Reason(int(detection.reason[row, 0]))
        said = "SETUP" if reason is Reason.ACCEPTED else reason.code
        print(
            f"{from_ms(int(time_ms)):%H:%M}  close {detection.panel.close[row, 0]:6.2f}"
            f"  readiness {detection.readiness[row, 0]:5.1f}"
            f"  confidence {detection.confidence[row, 0]:.2f}  {said}"
        )
    print(f"\nevents for the simulator: {len(setup_events([detection], 0))}")
    print("\nwhy not at the first bar of the fall?")
    for gate in dca.explain(detection, features, parameters, 0, 0):
        print(f"  {'passed ' if gate.passed else 'STOPPED'}  {gate.gate}: {gate.sentence}")


if __name__ == "__main__":
    main()

"""Keeps a run of the demonstration in the database of runs, labelled synthetic."""

from datetime import datetime
from pathlib import Path

from crypto_tracker import __version__
from crypto_tracker.app.demo.run import Outcome
from crypto_tracker.config.tree import Configuration
from crypto_tracker.config.versions import canonical, version
from crypto_tracker.core.timeframes import to_ms
from crypto_tracker.research.backtest import equity_stretches, setup_rows, trade_records
from crypto_tracker.store.runs import Run, RunStore


def record(outcome: Outcome, configuration: Configuration, *, home: Path, recorded_at: datetime) -> int:
    """Write every scan, setup, order, fill and trade in one transaction; returns the run's number."""
    scenario, result, end_ms = outcome.scenario, outcome.result, outcome.end_ms
    detected = outcome.world.detected
    store = RunStore.open(home)
    try:
        return store.record(
            Run(
                kind="demo",
                synthetic=True,
                base=str(scenario.panel.timeframe),
                start_ms=outcome.world.market.start_ms,
                end_ms=end_ms,
                symbols=scenario.panel.symbols,
                strategies=scenario.strategies,
                configuration_version=version(configuration),
                configuration=canonical(configuration),
                code_version=__version__,
            ),
            state="interrupted" if outcome.interrupted else "finished",
            recorded_at_ms=to_ms(recorded_at),
            setups=[
                *setup_rows(scenario, result),
                *(near for near in detected.near if near.time_ms <= end_ms),
            ],
            traded=trade_records(scenario, result),
            blocks=(block for block in detected.blocks if block[0] <= end_ms),
            equity=equity_stretches(scenario, result),
        )
    finally:
        store.close()

"""What the scorecard judges: the evidence of an account or a recorded run, its uptime and its data."""

from dataclasses import dataclass
from pathlib import Path

from crypto_tracker.app.accounts import AccountPlace
from crypto_tracker.app.evidence import (
    Recorded,
    account_quality,
    account_uptime,
    recorded_account,
    recorded_run,
    stored_quality,
)
from crypto_tracker.config.tree import Configuration
from crypto_tracker.simulation.evidence import Evidence
from crypto_tracker.simulation.scorecard import DayShares, Row

_REPLAYED = "a backtest keeps no time"
_NAMES = {
    "win_rate": "Win rate, overall",
    "setup_quality": "Win rate before costs",
    "false_positives": "False positives",
    "model_accuracy": "Model accuracy",
    "confidence_correlation": "Confidence correlation",
    "profit_factor": "Profit factor",
    "max_drawdown": "Maximum drawdown",
    "sharpe": "Sharpe, a year",
    "pnl_net": "P&L after costs",
    "uptime": "Uptime",
    "data_quality": "Data quality",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What is to be judged; `uptime` and `data_quality` are figures, or say why there are none."""

    evidence: Evidence
    uptime: DayShares | str
    data_quality: DayShares | str


def of_account(place: AccountPlace, late_seconds: float) -> Judged:
    """An account up to its last minute; raises DataError where it has stepped none."""
    recorded, opened, minutes = recorded_account(place, count_known=True)
    zone = recorded.evidence.timezone
    return Judged(
        evidence=recorded.evidence,
        uptime=account_uptime(opened, minutes, zone, late_seconds),
        data_quality=account_quality(opened, minutes, zone),
    )


def of_run(home: Path, run_id: int, configuration: Configuration) -> Judged:
    """A recorded run; `configuration` says whose bars are read where several have them."""
    return of_replayed(home, recorded_run(home, run_id, configuration))


def of_replayed(home: Path, recorded: Recorded) -> Judged:
    """A backtest, recorded or in a bundle."""
    return Judged(
        evidence=recorded.evidence,
        uptime=_REPLAYED,
        data_quality=stored_quality(home, recorded.evidence, recorded.choice),
    )


def row_name(row: Row) -> str:
    """What a target is called."""
    name, dot, strategy = row.name.partition(".")
    return f"Win rate, {strategy}" if dot else _NAMES[name]

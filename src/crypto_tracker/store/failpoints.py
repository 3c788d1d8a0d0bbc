"""Named places at which tests kill the process, to prove that the store survives it there."""

from collections.abc import Callable
from enum import Enum


class Failpoint(Enum):
    """The steps of writing bars, in their order."""

    COLD_TEMPORARY_WRITTEN = "cold_temporary_written"
    COLD_TEMPORARY_SYNCED = "cold_temporary_synced"
    COLD_RENAMED = "cold_renamed"
    COLD_DIRECTORY_SYNCED = "cold_directory_synced"
    MANIFEST_WRITTEN = "manifest_written"
    HOT_ROWS_DELETED = "hot_rows_deleted"
    HOT_ROWS_WRITTEN = "hot_rows_written"
    BEFORE_COMMIT = "before_commit"
    COMMITTED = "committed"
    REPLACED_FILES_REMOVED = "replaced_files_removed"


class TradingFailpoint(Enum):
    """The steps of writing an account, in their order."""

    ACCOUNT_FOLDER_MADE = "account_folder_made"
    OPENING_WRITTEN = "opening_written"  # not committed yet
    OPENING_COMMITTED = "opening_committed"
    STEP_BEFORE_TRANSACTION = "step_before_transaction"
    STEP_FIRST_WRITTEN = "step_first_written"
    STEP_RECORDS_WRITTEN = "step_records_written"  # all but the row of the trader itself
    STEP_BEFORE_COMMIT = "step_before_commit"
    STEP_COMMITTED = "step_committed"
    BEFORE_CHECKPOINT = "before_checkpoint"
    AFTER_CHECKPOINT = "after_checkpoint"


class ControlFailpoint(Enum):
    """The steps of withdrawing a command, in their order."""

    WITHDRAWAL_SETTLING = "withdrawal_settling"  # the trader can answer nothing
    WITHDRAWAL_BEFORE_COMMIT = "withdrawal_before_commit"
    WITHDRAWAL_COMMITTED = "withdrawal_committed"


Point = Failpoint | TradingFailpoint | ControlFailpoint
Hook = Callable[[Point], None]


def _pass(_reached: Point) -> None:
    """Do nothing: the hook outside of tests."""


class _Registry:
    """Holds the hook; one for the process."""

    hook: Hook = staticmethod(_pass)


def on_failpoint(hook: Hook | None) -> None:
    """Call `hook` at every failpoint from now on; None takes it away."""
    _Registry.hook = staticmethod(_pass if hook is None else hook)


def reach(point: Point) -> None:
    """Say that the store has come to `point`."""
    _Registry.hook(point)

"""Applied commands of the journal as the simulator takes them."""

from collections.abc import Iterable

import numpy as np

from crypto_tracker.core.arrays import RecordArray
from crypto_tracker.core.decisions import Regime
from crypto_tracker.core.errors import StoreError
from crypto_tracker.core.orders import ExitReason
from crypto_tracker.core.symbols import Symbol
from crypto_tracker.simulation.records import COMMAND_DTYPE, CommandKind
from crypto_tracker.store.trading_records import AppliedCommand

CONFIGURE = "configure"


def kernel_commands(
    commands: Iterable[tuple[int, AppliedCommand]], symbols: tuple[Symbol, ...], strategies: tuple[str, ...]
) -> RecordArray:
    """COMMAND_DTYPE of (minute, command) in their order; `configure` is none of the simulator's.

    Raises StoreError for a command that names what the account does not trade: the journal is damaged then.
    """
    rows = []
    for time_ms, command in commands:
        if command.kind == CONFIGURE:
            continue
        try:
            kind = CommandKind[command.kind.upper()]
            symbol = -1 if command.symbol is None else symbols.index(command.symbol)
            strategy = -1 if command.strategy is None else strategies.index(command.strategy)
            value = 0
            if kind is CommandKind.FORCE_REGIME:
                value = Regime[str(command.value).upper()]
            elif kind is CommandKind.CLOSE:
                value = ExitReason[str(command.value).upper()]
        except (KeyError, ValueError) as error:
            raise StoreError(
                f"the journal holds a command that the account can not have had ({command}): "
                "restore the account from a copy"
            ) from error
        rows.append((time_ms, int(kind), symbol, strategy, int(value)))
    return np.array(rows, dtype=COMMAND_DTYPE)


def forced_after(forced: int, commands: Iterable[AppliedCommand], *, no_force: int) -> int:
    """The forced regime once these commands have acted on `forced`."""
    for command in commands:
        if command.kind == CommandKind.FORCE_REGIME.name.lower():
            forced = int(Regime[str(command.value).upper()])
        elif command.kind == CommandKind.RELEASE_REGIME.name.lower():
            forced = no_force
    return forced

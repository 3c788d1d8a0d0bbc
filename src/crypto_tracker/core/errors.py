"""What can go wrong, classed by what the caller can do about it."""


class CryptoTrackerError(Exception):
    """The work could not be done; the text says what, where and what helps."""


class UsageError(CryptoTrackerError):
    """The request itself is wrong: ask differently."""


class ConfigError(UsageError):
    """A value of the configuration is wrong: edit it."""


class DataError(CryptoTrackerError):
    """Input data cannot be used: mend or replace it."""


class ProviderError(CryptoTrackerError):
    """A provider of bars did not give what was asked of it."""


class ProviderRefused(ProviderError):
    """The provider refuses for good, such as for a wrong key: change what is asked, or how."""


class NotEntitled(ProviderRefused):
    """The key is good and its plan does not reach so far: ask for less, or take another provider."""


class UnknownToProvider(ProviderRefused):
    """The provider does not know the symbol, or no longer trades it."""


class ProviderUnavailable(ProviderError):
    """The provider cannot be reached or answers nonsense: try again later."""


class StoreError(CryptoTrackerError):
    """The store is in a state that needs a person."""


class LedgerMismatch(StoreError):
    """The ledger of an account does not add up: restore it from a copy."""


class SimulationError(CryptoTrackerError):
    """An invariant of the simulator is broken, or its input makes exact accounting impossible."""


class CheckFailed(CryptoTrackerError):
    """A check ran to its end and found something (lookahead, parity, reconciliation)."""

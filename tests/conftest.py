"""What every test shares: how hypothesis searches, and where the real bars are."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# The normal run must say the same twice, so it searches from a fixed seed; the nightly run explores.
settings.register_profile(
    "normal", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile(
    "nightly", deadline=None, max_examples=2_000, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile(os.environ.get("CRYPTO_TRACKER_HYPOTHESIS", "normal"))


_OF_THE_TESTS = {"CRYPTO_TRACKER_MARKET_DATA", "CRYPTO_TRACKER_SHOTS"}


@pytest.fixture(autouse=True)
def no_configuration_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """The shell of the person who runs the tests configures nothing in them."""
    for name in list(os.environ):
        if name.startswith("CRYPTO_TRACKER_") and name not in _OF_THE_TESTS:
            monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "120")


@pytest.fixture(scope="session")
def market_data() -> Path:
    """The folder of real bars; tests that ask for it are skipped where there is none."""
    named = os.environ.get("CRYPTO_TRACKER_MARKET_DATA")
    if not named:
        pytest.skip("CRYPTO_TRACKER_MARKET_DATA names no folder of real bars")
    folder = Path(named)
    if not (folder / "bars").is_dir():
        pytest.fail(f"CRYPTO_TRACKER_MARKET_DATA is {folder}, but there is no folder bars in it")
    return folder

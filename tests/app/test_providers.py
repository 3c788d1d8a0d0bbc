"""Providers by name: what is there, whose key is missing, and what cannot be."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from crypto_tracker.app.providers import (
    file_keys,
    history_of,
    massive_key,
    open_provider,
    provider_name,
    recorder_of,
    stream_of,
)
from crypto_tracker.config.market_data import Exchange, MarketData
from crypto_tracker.core.errors import ConfigError, UsageError
from tests.app.conftest import default_market_data

KEY = {"MASSIVE_API_KEY": "k-1"}


def now_ms() -> int:
    return 1_750_000_000_000


def free() -> MarketData:
    market_data = default_market_data()
    return market_data.model_copy(update={"massive": market_data.massive.model_copy(update={"plan": "free"})})


@pytest.mark.parametrize("name", ["massive", "polygon", "Polygon"])
def test_massive_has_two_names_and_is_stored_under_one(name: str):
    market_data = default_market_data()
    assert provider_name(name) == "massive"
    assert history_of(name, market_data, KEY, now_ms=now_ms).name == "massive"
    stream = stream_of(name, market_data, KEY, now_ms=now_ms)
    assert stream is not None
    assert stream.name == "massive"


def test_either_variable_holds_the_key_and_the_first_wins_where_they_differ():
    said: list[str] = []
    assert massive_key({"POLYGON_API_KEY": "old"}, said.append).get_secret_value() == "old"
    assert massive_key({"MASSIVE_API_KEY": "same", "POLYGON_API_KEY": "same"}, said.append)
    assert said == []
    both = {"MASSIVE_API_KEY": "new", "POLYGON_API_KEY": "old"}
    assert massive_key(both, said.append).get_secret_value() == "new"
    assert said == ["MASSIVE_API_KEY and POLYGON_API_KEY hold different keys: MASSIVE_API_KEY is used"]


def test_a_key_that_is_missing_or_blank_is_named_with_both_variables_and_a_way_without():
    for environment in ({}, {"MASSIVE_API_KEY": "  "}):
        with pytest.raises(UsageError, match=r"MASSIVE_API_KEY \(or POLYGON_API_KEY\).*kraken"):
            open_provider("massive", default_market_data(), environment, now_ms=now_ms)


def test_the_key_shows_in_no_text():
    provider = open_provider(
        "massive", default_market_data(), {"MASSIVE_API_KEY": "very-secret"}, now_ms=now_ms
    )
    assert (
        "very-secret"
        not in f"{provider!r} {provider.history!r} {massive_key({'MASSIVE_API_KEY': 'very-secret'})!r}"
    )


def test_a_free_plan_has_history_and_no_stream_and_says_what_to_do():
    provider = open_provider("massive", free(), KEY, now_ms=now_ms)
    assert provider.history.name == "massive"
    assert provider.stream is None
    assert "market_data.history = massive" in provider.why_no_stream
    assert stream_of("massive", free(), KEY, now_ms=now_ms) is None


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("masive", "did you mean massive"),
        ("polygonn", "did you mean polygon"),
        ("file", "import-data"),
        ("synthetic", "demo"),
        ("recorded", "whose session"),
        ("krakenn", "kraken"),
        ("no-such-exchange", "no-such-exchange"),
        ("kraken,massive", "give one, or where several may be given --provider kraken --provider massive"),
    ],
)
def test_a_name_that_nobody_can_be_asked_under_is_refused_in_one_sentence(name: str, words: str):
    with pytest.raises(UsageError, match=words) as caught:
        open_provider(name, default_market_data(), KEY, now_ms=now_ms)
    assert "\n" not in str(caught.value)


def test_a_section_of_an_exchange_that_there_is_not_is_refused_with_the_near_ones():
    market_data = default_market_data().model_copy(update={"exchanges": {"krakn": Exchange()}})
    with pytest.raises(ConfigError, match=r"market_data\.exchanges\.krakn .* did you mean kraken"):
        open_provider("massive", market_data, KEY, now_ms=now_ms)


def test_a_wrong_name_is_found_without_loading_ccxt():
    told = (
        "import sys\n"
        "from crypto_tracker.app.providers import checked_provider\n"
        "try:\n    checked_provider('krakn')\n"
        "except Exception as error:\n    print(error, any(name.startswith('ccxt') for name in sys.modules))\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", told], check=True, capture_output=True, text=True, timeout=240.0
    )
    assert ended.stdout == "ccxt knows no exchange 'krakn': did you mean kraken? False\n"


def test_day_files_need_two_keys_of_their_own():
    one = {"MASSIVE_S3_ACCESS_KEY": "a"}
    with pytest.raises(UsageError, match=r"set MASSIVE_S3_SECRET_KEY in"):
        file_keys(one)
    access, secret = file_keys(one | {"MASSIVE_S3_SECRET_KEY": "s"})
    assert (access.get_secret_value(), secret.get_secret_value()) == ("a", "s")


def test_a_recording_keeps_every_key_to_itself(tmp_path: Path):
    path = tmp_path / "session.jsonl.zst"
    environment = KEY | {"MASSIVE_S3_SECRET_KEY": "s-2", "HOME": "k"}
    clock: Callable[[], int] = now_ms
    with recorder_of("polygon", path, environment, now_ms=clock) as recorder:
        recorder.note_message("socket", "the keys are k-1 and s-2")
    from crypto_tracker.market.recording.format import read_header, read_records

    assert read_header(path).provider == "massive"
    [record] = read_records(path)
    assert "k-1" not in record.text
    assert "s-2" not in record.text
    assert "the keys are" in record.text

"""Schemathesis over the API of a real home: whatever is asked of an account or a run is answered as documented."""

from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from schemathesis.config import SchemathesisConfig

from crypto_tracker.desk.web import gatekeeper
from crypto_tracker.desk.web.application import openapi_document
from tests.app.serving.accounts import copied, new_desk
from tests.desk.served import CONTROL, application, running
from tests.desk.test_api_schema import CONFIG, FEW, MANY
from tests.trading import worlds

# What there is in this home, and something of each kind that there is not.
THERE = {
    "symbol": ["BTC/USDT", "ETH/USDT", "XRP/USDT", "NONE/USDT"],
    "strategy": ["DCA", "SWING", "CHANNEL", "MAGIC"],
    "account": [worlds.ACCOUNT, "run:1", "nobody"],
    "at_ms": [worlds.START_MS, worlds.START_MS + 3_600_000, 0, 4_000_000_000_000],
    "start_ms": [worlds.START_MS, 0],
    "end_ms": [worlds.START_MS + 86_400_000, 1],
    "reason": ["accepted", "share_used", "take_profit"],
}
HEADERS = {"Authorization": f"Bearer {CONTROL}"}


def document() -> dict[str, Any]:
    """The document, narrowed to what this home knows, so that most requests meet records."""
    found = deepcopy(openapi_document("0.5.0"))
    for methods in found["paths"].values():
        for operation in methods.values():
            for parameter in operation["parameters"]:
                values = THERE.get(parameter["name"], [])
                target = parameter["schema"].get("items", parameter["schema"])
                if values and "enum" not in target:
                    target["enum"] = values
                elif values:
                    target["enum"] = [value for value in target["enum"] if value in values]
    return found


# Another symbol than those is no wrong one, so only what obeys the document is asked with it.
OBEYING = CONFIG | {"generation": {"mode": "positive", "with-security-parameters": False}}
schema = schemathesis.openapi.from_dict(document(), config=SchemathesisConfig.from_dict(OBEYING))
whole = schemathesis.openapi.from_dict(openapi_document("0.5.0"), config=SchemathesisConfig.from_dict(CONFIG))


@pytest.fixture(scope="module")
def address(traded_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    desk = new_desk(copied(traded_home, tmp_path_factory.mktemp("asked") / "home"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gatekeeper, "WRONG_TOKENS_PER_MINUTE", 1_000_000)
        with running(application(desk)) as http:
            yield http
    desk.close()


@schema.parametrize()
@FEW
def test_a_home_is_answered_as_documented(case: schemathesis.Case, address: str) -> None:
    case.call_and_validate(base_url=address, headers=HEADERS)


@pytest.mark.nightly
@schema.parametrize()
@MANY
def test_a_home_is_answered_as_documented_many_times(case: schemathesis.Case, address: str) -> None:
    case.call_and_validate(base_url=address, headers=HEADERS)


@pytest.mark.nightly
@whole.parametrize()
@MANY
def test_whatever_is_asked_of_a_home_is_answered_as_documented(case: schemathesis.Case, address: str) -> None:
    case.call_and_validate(base_url=address, headers=HEADERS)

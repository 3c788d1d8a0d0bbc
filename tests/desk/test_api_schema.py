"""Schemathesis asks the running API whatever its own document allows, and whatever it forbids.

Every answer must have a status, a content type and a body that the document tells of; what breaks a schema must be
refused, what obeys it must not, and nothing may be answered without a token.
"""

from collections.abc import Iterator

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.config import SchemathesisConfig

from crypto_tracker.desk.web import gatekeeper
from crypto_tracker.desk.web.application import openapi_document
from tests.desk.served import CONTROL, application, running

# What no schema can say: a span that ends before it starts, a cursor that nobody gave, a TOML that is none, and
# a body whose text is short and whose bytes are many.
REFUSED = ["400", "404", "409", "413"]
CONFIG = {
    "generation": {"mode": "all", "with-security-parameters": False},
    "checks": {
        "positive_data_acceptance": {"expected-statuses": ["2xx", *REFUSED]},
        "negative_data_rejection": {"expected-statuses": [*REFUSED, "401", "403", "405", "415", "422"]},
    },
}
FEW = settings(
    max_examples=4,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
MANY = settings(FEW, max_examples=100, derandomize=False)


schema = schemathesis.openapi.from_dict(
    openapi_document("0.5.0"), config=SchemathesisConfig.from_dict(CONFIG)
)


@pytest.fixture(scope="module")
def over_examples() -> Iterator[str]:
    # It tries a wrong token at every endpoint, and must not be sent away for that.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gatekeeper, "WRONG_TOKENS_PER_MINUTE", 1_000_000)
        with running(application()) as address:
            yield address


@schema.parametrize()
@FEW
def test_examples_are_answered_as_documented(case: schemathesis.Case, over_examples: str) -> None:
    case.call_and_validate(base_url=over_examples, headers={"Authorization": f"Bearer {CONTROL}"})


@pytest.mark.nightly
@schema.parametrize()
@MANY
def test_many_examples_are_answered_as_documented(case: schemathesis.Case, over_examples: str) -> None:
    case.call_and_validate(base_url=over_examples, headers={"Authorization": f"Bearer {CONTROL}"})

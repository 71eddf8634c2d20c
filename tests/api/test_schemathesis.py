"""The published schema against the server: generated requests, none of which may end in a fault or off the schema."""

from __future__ import annotations

import os
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.strategies import SearchStrategy
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.api.routes import methods, routes
from tests.conftest import make_tenant

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
EXAMPLES = int(os.environ.get("SCHEMA_EXAMPLES", "30"))
OPERATIONS = [
    (method, path)
    for path, callback in sorted(routes().items())
    for method in methods(callback)
    if path not in ("/api/v1/schema", "/api/v1/docs", "/api/v1/jobs/events")  # the last one's answers do not end
]


@pytest.fixture(scope="module")
def schema(server: str) -> Any:
    return schemathesis.openapi.from_url(f"{server}/api/v1/schema")


def _cases(operation: Any) -> SearchStrategy:
    """Requests as the schema has them and, where there is anything to get wrong, others."""
    right = operation.as_strategy(generation_mode=GenerationMode.POSITIVE)
    parameters = [*operation.path_parameters, *operation.query, *operation.body]
    return right | operation.as_strategy(generation_mode=GenerationMode.NEGATIVE) if parameters else right


# Its generators call `random` now and then, which Hypothesis warns of; as an error it would end the test by chance.
@pytest.mark.filterwarnings("ignore::hypothesis.errors.HypothesisDeprecationWarning")
@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_keeps_to_the_schema(server: str, schema: Any, method: str, path: str) -> None:
    tenant = make_tenant(server)
    user, key = tenant.user("owner").headers["Authorization"], tenant.new_key()[1]
    runs_engines = method == "POST" and ("/tts/" in path or "/stt/" in path)

    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=_cases(schema[path][method]))
    def check(case: Any) -> None:
        credential = {"x-api-key": key} if runs_engines else {"Authorization": user}
        case.call_and_validate(headers=credential, checks=CHECKS, timeout=60)

    check()

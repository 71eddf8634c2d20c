"""GET /schema and /docs."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urljoin

import pytest
import yaml
from drf_spectacular.drainage import GENERATOR_STATS
from drf_spectacular.generators import SchemaGenerator
from openapi_spec_validator import validate

from tests.api.routes import methods, routes
from tests.conftest import Client, error_of


@pytest.fixture(scope="module")
def schema(server: str) -> dict[str, Any]:
    answer = Client(server).get("/schema")
    assert answer.status_code == 200
    return yaml.safe_load(answer.content)


def test_is_valid_openapi(schema: dict[str, Any]) -> None:
    validate(schema)


def test_is_generated_without_warnings(database: None) -> None:
    GENERATOR_STATS.reset()
    with GENERATOR_STATS.silence():
        SchemaGenerator().get_schema(request=None, public=True)
    assert not GENERATOR_STATS._error_cache, dict(GENERATOR_STATS._error_cache)
    assert not GENERATOR_STATS._warn_cache, dict(GENERATOR_STATS._warn_cache)


def test_has_every_route_and_no_other(schema: dict[str, Any]) -> None:
    documented = {(path, method.upper()) for path, item in schema["paths"].items() for method in item}
    known = {
        (path, method)
        for path, callback in routes().items()
        if path not in ("/api/v1/schema", "/api/v1/docs")
        for method in methods(callback)
    }
    assert documented == known


def test_every_operation_names_who_may_call_and_how_it_fails(schema: dict[str, Any]) -> None:
    operations = [operation for item in schema["paths"].values() for operation in item.values()]
    names = [operation["operationId"] for operation in operations]
    assert len(names) == len(set(names))
    for operation in operations:
        assert operation["description"]
        assert {"400", "401", "404", "429", "500"} <= set(operation["responses"])
    jobs = schema["paths"]["/api/v1/tts/jobs"]["get"]
    assert {name for option in jobs["security"] for name in option} == {"bearer", "apiKey"}
    assert not schema["paths"]["/api/v1/auth/login"]["post"].get("security")


def test_json_too(anonymous: Client, schema: dict[str, Any]) -> None:
    answer = anonymous.get("/schema", headers={"Accept": "application/vnd.oai.openapi+json"})
    assert answer.json()["paths"].keys() == schema["paths"].keys()
    for answer in (
        anonymous.get("/schema?format=json"),
        anonymous.get("/schema?format=json", headers={"Accept": "text/html,*/*;q=0.8"}),
        anonymous.get("/schema", headers={"Accept": "application/json"}),
    ):
        assert answer.headers["Content-Type"].split(";")[0].endswith("json"), answer.headers
        assert answer.json()["paths"].keys() == schema["paths"].keys()


def test_yaml_by_name(anonymous: Client, schema: dict[str, Any]) -> None:
    answer = anonymous.get("/schema?format=yaml", headers={"Accept": "*/*"})
    assert yaml.safe_load(answer.content)["paths"].keys() == schema["paths"].keys()
    assert error_of(anonymous.get("/schema?format=xml"), 400)["param"] == "format"


def test_docs_need_no_internet(anonymous: Client, server: str) -> None:
    page = anonymous.get("/docs")
    assert page.status_code == 200
    assert page.headers["Content-Type"].startswith("text/html")
    assets = re.findall(r'<(?!a\b)[^>]*?(?:src|href)="([^"]+)"', page.text)  # links lead elsewhere
    assert len(assets) >= 3
    for asset in assets:
        url = urljoin(f"{server}/api/v1/docs", asset)
        assert url.startswith(server), asset
        answer = anonymous.get(url)
        assert (answer.status_code, len(answer.content) > 100) == (200, True), asset
    assert "/api/v1/schema" in page.text

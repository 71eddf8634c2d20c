"""Hostile JSON: bodies that parsers and databases stumble over."""

from __future__ import annotations

import json
from collections.abc import Callable

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import Client, Tenant, error_of
from tests.security.support import fuzzing

ENTRANCES = {
    "/tts/synthesize": {"text": "Hi.", "voice": "espeak:en-us", "speed": 1.0, "format": "wav"},
    "/tts/synthesize-batch": {"items": [{"text": "Hi.", "custom_id": "a"}]},
    "//v1/audio/speech": {"model": "tts-1", "voice": "alloy", "input": "Hi.", "speed": 1.0},
    "/tts/lexicons/preview": {"text": "Hi."},
    "/auth/login": {"email": "a@example.com", "password": "x", "org_slug": "a"},
    "/auth/api-keys": {"name": "a", "scopes": ["tts"], "rate_limit": 3, "expires_at": "2099-01-01T00:00:00Z"},
    "/webhooks": {"url": "https://203.0.113.9/", "events": ["job.failed"], "description": "a"},
    "/auth/invitations": {"email": "a@example.com", "role": "viewer"},
}

# As they stand in the body: what json.dumps would not write, too.
VALUES = st.one_of(
    st.sampled_from(
        [
            "null", "true", "-0", "1e999", "-1e999", "NaN", "Infinity", "0.1e-999", "9" * 400, "9" * 5000,
            "-" + "9" * 400,
            "18446744073709551616", "2147483648", "1e308", '"\\u0000"', '"a\\u0000b"', '"\\ud800"', '"\\udfff\\ud800"',
            '"\\ud83d\\ude00"', '"\\uFFFF"', '"\u202e\u0000"', '""', '" "', '"%00"', '"../../etc/passwd"', '"{{7*7}}"',
            '"${jndi:ldap://x}"', "'; DROP TABLE x; --", "[]", "{}", "[[]]", '{"":""}', '{"__proto__":{}}',
            '"' + "x" * 20_000 + '"',
            "[" * 500 + "]" * 500, "[" * 20_000, '{"a":' * 2_000 + "1" + "}" * 2_000, "\x00", "\ufeff1",
            "01", "1.", "+1", "0x1",
            '"\x01"', "[1,]", "{'a':1}", "9999-12-31T23:59:60Z", '"9999-12-31T23:59:59-12:00"', '"0000-00-00"',
        ]
    ),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
        max_leaves=8,
    ).map(json.dumps),
)  # fmt: skip


@st.composite
def bodies(draw: st.DrawFn, fields: dict[str, object]) -> bytes:
    """The right body with some of its values replaced, a key twice, a key too many, or something else altogether."""
    shape = draw(st.sampled_from(["values", "values", "values", "twice", "more", "whole", "bytes"]))
    if shape == "whole":
        return draw(VALUES).encode("utf-8", "surrogatepass")
    if shape == "bytes":
        return draw(st.binary(max_size=100))
    changed = draw(st.sets(st.sampled_from(sorted(fields)), min_size=1, max_size=2))
    pairs = [(name, draw(VALUES) if name in changed else json.dumps(value)) for name, value in fields.items()]
    if shape == "twice":
        pairs += pairs[:1]
    if shape == "more":
        pairs.append((draw(st.text(max_size=10)), draw(VALUES)))
    text = "{" + ",".join(f"{json.dumps(name)}:{value}" for name, value in pairs) + "}"
    return text.encode("utf-8", "surrogatepass")


@pytest.fixture(scope="module")
def clients(server: str) -> Callable[[str], Client]:
    from tests.conftest import make_tenant

    tenant = make_tenant(server)
    owner, key = tenant.user("owner"), tenant.key()
    return lambda path: key if "/tts/" in path or "/v1/audio" in path else owner


@pytest.mark.parametrize("path", ENTRANCES)
def test_any_body_is_answered_in_shape(clients: Callable[[str], Client], path: str) -> None:
    client = clients(path)

    @fuzzing(20)
    @given(bodies(ENTRANCES[path]))
    def check(body: bytes) -> None:
        answer = client.post(path, content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code < 500, (body[:300], answer.text)
        if answer.status_code >= 400:
            error_of(answer, answer.status_code)

    check()


@pytest.mark.parametrize("number", ["9" * 400, "-" + "9" * 400, "1e999", "NaN", "-Infinity", '"nan"', '"inf"'])
@pytest.mark.parametrize("field", ["speed", "pitch", "volume", "sample_rate"])
def test_numbers_beyond_all_bounds(clients: Callable[[str], Client], field: str, number: str) -> None:
    body = f'{{"text": "Hi.", "{field}": {number}}}'.encode()
    answer = clients("/tts/").post("/tts/synthesize", content=body, headers={"Content-Type": "application/json"})
    error_of(answer, 400)


@pytest.mark.parametrize(
    "query",
    [
        "page=" + "9" * 400,
        "page=-1",
        "page=%00",
        "page_size=1e9",
        "status=%00",
        "q=%00",
        "q=%ED%A0%80",
        "format=%FF",
        "a=1&a=2",
    ],
)
@pytest.mark.parametrize("path", ["/tts/jobs", "/stt/jobs", "/audit", "/analytics/usage", "/auth/members"])
def test_queries(tenant: Tenant, path: str, query: str) -> None:
    answer = tenant.user("owner").get(f"{path}?{query}")
    assert answer.status_code in (200, 400, 404), answer.text


@pytest.mark.parametrize(
    "kind",
    ["text/plain", "application/xml", "application/x-www-form-urlencoded", "application/json; charset=utf-7", "x"],
)
def test_other_content_types(tenant: Tenant, kind: str) -> None:
    body = b'<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>'
    answer: httpx.Response = tenant.key("tts").post("/tts/synthesize", content=body, headers={"Content-Type": kind})
    assert answer.status_code in (400, 415), answer.text
    assert "root:" not in answer.text

"""Where webhooks may go: checked at registration and again at the connection."""

from __future__ import annotations

import ipaddress
import ssl
from pathlib import Path

import pytest
from django.test import override_settings

from tests.certificates import self_signed
from tests.conftest import Tenant, error_of
from tests.webhook_receiver import running
from webhooks import delivering, sending, targets
from webhooks.models import WebhookDelivery, WebhookEndpoint

LOOPBACK = [ipaddress.ip_network("127.0.0.0/8")]
PUBLIC = "93.184.215.14"


def _by_name(**hosts: list[str]) -> targets.Resolver:
    return lambda host, _port: hosts.get(host.replace(".", "_"), [])


REFUSED = [
    "http://127.0.0.1/", "http://127.1/", "http://2130706433/", "http://0x7f000001/", "http://0/", "http://localhost/",
    "http://10.1.2.3/", "http://172.16.0.1/", "http://192.168.1.1/", "http://100.64.0.1/", "http://169.254.169.254/",
    "http://224.0.0.1/", "http://240.0.0.1/", "http://255.255.255.255/", "http://192.0.2.1/", "http://198.18.0.1/",
    "http://[::1]/", "http://[::]/", "http://[fe80::1]/", "http://[fc00::1]/", "http://[ff02::1]/",
    "http://[fec0::1]/", "http://[::ffff:127.0.0.1]/", "http://[::ffff:7f00:1]/", "http://[::ffff:10.0.0.1]/",
    "http://[64:ff9b::7f00:1]/", "http://[2002:7f00:1::]/", "http://[2001:db8::1]/", "http://[::127.0.0.1]/",
    "https://x.localhost/",
    "ftp://93.184.215.14/", "file:///etc/passwd", "gopher://93.184.215.14/", "//93.184.215.14/", "93.184.215.14",
    "http://", "http:///x", "http://user@93.184.215.14/", "http://user:pass@93.184.215.14/",  # pragma: allowlist secret
    "http://93.184.215.14/#fragment", "http://93.184.215.14:22/", "http://93.184.215.14:25/", "http://93.184.215.14:0/",
    "http://93.184.215.14:70000/", "http://93.184.215.14:x/", "http://93.184.215.14\\@127.0.0.1/", "http://a b/",
    "http://93.184.215.14/\r\nX-Injected: 1", "http://93.184.215.14\n/", "http://[::1", "http://xn--\udce4/",
]  # fmt: skip


@pytest.mark.parametrize("url", REFUSED)
def test_refuses(url: str) -> None:
    with override_settings(WEBHOOK_ALLOW_HTTP=True), pytest.raises(targets.TargetRefused):
        targets.check(url)
    outcome = sending.post(url, headers={}, body=b"{}")
    assert (outcome.delivered, outcome.status) == (False, None)


@pytest.mark.parametrize(
    ("url", "authority", "path"),
    [
        ("https://93.184.215.14/", PUBLIC, "/"),
        ("https://93.184.215.14:443/a", PUBLIC, "/a"),
        ("https://93.184.215.14:8443/a?b=c&d=%20", f"{PUBLIC}:8443", "/a?b=c&d=%20"),
        ("https://[2606:2800:21f:cb07:6820:80da:af6b:8b2c]", "[2606:2800:21f:cb07:6820:80da:af6b:8b2c]", "/"),
        ("https://bücher.example/ü", "xn--bcher-kva.example", "/%C3%BC"),
        ("https://no-such-host.invalid/x", "no-such-host.invalid", "/x"),
    ],
)
def test_accepts(url: str, authority: str, path: str) -> None:
    targets.check(url)
    target = targets.parse(url)
    assert (target.authority, target.path) == (authority, path)


def test_http_only_where_it_is_allowed() -> None:
    with override_settings(WEBHOOK_ALLOW_HTTP=False):
        with pytest.raises(targets.TargetRefused, match="https"):
            targets.check(f"http://{PUBLIC}/")
        targets.check(f"https://{PUBLIC}/")


def test_one_bad_address_among_good_ones_is_refused() -> None:
    target = targets.parse("https://mixed.example/")
    with pytest.raises(targets.TargetRefused):
        targets.addresses(target, _by_name(mixed_example=[PUBLIC, "10.0.0.1"]))
    assert targets.addresses(target, _by_name(mixed_example=[PUBLIC])) == [PUBLIC]


def test_registration_is_refused_by_the_api(tenant: Tenant) -> None:
    admin = tenant.user("admin")
    for url in ("http://127.0.0.1:8000/", "http://[::ffff:169.254.169.254]/latest", "http://localhost:9999/"):
        error = error_of(admin.post("/webhooks", json={"url": url}), 400, "webhook_url_refused")
        assert error["param"] == "url"
    assert not WebhookEndpoint.objects.filter(organization=tenant.organization).exists()


def test_a_name_that_changes_its_address_leads_nowhere(tenant: Tenant) -> None:
    """DNS rebinding: public when it was registered, this machine when it is called."""
    with running() as victim:
        url = f"http://rebinding.example:{victim.port}/hook"
        endpoint = WebhookEndpoint.objects.create(organization=tenant.organization, url=url, events=["voice.ready"])
        delivery = WebhookDelivery.objects.create(
            organization=tenant.organization, endpoint=endpoint, event_id="evt_1", event="webhook.test", payload={}
        )
        asked: list[str] = []

        def rebinding(host: str, _port: int) -> list[str]:
            asked.append(host)
            return ["127.0.0.1"]

        targets.addresses(targets.parse(url), _by_name(rebinding_example=[PUBLIC]))
        delivering.send(delivery, resolver=rebinding)
        assert asked == ["rebinding.example"]
        assert not victim.received
        assert delivery.status == "failed"
        assert "may not reach" in delivery.error


def test_connects_to_the_address_that_was_checked_under_the_original_name() -> None:
    """The name is asked for once; nothing resolves it again between the check and the connection."""
    asked: list[str] = []

    def once(host: str, _port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["10.0.0.1"]

    with running() as receiver, override_settings(WEBHOOK_ALLOWED_NETWORKS=LOOPBACK):
        url = f"http://hooks.example:{receiver.port}/a"
        outcome = sending.post(url, headers={"X-Test": "1"}, body=b"{}", resolver=once)
        assert (outcome.delivered, outcome.status, asked) == (True, 200, ["hooks.example"])
        assert receiver.received[0].headers["host"] == f"hooks.example:{receiver.port}"


def test_tries_the_next_address() -> None:
    with running() as receiver, override_settings(WEBHOOK_ALLOWED_NETWORKS=LOOPBACK):
        url = f"http://hooks.example:{receiver.port}/"
        both = _by_name(hooks_example=["127.0.0.9", "127.0.0.1"])
        assert sending.post(url, headers={}, body=b"{}", resolver=both).delivered


def test_environment_proxies_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with running() as receiver, override_settings(WEBHOOK_ALLOWED_NETWORKS=LOOPBACK):
        assert sending.post(receiver.url, headers={}, body=b"{}").delivered


# ── TLS ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate for hooks.example, signed by itself, with its key."""
    return self_signed(tmp_path, "hooks.example")


def test_tls_checks_the_name_that_was_registered(certificate: Path) -> None:
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(certificate)
    names: list[str | None] = []
    serving.sni_callback = lambda _socket, name, _context: names.append(name)
    trusting = ssl.create_default_context(cafile=str(certificate))
    local = _by_name(hooks_example=["127.0.0.1"], other_example=["127.0.0.1"])
    with running(serving) as receiver, override_settings(WEBHOOK_ALLOWED_NETWORKS=LOOPBACK):
        url = f"https://hooks.example:{receiver.port}/x"
        good = sending.post(url, headers={}, body=b"{}", resolver=local, tls=trusting)
        assert (good.delivered, names) == (True, ["hooks.example"]), good
        untrusted = sending.post(url, headers={}, body=b"{}", resolver=local)
        assert untrusted.error.startswith("TLS failed")
        renamed = url.replace("hooks.", "other.")
        assert sending.post(renamed, headers={}, body=b"{}", resolver=local, tls=trusting).error.startswith(
            "TLS failed"
        )
        assert len(receiver.received) == 1

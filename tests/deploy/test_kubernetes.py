"""deploy/kubernetes: built by kustomize, held against Kubernetes' own schemas, and against the platform."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import kubernetes_validate
import pytest
import yaml
from django.urls import resolve

from tests.deploy.checks import grace_problems
from tests.platform_process import ROOT

VERSION = "1.37"
FOLDER = ROOT / "deploy" / "kubernetes"
BUILDERS = {"kubectl": ("kustomize",), "kustomize": ("build",)}

Manifest = dict[str, Any]


@pytest.fixture(scope="module", params=["cpu", "gpu"])
def manifests(request: pytest.FixtureRequest) -> list[Manifest]:
    builder = next((name for name in BUILDERS if shutil.which(name)), None)
    if builder is None:
        pytest.skip("neither kubectl nor kustomize is installed here")
    command = [builder, *BUILDERS[builder], str(FOLDER / "overlays" / request.param)]
    return list(yaml.safe_load_all(subprocess.run(command, check=True, capture_output=True, text=True).stdout))


def pods(manifests: list[Manifest]) -> Iterator[tuple[str, Manifest, Manifest]]:
    """(the workload's name, its labels, its pod's specification)"""
    for manifest in manifests:
        job = manifest["spec"].get("jobTemplate", manifest) if manifest["kind"] == "CronJob" else manifest
        if manifest["kind"] in ("Deployment", "Job", "CronJob"):
            template = job["spec"]["template"]
            yield manifest["metadata"]["name"], template["metadata"]["labels"], template["spec"]


def of_kind(manifests: list[Manifest], kind: str) -> list[Manifest]:
    return [manifest for manifest in manifests if manifest["kind"] == kind]


def settings_of(manifests: list[Manifest]) -> dict[str, str]:
    (settings,) = of_kind(manifests, "ConfigMap")
    return settings["data"]


def test_schemas(manifests: list[Manifest]) -> None:
    """All but KEDA's own kind, of which the schemas know nothing."""
    unknown = []
    for manifest in manifests:
        try:
            kubernetes_validate.validate(manifest, VERSION, strict=True)
        except kubernetes_validate.SchemaNotFoundError:
            unknown.append(manifest["kind"])
    assert unknown == ["ScaledObject"]
    assert {manifest["metadata"]["namespace"] for manifest in manifests} == {"speech"}
    assert len(of_kind(manifests, "Deployment")) == 2


def test_pods_meet_the_restricted_standard(manifests: list[Manifest]) -> None:
    """Pod Security Standards, "restricted", and a read-only root beyond it."""
    found = list(pods(manifests))
    assert len(found) == 4
    for name, _, pod in found:
        security = pod["securityContext"]
        assert (security["runAsNonRoot"], security["runAsUser"]) == (True, 10001), name
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False
        (container,) = pod["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert {"memory"} <= set(container["resources"]["limits"])
        assert {mount["mountPath"] for mount in container["volumeMounts"]} >= {"/data", "/tmp"}  # noqa: S108
        assert container["image"].startswith("registry.example.com/speech:")
    assert all(account["automountServiceAccountToken"] is False for account in of_kind(manifests, "ServiceAccount"))


def test_names_lead_somewhere(manifests: list[Manifest]) -> None:
    volumes = {claim["metadata"]["name"] for claim in of_kind(manifests, "PersistentVolumeClaim")}
    maps = {made["metadata"]["name"] for made in of_kind(manifests, "ConfigMap")}
    accounts = {made["metadata"]["name"] for made in of_kind(manifests, "ServiceAccount")}
    for name, labels, pod in pods(manifests):
        (container,) = pod["containers"]
        claimed = {volume["persistentVolumeClaim"]["claimName"] for volume in pod["volumes"] if len(volume) == 2
                   and "persistentVolumeClaim" in volume}  # fmt: skip
        assert claimed <= volumes, name
        assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
        assert {source["configMapRef"]["name"] for source in container["envFrom"] if "configMapRef" in source} <= maps
        assert pod["serviceAccountName"] in accounts
        assert labels["app.kubernetes.io/name"] == "speech"
    deployments = {made["metadata"]["name"]: made["spec"]["template"]["metadata"]["labels"]
                   for made in of_kind(manifests, "Deployment")}  # fmt: skip
    for scaler in (*of_kind(manifests, "HorizontalPodAutoscaler"), *of_kind(manifests, "ScaledObject")):
        assert scaler["spec"]["scaleTargetRef"]["name"] in deployments
    selectors = [made["spec"]["selector"]["matchLabels"] for made in of_kind(manifests, "PodDisruptionBudget")]
    selectors += [made["spec"]["selector"] for made in of_kind(manifests, "Service")
                  if made["metadata"]["name"] != "speech-nothing"]  # fmt: skip
    assert len(selectors) == 3
    for selector in selectors:
        assert any(selector.items() <= labels.items() for labels in deployments.values()), selector


def test_settings_are_the_platforms(manifests: list[Manifest]) -> None:
    known = set(re.findall(r"^([A-Z][A-Z0-9_]+)=", (ROOT / ".env.example").read_text(), flags=re.MULTILINE))
    secrets = set(re.findall(r"^([A-Z0-9_]+)=", (FOLDER / "secrets.env.example").read_text(), flags=re.MULTILINE))
    assert set(settings_of(manifests)) <= known
    assert secrets <= known
    assert {"SECRET_KEY", "DATABASE_URL", "S3_SECRET_ACCESS_KEY"} <= secrets
    assert not secrets & set(settings_of(manifests)), "secrets are no settings that everybody may read"


def test_probes_ask_what_is_served(manifests: list[Manifest]) -> None:
    probes = {
        (name, kind): container[kind]
        for name, _, pod in pods(manifests)
        for container in pod["containers"]
        for kind in ("startupProbe", "livenessProbe", "readinessProbe")
        if kind in container
    }
    assert probes["speech-web", "livenessProbe"]["httpGet"]["path"] == "/health", "an outage must not restart servers"
    assert probes["speech-web", "readinessProbe"]["httpGet"]["path"] == "/health/ready"
    for probe in probes.values():
        if "httpGet" in probe:
            assert resolve(probe["httpGet"]["path"]).func


def test_pods_have_the_time_to_end(manifests: list[Manifest]) -> None:
    drain = int(settings_of(manifests)["DRAIN_SECONDS"])
    for name, _, pod in pods(manifests):
        (container,) = pod["containers"]
        before = int((container.get("lifecycle", {}).get("preStop", {}).get("exec", {}).get("command", [0]))[-1])
        if "terminationGracePeriodSeconds" in pod:  # not the jobs', which may be broken off
            problem = grace_problems(drain=drain, grace=pod["terminationGracePeriodSeconds"], before=before)
            assert not problem, f"{name}: {problem}"


def test_workers_scale_with_a_metric_that_there_is(manifests: list[Manifest]) -> None:
    (scaled,) = of_kind(manifests, "ScaledObject")
    (trigger,) = scaled["spec"]["triggers"]
    query = trigger["metadata"]["query"]
    sources = "".join(path.read_text() for path in (ROOT / "platform" / "observability").glob("*.py"))
    for name in re.findall(r"speech_\w+", query):
        assert f'"{name}"' in sources, name
    assert "max by (queue, status)" in query, "each process reports the same rows"
    assert int(trigger["metadata"]["threshold"]) > 0
    assert 1 <= scaled["spec"]["minReplicaCount"] < scaled["spec"]["maxReplicaCount"]


def test_gpus_are_asked_for_where_they_are_used(manifests: list[Manifest]) -> None:
    images = {pod["containers"][0]["image"].rpartition("-")[2] for _, _, pod in pods(manifests)}
    gpus = [pod["containers"][0]["resources"]["limits"].get("nvidia.com/gpu") for name, _, pod in pods(manifests)
            if name in ("speech-web", "speech-worker")]  # fmt: skip
    assert (images, gpus) in (({"cpu"}, [None, None]), ({"cuda"}, ["1", "1"]))

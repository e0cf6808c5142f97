"""`deploy/kubernetes`: the manifests parse, fit each other, and give the gateway settings that there are. No cluster is asked."""

from __future__ import annotations

from typing import Any

from app.serving.supervisor import KILL_AFTER_SECONDS
from tests.deploy.files import KUBERNETES, manifests, settings_of

STORES = {"SURGATE_DATABASE_URL": "postgresql+asyncpg://surgate:word@host/surgate", "SURGATE_REDIS_URL": "redis://host/0"}
PUBLIC = {"/v1", "/v1/check", "/v1/events", "/docs", "/openapi.json"}


def of(kind: str) -> list[dict[str, Any]]:
    return [one for one in manifests() if one["kind"] == kind]


def pods() -> list[dict[str, Any]]:
    return [one["spec"]["template"] for kind in ("StatefulSet", "Job") for one in of(kind)]


def nodes() -> dict[str, Any]:
    (made,) = of("StatefulSet")
    return made


def test_every_setting_is_one_and_every_value_is_taken() -> None:
    for pod in pods():
        (container,) = pod["spec"]["containers"]
        given = {one["name"]: one["value"] for one in container["env"]}
        assert container["envFrom"] == [{"secretRef": {"name": "surgate-stores"}}]
        settings = settings_of(given | STORES)
        mounted = {one["mountPath"] for one in container["volumeMounts"]}
        assert {str(settings.seal_key.parent), str(settings.var_dir.parent), "/tmp"} <= mounted
        # A service named surgate would be told to its pods as SURGATE_PORT=tcp://…, which is refused at the start.
        assert pod["spec"]["enableServiceLinks"] is False


def test_the_secrets_that_are_asked_for_are_those_that_the_head_of_the_file_makes() -> None:
    text = (KUBERNETES / "kustomization.yaml").read_text(encoding="utf-8")
    asked = {"surgate-stores", "surgate-seal-key", *(tls["secretName"] for ingress in of("Ingress") for tls in ingress["spec"]["tls"])}
    for name in asked:
        assert f" {name} " in text, name
    for name in STORES:
        assert f"--from-literal={name}=" in text


def test_selectors_find_the_nodes_and_not_the_job() -> None:
    labels = nodes()["spec"]["template"]["metadata"]["labels"]
    (job,) = of("Job")
    spread = nodes()["spec"]["template"]["spec"]["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"][0]
    selectors = [
        nodes()["spec"]["selector"]["matchLabels"],
        spread["labelSelector"]["matchLabels"],
        *(one["spec"]["selector"] for one in of("Service")),
        *(one["spec"]["selector"]["matchLabels"] for one in of("PodDisruptionBudget")),
    ]
    for selector in selectors:
        assert selector.items() <= labels.items()
        assert not selector.items() <= job["spec"]["template"]["metadata"]["labels"].items()
    (policy,) = of("NetworkPolicy")
    for pod in pods():
        assert policy["spec"]["podSelector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()


def test_ports_are_those_that_the_gateway_listens_on() -> None:
    (container,) = nodes()["spec"]["template"]["spec"]["containers"]
    settings = settings_of({one["name"]: one["value"] for one in container["env"]} | STORES)
    assert container["ports"] == [{"name": "http", "containerPort": settings.port}]
    services = {one["metadata"]["name"]: one for one in of("Service")}
    assert nodes()["spec"]["serviceName"] in services
    assert {port["targetPort"] for one in services.values() for port in one["spec"]["ports"]} == {"http"}
    for probe in ("startupProbe", "livenessProbe"):
        assert container[probe]["httpGet"] == {"path": "/healthz", "port": "http"}
    assert f"http://127.0.0.1:{settings.port}/readyz" in container["readinessProbe"]["exec"]["command"][-1]
    (policy,) = of("NetworkPolicy")
    assert policy["spec"]["ingress"][0]["ports"] == [{"protocol": "TCP", "port": settings.port}]


def test_what_is_public_never_holds_the_operations_pages() -> None:
    services = {one["metadata"]["name"]: {port["name"] for port in one["spec"]["ports"]} for one in of("Service")}
    paths = [path for one in of("Ingress") for rule in one["spec"]["rules"] for path in rule["http"]["paths"]]
    assert {path["path"] for path in paths} == PUBLIC
    for path in paths:
        service = path["backend"]["service"]
        assert service["port"]["name"] in services[service["name"]]


def test_a_node_is_stopped_only_after_nobody_sends_to_it_and_has_time_to_finish() -> None:
    spec = nodes()["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    settings = settings_of({one["name"]: one["value"] for one in container["env"]} | STORES)
    waits = int(container["lifecycle"]["preStop"]["exec"]["command"][-1])
    assert spec["terminationGracePeriodSeconds"] > waits + settings.stop_seconds + KILL_AFTER_SECONDS
    assert of("PodDisruptionBudget")[0]["spec"]["maxUnavailable"] == 1 < nodes()["spec"]["replicas"]
    assert nodes()["spec"]["updateStrategy"] == {"type": "RollingUpdate"}
    assert [claim["metadata"]["name"] for claim in nodes()["spec"]["volumeClaimTemplates"]] == ["data"]

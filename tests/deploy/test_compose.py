"""`deploy/compose`: the files parse, fit each other, and ask for nothing that is not there. No container is started here."""

from __future__ import annotations

import json
import os
import re
import subprocess
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.audit.keyfile import KeyFile
from app.events.stream import HEARTBEAT_SECONDS
from app.serving.supervisor import KILL_AFTER_SECONDS
from tests.deploy.files import COMPOSE, compose, passwords, redis_as_deployed, secrets_made, settings_of, unknown_in
from tests.servers import Redis

GATEWAYS = ("gateway1", "gateway2")
HAPROXY = (COMPOSE / "haproxy.cfg").read_text(encoding="utf-8")
DASHBOARD = json.loads((COMPOSE / "grafana" / "dashboards" / "surgate.json").read_text(encoding="utf-8"))


def test_every_setting_is_one_and_every_value_is_taken() -> None:
    for name, service in compose()["services"].items():
        given = {key: value for key, value in service.get("environment", {}).items() if key.startswith("SURGATE_")}
        assert bool(given) == (name in {*GATEWAYS, "migrate"}), name
        settings_of(given)


def test_images_have_a_version_and_what_is_mounted_is_there() -> None:
    stack = compose()
    for name, service in stack["services"].items():
        image = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", service["image"])
        assert re.search(r":v?\d+\.\d+(\.\d+)?(-\w+)?$", image), name
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert (COMPOSE / source).exists() if source.startswith(".") else source in stack["volumes"], (name, volume)
        assert set(service.get("secrets", [])) <= set(stack["secrets"]), name
        assert set(service.get("networks", [])) <= set(stack["networks"]), name
        assert set(service.get("depends_on", [])) <= set(stack["services"]), name


def test_the_nodes_share_the_key_and_nothing_else() -> None:
    services = compose()["services"]
    one, two = (services[name] for name in GATEWAYS)
    assert {key: value for key, value in one.items() if key != "volumes"} == {key: value for key, value in two.items() if key != "volumes"}
    assert one["volumes"] != two["volumes"]
    assert services["migrate"]["environment"] == one["environment"]
    settings = settings_of(one["environment"])
    assert str(settings.seal_key) == f"/run/secrets/{one['secrets'][0]}"
    assert int(one["stop_grace_period"].removesuffix("s")) > settings.stop_seconds + KILL_AFTER_SECONDS


def test_the_database_has_room_for_every_connection() -> None:
    services = compose()["services"]
    settings = settings_of(services["gateway1"]["environment"])
    room = int(next(word for word in services["postgres"]["command"] if word.startswith("max_connections=")).split("=")[1])
    assert room >= len(GATEWAYS) * settings.workers * settings.database_connections + 20


def test_only_the_balancer_is_reached_from_outside_and_only_it_and_prometheus_reach_the_nodes() -> None:
    stack = compose()
    services, networks = stack["services"], stack["networks"]
    for name, service in services.items():
        outside = [port for port in service.get("ports", []) if not port.startswith("127.0.0.1:")]
        assert bool(outside) == (name == "balancer"), name
    settings = settings_of(services["gateway1"]["environment"])
    assert settings.ops_networks == networks["ops"]["ipam"]["config"][0]["subnet"]
    assert [name for name, service in services.items() if "ops" in service["networks"]] == [*GATEWAYS, "prometheus"]
    assert settings.trusted_proxies == services["balancer"]["networks"]["front"]["ipv4_address"]
    (front,) = networks["front"]["ipam"]["config"]
    assert ip_address(settings.trusted_proxies) in ip_network(front["subnet"])
    # The gateways start first, and Docker gives out the lowest free address: it must not be the balancer's.
    assert ip_address(settings.trusted_proxies) not in ip_network(front["ip_range"])
    assert ip_network(front["ip_range"])[0] in ip_network(front["subnet"])


def test_the_balancer_knows_every_node_keeps_operations_inside_and_sends_again_only_what_may_be_sent_twice() -> None:
    sections = _sections()
    for name in ("checks", "streams", "gateways"):
        section = sections[f"backend {name}"]
        servers = {line.split()[1]: line.split()[2] for line in section if line.startswith("server ")}
        assert servers == {gateway: f"{gateway}:8080" for gateway in GATEWAYS}, name
        assert "option httpchk GET /healthz" in section, name
    retried = {name: line for name, lines in sections.items() for line in lines if line.startswith("retry-on ")}
    assert retried == {"defaults": "retry-on conn-failure", "backend checks": "retry-on conn-failure empty-response response-timeout"}
    frontend = sections["frontend https"]
    denied = next(line for line in frontend if line.startswith("http-request deny"))
    assert "-m beg /metrics" in denied
    assert "-m beg /readyz" in denied
    assert "use_backend checks if { path /v1/check } METH_POST" in frontend
    times = {line.split()[1]: line.split()[2] for line in sections["defaults"] if line.startswith("timeout ")}
    assert float(times["client"].removesuffix("s")) > 2 * HEARTBEAT_SECONDS, "a silent stream is cut"
    assert "timeout server 1h" in sections["backend streams"]
    (check,) = [line for line in sections["defaults"] if line.startswith("default-server ")]
    assert float(times["check"].removesuffix("s")) > float(check.split()[3].removesuffix("s")), "a busy node is taken for a dead one"


def test_prometheus_scrapes_every_node_under_the_name_that_the_rules_ask_for() -> None:
    config = yaml.safe_load((COMPOSE / "prometheus" / "prometheus.yaml").read_text(encoding="utf-8"))
    (job,) = config["scrape_configs"]
    assert (job["job_name"], job["static_configs"][0]["targets"]) == ("surgate", [f"{name}:8080" for name in GATEWAYS])
    mounted = [volume.split(":")[1] for volume in compose()["services"]["prometheus"]["volumes"]]
    assert set(config["rule_files"]) <= set(mounted)


@pytest.mark.parametrize("panel", DASHBOARD["panels"], ids=[panel["title"] for panel in DASHBOARD["panels"]])
def test_a_panel_asks_for_what_the_gateway_tells(panel: dict[str, Any]) -> None:
    source = yaml.safe_load((COMPOSE / "grafana" / "datasources" / "prometheus.yaml").read_text(encoding="utf-8"))["datasources"][0]
    assert panel["datasource"] == {"type": source["type"], "uid": source["uid"]}
    assert panel["targets"]
    for target in panel["targets"]:
        assert not unknown_in(target["expr"]), target["expr"]


def test_the_script_makes_what_the_parts_can_use_and_makes_it_once(tmp_path: Path) -> None:
    made = secrets_made(tmp_path)
    before = {file.name: file.read_bytes() for file in (made / "secrets").iterdir()}
    key = KeyFile(made / "secrets" / "seal-key.pem").current()
    subprocess.run([str(made / "secrets.sh")], check=True, capture_output=True)
    assert {file.name: file.read_bytes() for file in (made / "secrets").iterdir()} == before
    assert KeyFile(made / "secrets" / "seal-key.pem").current().fingerprint == key.fingerprint
    assert all(file.stat().st_mode & 0o077 == 0 for file in [made / ".env", *(made / "secrets").iterdir()])
    asked = set(re.findall(r"\$\{(\w+):\?", (COMPOSE / "compose.yaml").read_text(encoding="utf-8")))
    assert set(passwords(made)) == asked
    assert {Path(secret["file"]).name for secret in compose()["secrets"].values()} == set(before)
    named = ["openssl", "x509", "-in", str(made / "secrets" / "tls.pem"), "-noout", "-checkhost", "localhost"]
    assert "does match" in subprocess.run(named, check=True, capture_output=True, text=True).stdout


def test_the_gateways_user_may_do_in_redis_what_it_needs_and_nothing_else(tmp_path: Path) -> None:
    with redis_as_deployed(tmp_path) as (server, password):
        allowed = [
            ("PING",),
            ("HSET", "surgate:1:{X}:people", "1", "a"),
            ("HGET", "surgate:1:{X}:people", "1"),
            ("HSCAN", "surgate:1:{X}:people", "0"),
            ("EVAL", "return redis.call('HLEN', KEYS[1])", "1", "surgate:1:{X}:people"),
            (
                "EVAL",
                "redis.call('RENAME', KEYS[1], KEYS[2]); return redis.call('PERSIST', KEYS[2])",
                "2",
                "surgate:1:{X}:people",
                "surgate:2",
            ),
            ("EXPIRE", "surgate:2", "10"),
            ("SET", "surgate:1:{X}:writer", "w", "NX", "EX", "30"),
            ("DEL", "surgate:1:{X}:writer"),
            ("XADD", "surgate:1:feed", "MAXLEN", "~", "10", "*", "seq", "1"),
            ("XREVRANGE", "surgate:1:feed", "+", "-", "COUNT", "1"),
            ("XREAD", "COUNT", "1", "STREAMS", "surgate:1:feed", "0"),
            ("INFO", "server"),
        ]
        refused = [("FLUSHALL",), ("KEYS", "*"), ("CONFIG", "GET", "*"), ("ACL", "LIST"), ("GET", "other"), ("SHUTDOWN",)]
        assert {words: answer for words in allowed if "NOPERM" in (answer := _as_gateway(server, password, words))} == {}
        assert {words: answer for words in refused if "NOPERM" not in (answer := _as_gateway(server, password, words))} == {}
        assert "NOAUTH" in server.call("GET", "surgate:2")


def _as_gateway(server: Redis, password: str, words: tuple[str, ...]) -> str:
    command = ["redis-cli", "-p", str(server.port), "--user", "surgate", "--no-auth-warning", *words]
    made = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | {"REDISCLI_AUTH": password})
    return made.stdout + made.stderr


def _sections() -> dict[str, list[str]]:
    sections: dict[str, list[str]] = {}
    name = ""
    for line in HAPROXY.splitlines():
        if line and not line[0].isspace() and not line.startswith("#"):
            name = line.strip()
            sections[name] = []
        elif line.strip() and not line.strip().startswith("#"):
            sections[name].append(line.strip())
    return sections

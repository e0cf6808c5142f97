"""Files in over HTTP: what they change, what they must not change, what is said of what is wrong."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pytest

from app.main import Gateway
from tests.service.conftest import PACK, bearer
from tests.service.orders import EXPIRED, order

pytestmark = pytest.mark.anyio

KINDS = ("catalog", "aliases", "staff", "grants", "credentials", "volumes", "technologies", "pack")
SURGEON = "100302"
BECAUSE = {"reason": "并发症率复核", "document_no": "医务〔2026〕12号", "by": "900001"}
GRANT_HEADING = "staff,scope_type,scope,department,role,valid_from,valid_to,state\n"

Send = Callable[..., Awaitable[httpx.Response]]
Import = Callable[..., Awaitable[httpx.Response]]


@pytest.fixture
def send(client: httpx.AsyncClient, keys: dict[str, str]) -> Send:
    async def sent(
        method: str, path: str, role: str = "medical_affairs", headers: dict[str, str] | None = None, **more: Any
    ) -> httpx.Response:
        return await client.request(method, path, headers=bearer(keys[role]) | (headers or {}), **more)

    return sent


@pytest.fixture
def bring(send: Send) -> Import:
    """Import a file: text or bytes, with query parameters as keywords."""

    async def brought(kind: str, content: str | bytes, media_type: str = "application/octet-stream", **parameters: str) -> httpx.Response:
        data = content.encode() if isinstance(content, str) else content
        return await send("POST", f"/v1/imports/{kind}", params=parameters, content=data, headers={"content-type": media_type})

    return brought


async def _export(send: Send, kind: str, **parameters: str) -> bytes:
    response = await send("GET", f"/v1/exports/{kind}", params=parameters)
    assert response.status_code == 200, response.text
    return response.content


async def _done(response: Awaitable[httpx.Response]) -> dict[str, Any]:
    got = await response
    assert got.status_code == 200, got.text
    diff: dict[str, Any] = got.json()
    return diff


def _changed_counts(diff: dict[str, Any]) -> dict[str, int]:
    return {action: count for action, count in diff["counts"].items() if count and action != "unchanged"}


async def _grants(send: Send, staff: str = SURGEON) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await send("GET", "/v1/grants", params={"staff": staff, "limit": "500"})).json()["items"]
    return found


@pytest.mark.parametrize("form", ["csv", "xlsx"])
@pytest.mark.parametrize("kind", KINDS)
async def test_what_is_exported_imports_again_unchanged(send: Send, bring: Import, kind: str, form: str) -> None:
    exported = await send("GET", f"/v1/exports/{kind}", params={"format": form})
    for mode in ("merge", "replace"):
        diff = await _done(bring(kind, exported.content, exported.headers["content-type"], dry_run="true", mode=mode))
        assert _changed_counts(diff) == {}
        assert diff["counts"]["unchanged"] > 0
        assert not diff["rows"]
        assert not diff["loosening"]


async def test_what_was_changed_by_hand_and_by_files_exports_and_imports_again_unchanged(send: Send, bring: Import) -> None:
    """A code that left the catalog and is still granted, grants suspended and revoked, a stopped technology, somebody who has left."""
    grants = [g for g in await _grants(send) if g["state"] == "active" and g["scope_type"] == "code"]
    catalog = (await _export(send, "catalog")).decode().splitlines(keepends=True)
    await _done(bring("catalog", "".join(x for x in catalog if not x.startswith(grants[0]["scope"])), mode="replace", confirm="true"))
    staff = (await _export(send, "staff")).decode().splitlines(keepends=True)
    await _done(bring("staff", "".join(x for x in staff if not x.startswith("100001,")), mode="replace"))
    for step, one in zip(("suspend", "revoke"), grants[1:], strict=False):
        assert (await send("POST", f"/v1/grants/{one['id']}/{step}", json=BECAUSE)).status_code == 200
    assert (await send("POST", "/v1/technologies/P01/stop", json=BECAUSE)).status_code == 200
    for kind in KINDS:
        for mode in ("merge", "replace"):
            diff = await _done(bring(kind, await _export(send, kind), mode=mode))
            assert not diff["rows"], (kind, mode)


async def test_the_shipped_pack_says_nothing_new_to_its_own_hospital(bring: Import, gateway: Gateway) -> None:
    before = gateway.live.hospitals["wahh"].version
    diff = await _done(bring("pack", _zip({p.name: p.read_bytes() for p in PACK.iterdir()}), "application/zip"))
    assert _changed_counts(diff) == {}
    assert diff["applied"]
    assert diff["matrix_version"] == before


async def test_notes_come_back_in_an_export(send: Send) -> None:
    assert "从事专业35年" in (await _export(send, "staff")).decode()
    assert "房间隔缺损直视修补术" in (await _export(send, "catalog")).decode()
    assert "WAHH" in (await _export(send, "technologies")).decode()


async def test_a_dry_run_tells_and_writes_nothing(send: Send, bring: Import) -> None:
    file = GRANT_HEADING + f"{SURGEON},code,35.71001,小儿外科,,2026-01-01,,\n"
    before = await _grants(send)
    diff = await _done(bring("grants", file, dry_run="true"))
    assert (diff["dry_run"], diff["applied"], _changed_counts(diff)) == (True, False, {"added": 1})
    assert diff["rows"][0]["row"] == 2
    assert diff["rows"][0]["after"]["scope"] == "35.71001"
    assert await _grants(send) == before


async def test_a_merge_adds_and_changes_and_leaves_columns_that_the_file_does_not_have(send: Send, bring: Import) -> None:
    one = (await _grants(send))[0]
    heading = "staff,scope_type,scope,department,role,valid_from,valid_to\n"
    row = ",".join(str(one[c] or "") for c in ("staff", "scope_type", "scope", "department", "role", "valid_from"))
    diff = await _done(bring("grants", f"{heading}{row},2030-01-01\n", "text/csv"))
    assert _changed_counts(diff) == {"changed": 1}
    after = next(g for g in await _grants(send) if g["id"] == one["id"])
    assert after == one | {"valid_to": "2030-01-01"}


async def test_an_import_is_in_force_and_logged(send: Send, bring: Import, gateway: Gateway) -> None:
    file = GRANT_HEADING + f"{SURGEON},code,35.71001,小儿外科,,2026-01-01,,\n"
    diff = await _done(bring("grants", file, by="900001", reason="年度授权", document_no="医务〔2026〕1号"))
    live = gateway.live.hospitals["wahh"]
    assert live.version == diff["matrix_version"]
    assert any(g.department == "小儿外科" and g.scope == "35.71001" for g in live.people[SURGEON].grants)
    logged = (await send("GET", "/v1/changes", params={"kind": "import"})).json()["items"][0]
    assert (logged["by"], logged["reason"], logged["document_no"], logged["subject"]) == ("900001", "年度授权", "医务〔2026〕1号", "grants")


async def test_replace_retires_what_is_absent_and_a_later_file_brings_it_back(send: Send, bring: Import) -> None:
    file = (await _export(send, "grants")).decode().splitlines(keepends=True)
    place = next(i for i, line in enumerate(file) if ",active," in line and f",{SURGEON}," in line)
    diff = await _done(bring("grants", "".join(file[:place] + file[place + 1 :]), mode="replace"))
    assert _changed_counts(diff) == {"retired": 1}
    assert (await _export(send, "grants")).decode().splitlines(keepends=True) == file[:place] + file[place + 1 :]
    diff = await _done(bring("grants", "".join(file)))
    assert _changed_counts(diff) == {"added": 1}
    assert (await _export(send, "grants")).decode().splitlines(keepends=True) == file


async def test_a_suspension_by_hand_is_not_undone_by_a_file(send: Send, bring: Import) -> None:
    file = await _export(send, "grants")
    one = next(g for g in await _grants(send) if g["state"] == "active")
    await send("POST", f"/v1/grants/{one['id']}/suspend", json=BECAUSE)
    diff = await _done(bring("grants", file, mode="replace"))
    assert _changed_counts(diff) == {"kept": 1}
    assert diff["rows"][0]["subject"] == one["id"]
    assert not diff["loosening"]
    assert next(g for g in await _grants(send) if g["id"] == one["id"])["state"] == "suspended"


async def test_a_revoked_grant_stays_revoked(send: Send, bring: Import) -> None:
    file = (await _export(send, "grants")).decode()
    one = next(g for g in await _grants(send) if g["state"] == "active")
    await send("POST", f"/v1/grants/{one['id']}/revoke", json=BECAUSE)
    for mode in ("merge", "replace"):
        assert _changed_counts(await _done(bring("grants", file, mode=mode))) == {"kept": 1}
    without = "".join(line for line in file.splitlines(keepends=True) if not line.startswith(one["id"]))
    assert _changed_counts(await _done(bring("grants", without, mode="replace"))) == {"kept": 1}
    assert next(g for g in await _grants(send) if g["id"] == one["id"])["state"] == "revoked"


async def test_a_suspension_by_file_is_lifted_by_a_file_only_when_confirmed(send: Send, bring: Import) -> None:
    row = f"{SURGEON},code,35.71001,小儿外科,operator,2026-01-01,,"
    await _done(bring("grants", GRANT_HEADING + row + "暂停\n"))
    refused = await bring("grants", GRANT_HEADING + row + "启用\n")
    assert refused.status_code == 409
    assert [one["what"] for one in refused.json()["loosening"]] == ["grant_resumed"]
    diff = await _done(bring("grants", GRANT_HEADING + row + "启用\n", confirm="true"))
    assert _changed_counts(diff) == {"changed": 1}


async def test_a_grant_for_what_is_held_revoked_needs_confirmation(send: Send, bring: Import) -> None:
    one = next(g for g in await _grants(send) if g["state"] == "active" and g["scope_type"] == "code")
    await send("POST", f"/v1/grants/{one['id']}/revoke", json=BECAUSE)
    file = GRANT_HEADING + f"{SURGEON},code,{one['scope']},{one['department']},,2026-11-01,,\n"
    refused = await bring("grants", file)
    assert refused.status_code == 409
    assert refused.json()["loosening"][0]["what"] == "granted_again"
    assert one["id"] in refused.json()["detail"]
    assert (await _done(bring("grants", file, dry_run="true")))["needs_confirm"]
    assert _changed_counts(await _done(bring("grants", file, confirm="true"))) == {"added": 1}


async def test_a_person_suspended_by_hand_stays_so_and_who_is_absent_has_left(send: Send, bring: Import) -> None:
    file = (await _export(send, "staff")).decode().splitlines(keepends=True)
    await send("POST", f"/v1/staff/{SURGEON}/suspend", json=BECAUSE)
    assert _changed_counts(await _done(bring("staff", "".join(file)))) == {"kept": 1}
    without = "".join(line for line in file if not line.startswith("100001,"))
    assert _changed_counts(await _done(bring("staff", without, mode="replace"))) == {"retired": 1, "kept": 1}
    assert ",left," in next(line for line in (await _export(send, "staff")).decode().splitlines() if line.startswith("100001,"))
    refused = await bring("staff", "".join(file))
    assert [one["what"] for one in refused.json()["loosening"]] == ["staff_resumed"]


async def test_a_technology_stopped_by_hand_stays_stopped(send: Send, bring: Import) -> None:
    file = await _export(send, "technologies")
    assert (await send("POST", "/v1/technologies/G11/stop", json=BECAUSE)).status_code == 200
    for mode in ("merge", "replace"):
        diff = await _done(bring("technologies", file, "application/toml", mode=mode))
        assert (_changed_counts(diff), diff["loosening"]) == ({"kept": 1}, [])
    assert b"stopped = true" in await _export(send, "technologies")


async def test_loosening_is_listed_apart_and_needs_confirmation(send: Send, bring: Import) -> None:
    lowered = (await _export(send, "catalog")).decode().replace("35.71001,房间隔缺损修补术,3,", "35.71001,房间隔缺损修补术,2,")
    refused = await bring("catalog", lowered, mode="replace")
    assert refused.status_code == 409
    assert [one["what"] for one in refused.json()["loosening"]] == ["level_lowered"]
    assert _changed_counts(await _done(bring("catalog", lowered, confirm="true"))) == {"changed": 1}
    less = (await _export(send, "technologies")).decode().replace('"39.6500x001"', '"39.6500x009"')
    assert {one["what"] for one in (await bring("technologies", less)).json()["loosening"]} == {"identified_less"}
    fewer = await bring("technologies", "[[technology]]\nid = 'G11'\nname = 'ECMO'\nkind = 'key'\n", mode="replace")
    assert {"technology_gone", "kind_lowered", "identified_less"} <= {one["what"] for one in fewer.json()["loosening"]}


async def test_every_problem_is_named_with_row_and_column_and_nothing_is_imported(send: Send, bring: Import) -> None:
    before = await _export(send, "grants")
    file = (
        "工号,授权类型,授权范围,授权起始,授权截止\n"
        f"{SURGEON},编码,35.71001,2026-11-01,\n"
        f"{SURGEON},编码,99.99999,2026-02-30,\n"
        "999999,级别,四级,2026-01-01,2025-01-01\n"
    )
    refused = await bring("grants", file, "text/csv")
    assert refused.status_code == 422
    places = {(e["row"], e["column"]) for e in refused.json()["errors"]}
    assert places == {(3, "授权范围"), (3, "授权起始"), (4, "工号"), (4, "授权范围"), (4, "授权截止")}
    assert all(e["message"] and e["file"] == "grants.csv" for e in refused.json()["errors"])
    assert await _export(send, "grants") == before


async def test_a_form_with_one_file_is_taken(send: Send) -> None:
    file = GRANT_HEADING + f"{SURGEON},code,35.71001,小儿外科,,2026-01-01,,\n"
    taken = await send("POST", "/v1/imports/grants?dry_run=true", files={"file": ("g.csv", file.encode(), "text/csv")})
    assert taken.status_code == 200, taken.text
    two = await send("POST", "/v1/imports/grants?dry_run=true", files=[("a", ("a", b"x", "text/csv")), ("b", ("b", b"x", "text/csv"))])
    assert two.status_code == 422
    broken = await send("POST", "/v1/imports/grants", content=b"x", headers={"content-type": "multipart/form-data"})
    assert broken.status_code == 400


@pytest.mark.parametrize(
    ("path", "media_type", "content", "status"),
    [
        ("grants?dryrun=true", "text/csv", b"staff\n", 422),
        ("grants?mode=append", "text/csv", b"staff\n", 422),
        ("grants?dry_run=perhaps", "text/csv", b"staff\n", 422),
        ("grants", "application/json", b"{}", 415),
        ("grants", "text/csv", b"", 422),
        ("grants", "text/csv", b"staff,nonsense\n", 422),
        ("grants", "text/csv", b"PK\x03\x04damaged", 422),
        ("decisions", "text/csv", b"x\n", 404),
        ("technologies", "application/toml", b"[[technology]\n", 422),
        ("pack", "application/zip", b"no zip", 422),
        ("pack", "application/zip", b"PK\x05\x06" + bytes(18), 422),
    ],
)
async def test_what_cannot_be_taken_is_refused(send: Send, path: str, media_type: str, content: bytes, status: int) -> None:
    refused = await send("POST", f"/v1/imports/{path}", content=content, headers={"content-type": media_type})
    assert refused.status_code == status, refused.text
    assert refused.headers["content-type"] == "application/problem+json"


async def test_a_body_over_64_mib_is_refused(send: Send) -> None:
    refused = await send("POST", "/v1/imports/grants", content=bytes(64 * 2**20 + 1), headers={"content-type": "text/csv"})
    assert refused.status_code == 413


@pytest.mark.parametrize("role", ["his", "anesthesia", "ops", "auditor"])
async def test_only_the_medical_affairs_office_imports(send: Send, role: str) -> None:
    assert (await send("POST", "/v1/imports/grants", role, content=b"x")).status_code == 403
    exported = await send("GET", "/v1/exports/aliases", role)
    assert exported.status_code == (200 if role == "auditor" else 403)


@pytest.mark.parametrize(
    "name", ["../hospital.toml", "/etc/hospital.toml", "a/../../hospital.toml", "..\\hospital.toml", "c:hospital.toml", "a/b/c/d/x.csv"]
)
async def test_a_zip_that_leads_out_of_its_folder_is_refused(bring: Import, name: str) -> None:
    refused = await bring("pack", _zip({"hospital.toml": b"", name: b"x"}), "application/zip")
    assert refused.status_code == 422
    assert "pack.zip" in {e["file"] for e in refused.json()["errors"]}


async def test_a_link_in_a_zip_is_refused(bring: Import) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as packed:
        link = zipfile.ZipInfo("hospital.toml")
        link.external_attr = 0o120777 << 16
        packed.writestr(link, "/etc/passwd")
    assert (await bring("pack", out.getvalue(), "application/zip")).status_code == 422


async def test_a_zip_that_unpacks_to_too_much_is_refused(bring: Import, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.imports.formats.MAX_UNPACKED_BYTES", 2**20)
    refused = await bring("pack", _zip({"hospital.toml": b"", "grants.csv": bytes(2**23)}), "application/zip")
    assert refused.status_code == 422
    assert "MiB" in refused.json()["errors"][0]["message"]


async def test_a_zip_that_is_packed_in_an_unusual_way_is_refused(bring: Import) -> None:
    """Other ways unpack more at once than is asked for."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_BZIP2) as packed:
        packed.writestr("hospital.toml", b"")
    refused = await bring("pack", out.getvalue(), "application/zip")
    assert refused.status_code == 422
    assert "unusual compression" in refused.json()["errors"][0]["message"]


async def test_a_zip_of_very_many_entries_is_refused(bring: Import) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as packed:
        for number in range(10_001):
            packed.writestr(f"{number}/", b"")
    refused = await bring("pack", out.getvalue(), "application/zip")
    assert refused.status_code == 422
    assert "more than 200 files" in refused.json()["errors"][0]["message"]


async def test_another_hospitals_pack_is_refused(bring: Import) -> None:
    settings = (PACK / "hospital.toml").read_text().replace('code = "wahh"', 'code = "other"')
    refused = await bring("pack", _zip({"hospital.toml": settings.encode()}), "application/zip")
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["column"] == "code"


async def test_a_pack_that_has_only_some_tables_leaves_the_others(send: Send, bring: Import) -> None:
    files = {"hospital.toml": (PACK / "hospital.toml").read_bytes(), "aliases.csv": b"code,national_code\n"}
    diff = await _done(bring("pack", _zip(files), dry_run="true", mode="replace"))
    assert set(diff["tables"]) == {"hospital", "aliases", "technologies"}
    assert _changed_counts(diff) == {"retired": 15}
    assert {one["what"] for one in diff["loosening"]} == {"alias_gone"}


async def test_a_milder_policy_needs_confirmation_and_a_stored_secret_is_kept(send: Send, bring: Import, gateway: Gateway) -> None:
    settings = (PACK / "hospital.toml").read_text()
    target = '\n[[notify]]\nkind = "webhook"\nurl = "https://oa.example/hook"\n'
    assert _changed_counts(await _done(bring("pack", _zip({"hospital.toml": (settings + target + 'secret = "s3cret"\n').encode()})))) == {
        "changed": 1
    }
    exported = await _export(send, "pack")
    assert b"s3cret" not in zipfile.ZipFile(io.BytesIO(exported)).read("wahh/hospital.toml")
    assert _changed_counts(await _done(bring("pack", exported))) == {}
    milder = settings.replace("[policy]", '[policy]\ngrant_missing = "overridable"\ncode_unknown = "info"') + target
    refused = await bring("pack", _zip({"hospital.toml": milder.encode()}))
    assert refused.status_code == 409
    assert {one["subject"] for one in refused.json()["loosening"]} == {"code_unknown"}
    assert "s3cret" not in json.dumps((await send("GET", "/v1/changes", params={"kind": "import"})).json())


def _zip(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, data in files.items():
            packed.writestr(name, data)
    return out.getvalue()


def _turn(staff: str, starts: datetime, hours: int, remark: str = "") -> str:
    """A row of the roster, by the hospital's clock."""
    clock = ZoneInfo("Asia/Shanghai")
    return ",".join((staff, *(f"{at.astimezone(clock):%Y-%m-%d %H:%M}" for at in (starts, starts + timedelta(hours=hours))), remark)) + "\n"


async def test_a_roster_puts_who_is_on_duty_first_in_an_emergency(send: Send, bring: Import, gateway: Gateway) -> None:
    async def named(urgency: str) -> list[dict[str, Any]]:
        denied = (await send("POST", "/v1/check", role="his", json=order(EXPIRED, urgency=urgency))).json()
        found: list[dict[str, Any]] = denied["procedures"][0]["operators"]
        return found

    before = [one["staff"] for one in await named("emergency")]
    now, was = datetime.now(UTC), gateway.live.hospitals["wahh"]
    turns = _turn(before[5], now - timedelta(hours=5), 10) + _turn(before[3], now - timedelta(hours=5), 2)
    diff = await _done(bring("roster", "工号,值班开始,值班结束,备注\n" + turns, "text/csv"))
    assert _changed_counts(diff) == {"added": 2}
    live = gateway.live.hospitals["wahh"]
    assert live.version == diff["matrix_version"]
    assert live.compiled is was.compiled  # only those people were read again
    on_duty, *others = await named("emergency")
    assert (on_duty["staff"], on_duty["on_duty"]) == (before[5], True)
    assert [one["staff"] for one in others] == before[:5] + before[6:]
    assert not any(one["on_duty"] for one in others)
    elective = await named("elective")
    assert [one["staff"] for one in elective] == before
    assert [one["staff"] for one in elective if one["on_duty"]] == [before[5]]


@pytest.mark.parametrize("form", ["csv", "xlsx"])
async def test_a_roster_is_merged_replaced_and_exported(send: Send, bring: Import, form: str) -> None:
    heading, now = "staff,from,to,remark\n", datetime.now(UTC)
    one, two, three = (_turn(SURGEON, now + timedelta(days=day), 12, "总值班") for day in (1, 2, 3))
    assert _changed_counts(await _done(bring("roster", heading + one + two, dry_run="true"))) == {"added": 2}
    assert _changed_counts(await _done(bring("roster", heading + one + two))) == {"added": 2}
    assert _changed_counts(await _done(bring("roster", heading + two.replace("总值班", "备班")))) == {"changed": 1}
    assert _changed_counts(await _done(bring("roster", heading + two.replace("总值班", "备班") + three, mode="replace"))) == {
        "added": 1,
        "retired": 1,
    }
    for kind in ("roster", "pack"):
        exported = await send("GET", f"/v1/exports/{kind}", params={"format": form})
        for mode in ("merge", "replace"):
            diff = await _done(bring(kind, exported.content, exported.headers["content-type"], mode=mode))
            assert _changed_counts(diff) == {}
            assert diff["tables"]["roster"]["unchanged"] == 2
    written = (await _export(send, "roster")).decode()
    assert ("备班" in written, "总值班" in written, len(written.splitlines())) == (True, True, 3)


async def test_a_wrong_roster_is_refused_as_a_whole(send: Send, bring: Import) -> None:
    now = datetime.now(UTC)
    refused = await bring("roster", "staff,from,to,remark\n" + _turn(SURGEON, now, 8) + _turn("999999", now, 8) + _turn(SURGEON, now, -1))
    assert refused.status_code == 422
    assert [(one["row"], one["column"]) for one in refused.json()["errors"]] == [(3, "staff"), (4, "to")]
    assert len((await _export(send, "roster")).decode().splitlines()) == 1

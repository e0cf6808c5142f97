"""What goes over the wire, byte by byte, and what counts as acknowledged."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest

from app.notify.formats import KINDS, MAX_WECOM_BYTES, outgoing, refusal
from app.notify.notices import Message, Words
from app.notify.targets import Target
from app.overrides.told import Person, Procedure
from app.packs.hospital import NOTIFY_KINDS
from app.store.outbox import Due

MESSAGE = Message(
    override_id="0193-override",
    decision_id="0193-decision",
    case_id="S2026112200017",
    at="2026-11-22T09:14:03+08:00",
    department="胸心外科",
    operators=(Person("100234", "钱垂柳"),),
    codes=(Procedure("39.6500*001", "体外膜肺氧合"),),
    declared_by=Person("100234", "钱垂柳"),
    reason_code="tamponade",
    reason="患者王某某，心包填塞，血压测不出",
    state="pending_report",
    late=False,
    review_due_at="2026-11-25T17:30:00+08:00",
    flags=("denied_before",),
    event="open",
    by=Person("100234", "钱垂柳"),
    hospital="wahh",
    hospital_name="亚心医院",
    title=Words("越级急诊手术", "Emergency override"),
    todo=Words("请立即联系有权限的医师接手", "Find a privileged surgeon now"),
)
NOW = 1_795_310_043.7


def due(message: Message = MESSAGE) -> Due:
    return Due(4711, "wahh", message.override_id, "t", message.event, msgspec.json.encode(message), 0)


def text(kind: str, message: Message = MESSAGE) -> str:
    sent = json.loads(outgoing(Target(kind, "https://robot.example/send?key=k"), due(message), NOW).body)
    assert sent["msgtype"] == "markdown"
    shown: str = sent["markdown"]["content" if kind == "wecom" else "text"]
    return shown


def test_packs_take_exactly_the_kinds_that_there_are() -> None:
    assert set(NOTIFY_KINDS) == set(KINDS)


def test_a_webhook_is_the_message_itself_signed_over_time_and_body() -> None:
    sent = outgoing(Target("webhook", "https://oa.example/hook", "s3cret"), due(), NOW)
    assert (sent.url, sent.body) == ("https://oa.example/hook", msgspec.json.encode(MESSAGE))
    expected = hmac.new(b"s3cret", b"1795310043." + sent.body, hashlib.sha256).hexdigest()
    assert sent.headers == {
        "Content-Type": "application/json",
        "Surgate-Id": "4711",
        "Surgate-Event": "override.open",
        "Surgate-Timestamp": "1795310043",
        "Surgate-Signature": f"v1={expected}",
    }


def test_without_a_secret_nothing_pretends_to_be_signed() -> None:
    assert "Surgate-Signature" not in outgoing(Target("webhook", "https://oa.example/hook"), due(), NOW).headers
    assert outgoing(Target("dingtalk", "https://robot.example/send?access_token=t"), due(), NOW).url.endswith("send?access_token=t")


def test_dingtalk_is_signed_in_its_query() -> None:
    sent = outgoing(Target("dingtalk", "https://robot.example/send?access_token=t", "SEC1"), due(), NOW)
    digest = hmac.new(b"SEC1", b"1795310043700\nSEC1", hashlib.sha256).digest()
    query = parse_qs(urlsplit(sent.url).query, strict_parsing=True)
    assert query == {"access_token": ["t"], "timestamp": ["1795310043700"], "sign": [base64.b64encode(digest).decode()]}
    assert "+" not in urlsplit(sent.url).query
    assert json.loads(sent.body)["markdown"]["title"] == "越级急诊手术"


@pytest.mark.parametrize("kind", ["wecom", "dingtalk"])
def test_a_robots_text_says_what_who_where_and_what_to_do(kind: str) -> None:
    shown = text(kind)
    for part in (
        "越级急诊手术",
        "亚心医院",
        "胸心外科",
        "钱垂柳（100234）",
        "体外膜肺氧合",
        "S2026112200017",
        "心包填塞",
        "待报告",
        "此前曾被拒绝",
    ):
        assert part in shown, part
    assert "**请立即联系有权限的医师接手**（复核期限 2026-11-25 17:30）" in shown
    assert shown.index("请立即") < shown.index("Find a privileged surgeon now")
    assert "王某某" not in shown  # what somebody wrote in words leaves the hospital for no chat


@pytest.mark.parametrize("kind", ["wecom", "dingtalk"])
def test_what_an_order_sends_is_shown_and_never_markup(kind: str) -> None:
    shown = text(kind, msgspec.structs.replace(MESSAGE, department="[点此](http://evil)<@all>", case_id="a\n# b"))
    assert "［点此］（http：" not in shown
    assert "[点此]" not in shown
    assert "<@all>" not in shown
    assert "\n# b" not in shown
    assert "39.6500＊001" in shown


def test_a_text_is_never_longer_than_wecom_takes() -> None:
    many = tuple(Person(str(n) * 60, "名" * 2000) for n in range(9))
    shown = text("wecom", msgspec.structs.replace(MESSAGE, operators=many, department="科" * 9000))
    assert len(shown.encode()) <= MAX_WECOM_BYTES
    assert "等9项" in shown
    assert "请立即联系有权限的医师接手" in shown


@pytest.mark.parametrize(
    ("kind", "status", "body", "why"),
    [
        ("webhook", 200, b"", None),
        ("webhook", 204, b"", None),
        ("webhook", 302, b"", "HTTP 302"),
        ("webhook", 500, b"", "HTTP 500"),
        ("wecom", 200, b'{"errcode":0,"errmsg":"ok"}', None),
        ("wecom", 200, b'{"errcode":45009,"errmsg":"api freq out of limit"}', "errcode 45009"),
        ("wecom", 200, b"<html>", "no errcode"),
        ("wecom", 200, b"\xff", "no errcode"),
        ("wecom", 502, b'{"errcode":0}', "HTTP 502"),
        ("dingtalk", 200, b'{"errcode":130101,"errmsg":"send too fast"}', "errcode 130101"),
        ("dingtalk", 200, b'{"errcode":0}', None),
        ("dingtalk", 200, b"{}", "no errcode"),
        ("dingtalk", 200, b'{"errcode":false}', "no errcode"),
    ],
)
def test_what_is_acknowledged(kind: str, status: int, body: bytes, why: str | None) -> None:
    assert refusal(Target(kind, "https://x"), status, body) == why

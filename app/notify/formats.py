"""What goes over the wire to each kind of target, and what counts as acknowledged. Pure: no I/O, no clock.

- `webhook`: the message as JSON, signed by HMAC-SHA256 over `timestamp.body`. Acknowledged by any 2xx.
- `wecom` (企业微信群机器人): https://developer.work.weixin.qq.com/document/path/91770. Acknowledged by 2xx with `errcode` 0.
- `dingtalk` (钉钉自定义机器人): https://open.dingtalk.com/document/robots/custom-robot-access. Acknowledged by 2xx with `errcode` 0.

A robot answers 200 with another `errcode` where it did not take the message (45009 and 130101: too many in a minute): a failure like any other.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import httpx
import msgspec

from app.notify.notices import Message
from app.notify.targets import Target
from app.notify.texts import FLAGS, REASONS, STATES
from app.overrides.told import Person, Procedure
from app.store.outbox import Due

MAX_NAMED = 5
"""Operators and procedures that a robot's text names; the rest are counted."""

MAX_WECOM_BYTES = 4096
MAX_VALUE_CHARS = 80
"""Of one name or id in a robot's text: what an order sends must not push the rest out."""

_MARKUP = str.maketrans({plain: chr(ord(plain) + 0xFEE0) for plain in "*_[]()<>`#~|\\!"} | {"\n": " ", "\r": " "})
"""Characters that are markup in a robot's text become their full-width forms: a department or a case id is shown, never a link or a mention."""


class Outgoing(NamedTuple):
    """One HTTP POST."""

    url: str
    headers: Mapping[str, str]
    body: bytes


def outgoing(target: Target, due: Due, now: float) -> Outgoing:
    """What is sent to a target. `now`: seconds since 1970, which the signature is bound to. Raises `KeyError` for a kind that is unknown."""
    return _FORMATS[target.kind](target, due, now)


def refusal(target: Target, status: int, body: bytes) -> str | None:
    """Why an answer does not acknowledge the message; None where it does. Nothing of what the other side wrote but its code."""
    if not 200 <= status < 300:
        return f"HTTP {status}"
    if target.kind == "webhook":
        return None
    try:
        code = msgspec.json.decode(body, type=_RobotAnswer).errcode
    except (msgspec.DecodeError, UnicodeDecodeError):
        return "no errcode"
    return None if code == 0 else f"errcode {code}"


def signature(secret: str, timestamp: str, body: bytes) -> str:
    """What a webhook's receiver holds `Surgate-Signature` against."""
    return "v1=" + hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


def markdown(message: Message) -> list[str]:
    """A robot's text, line by line."""
    lines = [
        f"### 【{message.title.zh}】{_plain(message.hospital_name)}",
        f"科室：{_plain(message.department)}",
        f"术者：{_listed([_person(one) for one in message.operators])}",
        f"术式：{_listed([_procedure(one) for one in message.codes])}",
        f"例次：{_plain(message.case_id)}",
        f"事由：{REASONS.get(message.reason_code, _plain(message.reason_code))}（声明人 {_person(message.declared_by)}）",
        f"时间：{_minute(message.at)}；状态：{STATES.get(message.state, _plain(message.state))}",
    ]
    if message.by is not None and message.event != "open":
        lines.append(f"经办：{_person(message.by)}")
    if message.flags:
        lines.append(f"注意：{'、'.join(FLAGS.get(flag, _plain(flag)) for flag in message.flags)}")
    lines.append(f"**{message.todo.zh}**（复核期限 {_minute(message.review_due_at)}）")
    lines.append(f"{message.title.en}. {message.todo.en}. Review due {_minute(message.review_due_at)}.")
    return lines


class _RobotAnswer(msgspec.Struct, frozen=True):
    errcode: int


def _webhook(target: Target, due: Due, now: float) -> Outgoing:
    timestamp = str(int(now))
    headers = {
        "Content-Type": "application/json",
        "Surgate-Id": str(due.seq),
        "Surgate-Event": f"override.{due.event}",
        "Surgate-Timestamp": timestamp,
    }
    if target.secret:
        headers["Surgate-Signature"] = signature(target.secret, timestamp, due.message)
    return Outgoing(target.url, headers, due.message)


def _wecom(target: Target, due: Due, _now: float) -> Outgoing:
    text = "\n".join(markdown(_message(due))).encode()[:MAX_WECOM_BYTES].decode(errors="ignore")
    return _robot(target.url, {"msgtype": "markdown", "markdown": {"content": text}})


def _dingtalk(target: Target, due: Due, now: float) -> Outgoing:
    message = _message(due)
    text = "\n\n".join(markdown(message))  # a single line break is none in its markdown
    url = target.url
    if target.secret:
        timestamp = str(int(now * 1000))
        digest = hmac.new(target.secret.encode(), f"{timestamp}\n{target.secret}".encode(), hashlib.sha256).digest()
        url = str(httpx.URL(url).copy_merge_params({"timestamp": timestamp, "sign": base64.b64encode(digest).decode()}))
    return _robot(url, {"msgtype": "markdown", "markdown": {"title": message.title.zh, "text": text}})


_FORMATS: Mapping[str, Callable[[Target, Due, float], Outgoing]] = {"webhook": _webhook, "wecom": _wecom, "dingtalk": _dingtalk}

KINDS = tuple(_FORMATS)


def _robot(url: str, content: Any) -> Outgoing:
    return Outgoing(url, {"Content-Type": "application/json"}, msgspec.json.encode(content))


def _message(due: Due) -> Message:
    return msgspec.json.decode(due.message, type=Message)


def _person(one: Person) -> str:
    return f"{_plain(one.name)}（{_plain(one.staff)}）" if one.name else _plain(one.staff)


def _procedure(one: Procedure) -> str:
    return f"{_plain(one.name)} {_plain(one.code)}".strip()


def _listed(texts: list[str]) -> str:
    more = f"等{len(texts)}项" if len(texts) > MAX_NAMED else ""
    return "、".join(texts[:MAX_NAMED]) + more


def _minute(instant: str) -> str:
    return instant[:16].replace("T", " ")


def _plain(text: str) -> str:
    shown = text.translate(_MARKUP)
    return shown if len(shown) <= MAX_VALUE_CHARS else shown[: MAX_VALUE_CHARS - 1] + "…"

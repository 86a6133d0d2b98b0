from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from alert_builders import FIXTURES
from hypothesis import example, given, settings
from hypothesis import strategies as st

from alerts.formats import Reading, parse
from alerts.formats.lists import LISTS, Row
from alerts.formats.wis2 import Notification, read_notification
from alerts.model import Alert, AlertError, CodeScheme, Colour, MsgType, Severity, Urgency

NOW = datetime(2026, 7, 15, tzinfo=UTC)
LISTED = FIXTURES / "lists"
ANSWERS: dict[str, list[bytes]] = {
    "nmc": [(LISTED / "nmc.json").read_bytes()],
    "12379": [(LISTED / "12379.json").read_bytes()],
    "weathercn": [(LISTED / "weathercn.json").read_bytes()],
    "qweather": [(LISTED / "qweather.json").read_bytes()],
    "caiyun": [(LISTED / "caiyun-v26.json").read_bytes(), (LISTED / "caiyun-v3.json").read_bytes()],
    "wolfx": [(LISTED / "wolfx-jma.json").read_bytes()],
    "fanstudio": [(LISTED / "fan-all.json").read_bytes()],
    "icl": [(LISTED / "icl.json").read_bytes()],
}
FILES = [(name, answer) for name, answers in ANSWERS.items() for answer in answers]
DETAILS = {
    "nmc": (LISTED / "nmc-page.html").read_bytes(),
    "weathercn": (LISTED / "weathercn-detail.js").read_bytes(),
}
ROWS = [(name, row.body) for name, answer in FILES for row in LISTS[name].split(answer)] + [
    ("nmc", LISTS["nmc"].with_detail(LISTS["nmc"].split(ANSWERS["nmc"][0])[0], DETAILS["nmc"])),  # type: ignore[misc]
    ("weathercn", DETAILS["weathercn"]),
]
ODD = st.sampled_from(
    [
        "9999", "无", "", " ", "-1", "1e999", "NaN", "\x00", "\ud800", "\u202e", "<b>", "&lt;&amp;", "红色",
        "解除", "2026-07-15 06:12:00", "1784067120", "62302341600000_20260715061500",
        "9" * 400, 10**400, 1e308, -0.0,
        [[[[104, 33]]]], [[["x"]]], {"code": {"code": {}}}, True, None, [], {},
    ]
)  # fmt: skip
JSON = st.recursive(
    st.one_of(ODD, st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=40)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=12), inner, max_size=4)
    ),
    max_leaves=8,
)


def outcome(name: str, body: bytes) -> Alert | AlertError:
    try:
        return parse(body, Reading(CodeScheme.MCA, format=name), now=NOW)
    except AlertError as error:
        return error


def rows_or_error(name: str, answer: bytes) -> list[Row] | AlertError:
    try:
        return LISTS[name].split(answer)
    except AlertError as error:
        return error


def announced(body: bytes) -> Notification | AlertError:
    try:
        return read_notification(body)
    except AlertError as error:
        return error


def paths(value: Any) -> list[tuple[Any, ...]]:
    """Every place in a JSON value."""
    found: list[tuple[Any, ...]] = [()]
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        found += [(key, *rest) for rest in paths(item)]
    return found


def put(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = put(copy[path[0]], path[1:], new)
    return copy


def unscript(body: bytes) -> Any:
    return json.loads(body.decode().removeprefix("var alarminfo=").rstrip().removesuffix(";"))


@given(st.sampled_from(ROWS), st.data())
@settings(max_examples=150, deadline=None)
def test_any_json_in_any_field_of_a_row_is_an_alert_or_an_alert_error(
    given_row: tuple[str, bytes], data: st.DataObject
) -> None:
    name, body = given_row
    value = unscript(body)
    for _ in range(data.draw(st.integers(1, 3))):
        path = data.draw(st.sampled_from(paths(value)))
        value = put(value, path, data.draw(JSON))
    found = outcome(name, json.dumps(value).encode())
    assert isinstance(found, Alert | AlertError)
    if isinstance(found, Alert):
        repr(found).encode()  # no half characters, whatever came
        assert found.infos
        assert found.identifier
        assert found.sent.tzinfo is not None
    else:
        assert found.where
        assert found.why


@given(st.sampled_from(FILES), st.data())
@settings(max_examples=80, deadline=None)
def test_any_json_in_any_field_of_an_answer_gives_rows_or_an_alert_error(
    file: tuple[str, bytes], data: st.DataObject
) -> None:
    name, answer = file
    value = json.loads(answer)
    path = data.draw(st.sampled_from(paths(value)))
    found = rows_or_error(name, json.dumps(put(value, path, data.draw(JSON))).encode())
    for row in found if isinstance(found, list) else ():
        assert row.key
        assert isinstance(outcome(name, row.body), Alert | AlertError)
        if (gone := LISTS[name].gone) is not None:
            ended = outcome(name, gone(row.body))
            assert isinstance(ended, AlertError) or ended.msg_type is MsgType.CANCEL


@pytest.mark.parametrize("name", sorted(ANSWERS))
@given(body=st.binary(max_size=200))
@example(body=b'{"a":"\\ud800"}')
@example(body=b"\xef\xbb\xbf{}")
@example(body=b'"text"')
@settings(max_examples=20, deadline=None)
def test_any_bytes_are_read_or_refused(name: str, body: bytes) -> None:
    assert isinstance(rows_or_error(name, body), list | AlertError)
    assert isinstance(outcome(name, body), Alert | AlertError)


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_any_detail_makes_a_document_or_an_alert_error(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(DETAILS)))
    detail = bytearray(DETAILS[name])
    for _ in range(data.draw(st.integers(0, 4))):
        at = data.draw(st.integers(0, len(detail) - 1))
        detail[at : at + data.draw(st.integers(0, 60))] = data.draw(st.binary(max_size=12))
    source = LISTS[name]
    assert source.with_detail is not None
    try:
        body = source.with_detail(source.split(ANSWERS[name][0])[0], bytes(detail))
    except AlertError:
        return
    assert isinstance(outcome(name, body), Alert | AlertError)


LADDER = (None, Colour.BLUE, Colour.YELLOW, Colour.ORANGE, Colour.RED)
ZH = {Colour.RED: "红色", Colour.ORANGE: "橙色", Colour.YELLOW: "黄色", Colour.BLUE: "蓝色", None: ""}
SEVERITIES = (Severity.UNKNOWN, Severity.MINOR, Severity.MODERATE, Severity.SEVERE, Severity.EXTREME)
URGENCIES = (Urgency.UNKNOWN, Urgency.FUTURE, Urgency.EXPECTED, Urgency.IMMEDIATE)
TEXTS = st.sampled_from(["", "预计未来2小时有雨", "24小时内可能有雨", "已出现雷雨", "请注意防范"])


def at_level(name: str, colour: Colour | None, kind: str, text: str) -> Alert:
    """The same warning at a level, as each source writes it."""
    rank = colour.rank if colour else 0
    title = f"舟曲县气象台发布{kind}{ZH[colour]}预警信号"
    identifier = "62302341600000_20260715061500"
    value: Any = {
        "nmc": {
            "alertid": identifier,
            "issuetime": "2026/07/15 06:12",
            "title": title,
            "pic": f"p0002{rank:03d}.png",
            "issuecontent": text,
        },
        "12379": {"identifier": identifier, "headline": title, "description": text, "alarmlevel": rank or ""},
        "weathercn": {
            "identifier": identifier,
            "head": title,
            "ISSUECONTENT": text,
            "LEVELCODE": f"{5 - rank:02d}" if rank else "",
            "ISSUETIME": "2026-07-15 06:12:00",
        },
        "caiyun": {
            "alertId": identifier,
            "title": title,
            "description": text,
            "code": f"02{5 - rank:02d}" if rank else "",
            "pubtimestamp": 1784067120,
        },
        "qweather": {
            "id": "1",
            "headline": title,
            "description": text,
            "issuedTime": "2026-07-15T06:12+08:00",
            "eventType": {"code": "1003", "name": kind},
            "color": {"code": colour.value} if colour else None,
        },
        "fanstudio": {
            "source": "weatheralarm",
            "Data": {
                "id": "623023-20260715061200-11B03" + (f"{5 - rank:02d}" if rank else ""),
                "headline": title,
                "description": text,
                "effective": "2026-07-15 06:12:00",
                "type": f"11B03_{colour.value if colour else ''}",
            },
        },
    }[name]
    return parse(json.dumps(value).encode(), Reading(format=name), now=NOW)


@pytest.mark.parametrize("name", ["nmc", "12379", "weathercn", "caiyun", "qweather", "fanstudio"])
@given(kind=st.sampled_from(["暴雨", "雷电", "台风", "某种"]), text=TEXTS)
@settings(max_examples=8, deadline=None)
def test_severity_rises_and_urgency_never_falls_with_the_colour(name: str, kind: str, text: str) -> None:
    alerts = [at_level(name, colour, kind, text) for colour in LADDER]
    assert tuple(alert.main.colour for alert in alerts) == LADDER
    assert tuple(alert.main.severity for alert in alerts) == SEVERITIES
    urgencies = [URGENCIES.index(alert.main.urgency) for alert in alerts]
    assert urgencies == sorted(urgencies)


@given(st.binary(max_size=300))
@settings(max_examples=50, deadline=None)
def test_any_bytes_are_a_notification_or_an_alert_error(body: bytes) -> None:
    assert isinstance(announced(body), Notification | AlertError)


@given(st.data())
@settings(max_examples=80, deadline=None)
def test_any_json_in_any_field_of_a_notification_is_read_or_refused(data: st.DataObject) -> None:
    value: Any = {
        "id": "a",
        "type": "Feature",
        "properties": {
            "data_id": "d",
            "pubtime": "2026-07-15T06:15:00Z",
            "integrity": {"method": "sha512", "value": "eA=="},
            "content": {"encoding": "gzip", "value": "eA==", "size": 1},
        },
        "links": [{"href": "https://example.org/x", "rel": "canonical", "length": 1}],
    }
    value = put(value, data.draw(st.sampled_from(paths(value))), data.draw(JSON))
    assert isinstance(announced(json.dumps(value).encode()), Notification | AlertError)

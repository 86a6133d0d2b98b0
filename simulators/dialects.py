"""How each source writes what it tells: a message of the story → the bytes of that source. Pure.

Shapes: `feeds.md` §2 and the captured payloads; every word of a text is the scenario's or ours.
"""

from __future__ import annotations

import base64
import hashlib
import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any, Final
from urllib.parse import quote
from xml.sax.saxutils import escape

from alerts.model import Colour, MsgType
from simulators.story import BEIJING, Issue, Moment, Report, Source

CAP: Final = "urn:oasis:names:tc:emergency:cap:1.2"
MAX_INLINE: Final = 4_096
"""Bytes of content inside a WIS2 notification (`feeds.md` §4.5)."""
CANCEL_LISTED: Final = 3_600.0
"""Seconds that QWeather lists a cancellation (`feeds.md` §2.7)."""
TOPIC: Final = "cache/a/wis2/cn-cma/data/core/weather/advisories-warnings"

_ZH: Final = {Colour.RED: "红色", Colour.ORANGE: "橙色", Colour.YELLOW: "黄色", Colour.BLUE: "蓝色"}
_LEVEL: Final = {Colour.RED: "I", Colour.ORANGE: "II", Colour.YELLOW: "III", Colour.BLUE: "IV"}
_GRADE: Final = {
    Colour.RED: "特别严重",
    Colour.ORANGE: "严重",
    Colour.YELLOW: "较重",
    Colour.BLUE: "一般",
}
_SEVERITY: Final = {
    Colour.RED: "Extreme",
    Colour.ORANGE: "Severe",
    Colour.YELLOW: "Moderate",
    Colour.BLUE: "Minor",
}
# The public lists number types and levels in ways of their own (`feeds.md` §2.4, §2.6, §2.7).
_NMC_TYPE: Final = {
    "rainstorm": "0002",
    "heat": "0003",
    "cold_wave": "0004",
    "fog": "0005",
    "gale": "0007",
    "road_ice": "0011",
    "lightning": "0012",
    "thunder_gust": "0015",
    "geological": "0021",
    "flash_flood": "0024",
    "thunderstorm_gale": "0042",
}
_WEATHERCN_TYPE: Final = {
    "typhoon": "01",
    "rainstorm": "02",
    "snowstorm": "03",
    "cold_wave": "04",
    "gale": "05",
    "sandstorm": "06",
    "heat": "07",
    "drought": "08",
    "lightning": "09",
    "hail": "10",
    "frost": "11",
    "fog": "12",
    "haze": "13",
    "road_ice": "14",
}


@dataclass(frozen=True, slots=True)
class Item:
    """One message as one source has it."""

    at: float
    """Story seconds at which it is there."""
    until: float | None
    """When a list of what is in force drops it."""
    key: str
    body: bytes
    """The document, the row or the message."""
    detail: bytes = b""
    """What the row's own page says, where the source has one."""
    of: Issue | Report | None = None
    """None for a recorded document."""


def tell(kind: Source, message: Issue | Report, *, form: str = "") -> Item | None:
    """What a source of this kind makes of a message; None if it does not tell of such. `form`: ``cap`` or
    ``national``, for folders and inboxes."""
    if isinstance(message, Report):
        write = {Source.ICL: icl_row, Source.WOLFX: wolfx_message, Source.FAN: fan_quake}.get(kind)
        if write is None:
            return None
        return Item(message.at, None, f"{message.event}-{message.number}", _json(write(message)), of=message)
    if kind in (Source.ICL, Source.WOLFX):
        return None
    ends, cancel = message.until, message.msg_type is MsgType.CANCEL
    body, detail = b"", b""
    match kind:
        case Source.CAP_ATOM | Source.CAP_RSS | Source.WIS2:
            # A CAP index keeps what it has said; SWIC lists issues and lifts alike.
            body, ends = cap(message), None
        case Source.NMC if not cancel:
            body, detail = _json(nmc_row(message)), nmc_detail(message)
        case Source.CN12379:
            body, ends = (
                _json(row_12379(message)),
                message.until if not cancel else message.at + CANCEL_LISTED,
            )
        case Source.WEATHERCN if not cancel:
            body, detail = _json(weathercn_row(message)), weathercn_detail(message)
        case Source.QWEATHER:
            body, ends = (
                _json(qweather_row(message)),
                message.until if not cancel else message.at + CANCEL_LISTED,
            )
        case Source.CAIYUN if not cancel:
            body = _json(caiyun_row(message))
        case Source.FAN if not cancel:
            body = _json(fan_weather(message))
        case Source.FOLDER | Source.INBOX:
            body = cap(message) if form == "cap" else national(message)
    return Item(message.at, ends, message.identifier, body, detail, message) if body else None


# --- texts -----------------------------------------------------------------------------------------------


def headline(issue: Issue) -> str:
    verb = {MsgType.CANCEL: "解除", MsgType.UPDATE: "继续发布"}.get(issue.msg_type, "发布")
    colour = _ZH.get(issue.colour, "") if issue.colour else ""
    return f"{issue.issuer}{verb}{issue.hazard.zh}{colour}预警"


def text(issue: Issue) -> str:
    local = issue.sent.astimezone(BEIJING)
    when = f"{local:%Y}年{local:%m}月{local:%d}日{local:%H}时{local:%M}分"
    said = headline(issue).removeprefix(issue.issuer)
    grade = f"[{_LEVEL[issue.colour]}级/{_GRADE[issue.colour]}]" if issue.colour else ""
    return (
        f"{issue.issuer}{when}{said}{grade}：{issue.text}"
        if issue.text
        else f"{issue.issuer}{when}{said}{grade}"
    )


def _english(issue: Issue) -> str:
    verb = {MsgType.CANCEL: "lifts", MsgType.UPDATE: "updates"}.get(issue.msg_type, "issues")
    colour = f"{issue.colour} " if issue.colour else ""
    return f"Meteorological Observatory of {issue.codes[0]} {verb} {colour}warning for {issue.hazard.en}"


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()


def _local(moment: datetime, form: str = "%Y-%m-%d %H:%M:%S") -> str:
    return moment.astimezone(BEIJING).strftime(form)


def _iso(moment: datetime) -> str:
    return moment.astimezone(BEIJING).replace(microsecond=0).isoformat()


def _severity(issue: Issue) -> str:
    return _SEVERITY[issue.colour] if issue.colour else "Unknown"


# --- documents -------------------------------------------------------------------------------------------


def cap(issue: Issue) -> bytes:
    """CAP 1.2 as the Chinese Meteorological Administration gives it to the WMO: two infos, the area by code
    alone."""
    codes = "".join(
        f"<geocode><valueName>CPEAS Geographic Code</valueName><value>{code.ljust(12, '0')}</value></geocode>"
        for code in issue.codes
    )
    references = ""
    if issue.previous is not None:
        before = issue.previous
        references = f"<references>{_sender(before)},{before.identifier},{_iso(before.sent)}</references>"
    infos = ""
    for language, event, head, said, action in (
        ("en-US", issue.hazard.en, _english(issue), _english(issue), ""),
        ("zh-CN", issue.hazard.zh, headline(issue), text(issue), issue.action),
    ):
        ends = f"<expires>{_iso(issue.expires)}</expires>" if issue.expires else ""
        instruction = f"<instruction>{escape(action)}</instruction>" if action else ""
        response = "<responseType>AllClear</responseType>" if issue.msg_type is MsgType.CANCEL else ""
        infos += (
            f"<info><language>{language}</language><category>Met</category><event>{escape(event)}</event>"
            f"{response}<urgency>{'Past' if issue.msg_type is MsgType.CANCEL else 'Unknown'}</urgency>"
            f"<severity>{_severity(issue)}</severity><certainty>Unknown</certainty>"
            f"<effective>{_iso(issue.sent)}</effective>{ends}<senderName>{escape(issue.issuer)}</senderName>"
            f"<headline>{escape(head)}</headline><description>{escape(said)}</description>{instruction}"
            f"<area><areaDesc>{escape(issue.place)}</areaDesc>{codes}</area></info>"
        )
    return (
        f'<?xml version="1.0" encoding="UTF-8"?><alert xmlns="{CAP}"><identifier>{issue.identifier}'
        f"</identifier><sender>{_sender(issue)}</sender><sent>{_iso(issue.sent)}</sent>"
        f"<status>{issue.status}</status><msgType>{issue.msg_type}</msgType><scope>Public</scope>"
        f"{references}{infos}</alert>"
    ).encode()


def _sender(issue: Issue) -> str:
    return f"Meteorological_Observatory_of_{issue.codes[0]}"


def national(issue: Issue) -> bytes:
    """国突 XML (`feeds.md` §2.3): no namespace, colour as severity, codes in one element, the first message
    as reference."""
    colour = issue.colour.value.capitalize() if issue.colour else "Unknown"
    stamp = f"{_local(issue.sent)}+08:00"
    expires = f"{_local(issue.expires)}+08:00" if issue.expires else ""
    names = ",".join([issue.place] * len(issue.codes))
    codes = ",".join(code.ljust(12, "0") for code in issue.codes)
    speaker = f"{headline(issue)}{text(issue)}"
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<alert><identifier>{issue.identifier}</identifier>'
        f"<sender>{escape(issue.issuer)}</sender><senderCode>{issue.identifier[:14]}</senderCode>"
        f"<sendTime>{stamp}</sendTime><status>{issue.status}</status><msgType>{issue.msg_type}</msgType>"
        "<scope>Public</scope><code><method><methodName>SPEAKER</methodName>"
        f"<message>{escape(speaker)}</message><audienceGrp>,</audienceGrp><audenceprt>,</audenceprt></method>"
        "</code><secClassification>None</secClassification><note/>"
        f"<references>{issue.first if issue.previous else ''}</references>"
        f"<info><language>zh-CN</language><eventType>{issue.hazard.code}</eventType>"
        f"<urgency>Unknown</urgency><severity>{colour}</severity><certainty>Unknown</certainty>"
        f"<effective>{stamp}</effective><onset/><expires>{expires}</expires><senderName/>"
        f"<headline>{escape(headline(issue))}</headline><description>{escape(text(issue))}</description>"
        f"<instruction>{escape(issue.action)}</instruction><web/>"
        f"<area><areaDesc>{escape(names)}</areaDesc><polygon/><circle/><geocode>{codes}</geocode></area>"
        "</info></alert>"
    ).encode()


# --- rows ------------------------------------------------------------------------------------------------


def nmc_row(issue: Issue) -> dict[str, str]:
    rank = issue.colour.rank if issue.colour else 0
    kind = _NMC_TYPE.get(issue.hazard.key, "0000")
    # NMC's title always says 发布, also of a renewal.
    said = headline(issue).replace("继续发布", "发布").removeprefix(issue.issuer)
    return {
        "alertid": issue.identifier,
        "issuetime": _local(issue.sent, "%Y/%m/%d %H:%M"),
        "title": f"{issue.place}气象台{said}信号",
        "url": f"/publish/alarm/{issue.identifier}.html",
        "pic": f"https://image.nmc.cn/assets/img/alarm/p{kind}{rank:03d}.png",
    }


def nmc_detail(issue: Issue) -> bytes:
    title = escape(nmc_row(issue)["title"]).replace("发布", "<font>发布</font>")
    return (
        f'<html><head><meta charset="utf-8"></head><body><div id="title">{title}</div>'
        f'<div id="pubtime">发布日期：{_local(issue.sent, "%Y年%m月%d日%H时%M分")}</div>'
        f'<div id="alarmtext"><p>{escape(text(issue))}</p></div>'
        f'<div id="alarmtext"><p>{escape(issue.action)}</p></div></body></html>'
    ).encode()


def row_12379(issue: Issue) -> dict[str, str]:
    grade = f"/{_LEVEL[issue.colour]}/{_GRADE[issue.colour]}" if issue.colour else ""
    return {
        "description": text(issue),
        "headline": headline(issue) + grade,
        "identifier": issue.identifier,
        "sendTime": _local(issue.sent),
    }


def _weathercn_file(issue: Issue) -> str:
    kind = _WEATHERCN_TYPE.get(issue.hazard.key, "91")
    level = 5 - issue.colour.rank if issue.colour else 5
    return f"{issue.codes[0][:6]}-{_local(issue.sent, '%Y%m%d%H%M%S')}-{kind}{level:02d}.html"


def weathercn_row(issue: Issue) -> list[Any]:
    title = headline(issue).replace("继续发布", "发布").removeprefix(issue.issuer)
    return [
        issue.place,
        _weathercn_file(issue),
        "104.37",
        "33.78",
        issue.identifier,
        issue.first,
        f"{issue.place}{title}信号",
        {"coordinates": []},
    ]


def weathercn_detail(issue: Issue) -> bytes:
    said = {
        "head": headline(issue),
        "ALERTID": issue.identifier,
        "PROVINCE": "",
        "CITY": issue.place,
        "STATIONNAME": issue.place,
        "SIGNALTYPE": issue.hazard.zh,
        "SIGNALLEVEL": _ZH.get(issue.colour, "") if issue.colour else "",
        "TYPECODE": _WEATHERCN_TYPE.get(issue.hazard.key, "91"),
        "LEVELCODE": f"{5 - issue.colour.rank if issue.colour else 5:02d}",
        "ISSUETIME": _local(issue.sent),
        "RELIEVETIME": _local(issue.expires) if issue.expires else "",
        "ISSUECONTENT": f"{text(issue)}（预警信息来源：国家预警信息发布中心）",
        "UNDERWRITER": issue.issuer,
        "EFFECT": issue.codes[0][:6],
        "msgType": issue.msg_type.value,
        "identifier": issue.identifier,
        "references": issue.first,
    }
    return b"var alarminfo=" + _json(said) + b";"


def _qweather_id(issue: Issue) -> str:
    """A time and a number that no other source knows."""
    number = int(hashlib.sha256(issue.identifier.encode()).hexdigest(), 16) % 10**10
    return f"{_local(issue.sent, '%Y%m%d%H%M')}{number:010d}"


def qweather_row(issue: Issue) -> dict[str, Any]:
    cancel = issue.msg_type is MsgType.CANCEL
    national_code = issue.hazard.code
    code = f"10{national_code[3:]}" if national_code.startswith("11B") else "9999"
    minute = "%Y-%m-%dT%H:%M+08:00"
    previous = [_qweather_id(issue.previous)] if issue.previous else []
    return {
        "id": _qweather_id(issue),
        "senderName": issue.issuer,
        "issuedTime": _local(issue.sent, minute),
        "messageType": {"code": issue.msg_type.value.lower(), "supersedes": previous},
        "eventType": {"name": issue.hazard.zh, "code": code},
        "urgency": None,
        "severity": _severity(issue).lower(),
        "certainty": None,
        "icon": code,
        "color": {"code": issue.colour.value, "red": 0, "green": 0, "blue": 0, "alpha": 1}
        if issue.colour
        else None,
        "effectiveTime": _local(issue.sent, minute),
        "onsetTime": None if cancel else _local(issue.sent, minute),
        "expireTime": _local(issue.expires or issue.sent, minute),
        "headline": headline(issue),
        "description": text(issue),
        "criteria": "",
        "responseTypes": [],
        "instruction": issue.action,
    }


def caiyun_row(issue: Issue) -> dict[str, Any]:
    level = 5 - issue.colour.rank if issue.colour else 0
    grade = f"[{_LEVEL[issue.colour]}/{_GRADE[issue.colour]}]" if issue.colour else ""
    return {
        "province": "",
        "status": "预警中",
        "code": f"{_WEATHERCN_TYPE.get(issue.hazard.key, '00')}{level:02d}",
        "description": text(issue),
        "regionId": issue.codes[0][:6],
        "county": "无",
        "pubtimestamp": int(issue.sent.timestamp()),
        "latlon": [33.78, 104.37],
        "city": issue.place,
        "alertId": issue.identifier,
        "title": headline(issue).replace("继续发布", "发布") + grade,
        "adcode": issue.codes[0][:6],
        "source": "国家预警信息发布中心",
        "location": issue.place,
        "request_status": "ok",
    }


def icl_row(report: Report) -> dict[str, Any]:
    row: dict[str, Any] = {
        "eventId": int(report.event.replace(".", "")),
        "updates": report.number,
        "latitude": report.lat,
        "longitude": report.lon,
        "epicenter": report.place,
        "startAt": int(report.origin.timestamp() * 1000),
        "updateAt": int(report.reported.timestamp() * 1000),
        "magnitude": report.magnitude,
        "sations": 6,
    }
    return row | ({"depth": report.depth} if report.depth is not None else {})


# --- messages of sockets ---------------------------------------------------------------------------------


def wolfx_message(report: Report) -> dict[str, Any]:
    return {
        "type": "cenc_eew",
        "ID": hashlib.sha256(f"{report.event}{report.number}".encode()).hexdigest()[:13],
        "EventID": report.event,
        "ReportTime": _local(report.reported),
        "ReportNum": report.number,
        "OriginTime": _local(report.origin),
        "HypoCenter": report.place,
        "Latitude": report.lat,
        "Longitude": report.lon,
        "Magnitude": report.magnitude,
        "Depth": report.depth,
        "MaxIntensity": report.intensity,
    }


def fan_quake(report: Report) -> dict[str, Any]:
    said = {
        "id": hashlib.sha256(f"{report.event}{report.number}".encode()).hexdigest()[:13],
        "eventId": report.event,
        "shockTime": _local(report.origin),
        "longitude": report.lon,
        "latitude": report.lat,
        "placeName": report.place,
        "magnitude": report.magnitude,
        "epiIntensity": report.intensity,
        "depth": report.depth,
        "updates": report.number,
    }
    return {"type": "update", "source": "cea", **_fan(said)}


def fan_weather(issue: Issue) -> dict[str, Any]:
    code = issue.hazard.code or "99999"
    level = 5 - issue.colour.rank if issue.colour else 5
    colour = issue.colour.value if issue.colour else "white"
    said = {
        "id": f"{issue.codes[0][:6]}-{_local(issue.sent, '%Y%m%d%H%M%S')}-{code}{level:02d}",
        "headline": f"{headline(issue)}信号",
        "effective": _local(issue.sent),
        "description": text(issue),
        "longitude": 104.37,
        "latitude": 33.78,
        "type": f"{code}_{colour}",
        "title": f"{headline(issue)}信号",
    }
    return {"type": "update", "source": "weatheralarm", **_fan(said)}


def _fan(said: dict[str, Any]) -> dict[str, Any]:
    return {"Data": said, "md5": hashlib.md5(_json(said), usedforsecurity=False).hexdigest()}


def fan_initial(message: bytes) -> bytes:
    """A message that was sent before, as it is sent again to who has just connected. A broken one stays."""
    try:
        return _json({**json.loads(message), "type": "initial"})
    except ValueError:
        return message


def heartbeat(kind: Source, at: datetime) -> bytes:
    stamp = int(at.timestamp() * 1000)
    return _json({"type": "heartbeat", "ver": "18" if kind is Source.WOLFX else "1.1.0", "timestamp": stamp})


def pong(at: datetime) -> bytes:
    return _json({"type": "pong", "timestamp": int(at.timestamp() * 1000)})


def notification(item: Item, address: str, at: datetime) -> bytes:
    """The WIS2 notification of a CAP document (`feeds.md` §4.5); `address` is where the document lies."""
    digest = base64.b64encode(hashlib.sha512(item.body).digest()).decode()
    issue = item.of if isinstance(item.of, Issue) else None
    relation = "update" if issue and issue.msg_type is MsgType.UPDATE else "canonical"
    stamp = at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    properties: dict[str, Any] = {
        "data_id": f"wis2/cn-cma/data/core/weather/advisories-warnings/{item.key}",
        "pubtime": stamp,
        "datetime": stamp,
        "integrity": {"method": "sha512", "value": digest},
        "global-cache": "cn-cma-global-broker",
    }
    if len(item.body) <= MAX_INLINE:
        properties["content"] = {"encoding": "utf-8", "value": item.body.decode(), "size": len(item.body)}
    return _json(
        {
            "id": str(uuid.uuid5(uuid.NAMESPACE_URL, f"{address}#{item.key}")),
            "conformsTo": ["http://wis.wmo.int/spec/wnm/1/conf/core"],
            "type": "Feature",
            "geometry": None,
            "properties": properties,
            "links": [
                {
                    "href": address,
                    "rel": relation,
                    "type": "application/cap+xml",
                    "length": len(item.body),
                }
            ],
        }
    )


# --- lists -----------------------------------------------------------------------------------------------


def page(kind: Source, items: Sequence[Item], moment: Moment) -> tuple[bytes, str]:
    """The answer that lists `items`, newest first, and its content type. The same items: the same bytes."""
    newest = list(reversed(items))
    match kind:
        case Source.CAP_ATOM:
            return _atom(newest, moment), "application/atom+xml; charset=utf-8"
        case Source.CAP_RSS:
            return _rss(newest, moment), "application/rss+xml; charset=utf-8"
        case Source.NMC:
            rows = _rows(newest)
            paging = {"pageNo": 1, "pageSize": 300, "count": len(rows), "prev": 1, "next": 1, "totalPage": 1}
            data = {"page": {**paging, "list": rows}, "provinceAlarms": [], "stat": {}}
            return _json({"msg": "success", "code": 0, "data": data}), "application/json"
        case Source.CN12379:
            return _json({"alertData": _rows(newest)}), "text/html; charset=utf-8"
        case Source.WEATHERCN:
            rows = _rows(newest)
            result = {"count": str(len(rows)), "data": rows}
            return _json({"status": "success", "errMsg": "", "result": result}), "application/json"
        case Source.QWEATHER:
            tag = hashlib.sha256(b"".join(item.body for item in newest)).hexdigest()
            metadata = {"tag": tag, "zeroResult": not newest, "attributions": []}
            return _json({"metadata": metadata, "alerts": _rows(newest)}), "application/json"
        case Source.CAIYUN:
            alert = {"status": "ok", "content": _rows(newest), "adcodes": []}
            said = {"status": "ok", "api_version": "v2.6", "result": {"alert": alert}}
            return _json(said), "application/json"
        case Source.ICL:
            return _json({"code": 0, "message": "", "data": _rows(newest)}), "application/json"
        case _:
            raise ValueError(f"{kind} has no list")


def _rows(items: Sequence[Item]) -> list[Any]:
    return [json.loads(item.body) for item in items]


def _entry(item: Item, moment: Moment) -> tuple[str, datetime, str, str]:
    """Title, time, event and place of an entry."""
    if isinstance(item.of, Issue):
        return _english(item.of), item.of.sent, item.of.hazard.en, item.of.place
    return item.key, moment(item.at), "", ""


def _atom(items: Sequence[Item], moment: Moment) -> bytes:
    entries = ""
    newest = _iso(moment(items[0].at if items else 0.0))
    for item in items:
        title, sent, _, _ = _entry(item, moment)
        entries += (
            f"<entry><title>{escape(title)}</title><id>urn:sim:{escape(item.key)}</id>"
            f'<updated>{_iso(sent)}</updated><link rel="alternate" type="application/cap+xml" '
            f'href="/cap/{quote(item.key)}.xml"/></entry>'
        )
    return (
        '<?xml version="1.0" encoding="UTF-8"?><feed xmlns="http://www.w3.org/2005/Atom">'
        f"<title>warnings</title><id>urn:sim:index</id><updated>{newest}</updated>{entries}</feed>"
    ).encode()


def _rss(items: Sequence[Item], moment: Moment) -> bytes:
    entries = ""
    for item in items:
        title, sent, event, place = _entry(item, moment)
        ends = item.of.expires if isinstance(item.of, Issue) else None
        expires = f"<cap:expires>{_iso(ends)}</cap:expires>" if ends else ""
        entries += (
            f"<item><title>{escape(title)}</title><link>/cap/{quote(item.key)}.xml</link>"
            f'<guid isPermaLink="false">{escape(item.key)}</guid>'
            f"<pubDate>{format_datetime(sent)}</pubDate><cap:event>{escape(event)}</cap:event>{expires}"
            f"<cap:areaDesc>{escape(place)}</cap:areaDesc></item>"
        )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>'
        '<rss version="2.0" xmlns:cap="urn:oasis:names:tc:emergency:cap:1.1"><channel>'
        f"<title>cn-cma-xx</title><copyright>public domain</copyright>{entries}</channel></rss>"
    ).encode()

"""What the simulated sources write is what the readers read: two hands, one format."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from alerts import hazards
from alerts.formats import Reading, parse
from alerts.formats.lists import LISTS
from alerts.formats.wis2 import read_notification, verify
from alerts.model import Alert, CodeScheme, Colour, MsgType, RegionCode, Status
from simulators import dialects
from simulators.story import BEIJING, Issue, Report, Source

SENT = datetime(2026, 7, 15, 6, 15, tzinfo=BEIJING)
NAMES = {
    Source.NMC: "nmc",
    Source.CN12379: "12379",
    Source.WEATHERCN: "weathercn",
    Source.QWEATHER: "qweather",
    Source.CAIYUN: "caiyun",
    Source.FAN: "fanstudio",
    Source.ICL: "icl",
    Source.WOLFX: "wolfx",
}
NATIONAL = (Source.NMC, Source.CN12379, Source.WEATHERCN, Source.CAIYUN)
WEATHER = (*NATIONAL, Source.QWEATHER, Source.FAN)


def issue(msg_type: MsgType, colour: Colour, previous: Issue | None = None) -> Issue:
    sent = SENT if previous is None else previous.sent + timedelta(hours=1)
    identifier = f"62302341600000_{sent:%Y%m%d%H%M%S}"
    return Issue(
        at=0.0,
        until=None,
        identifier=identifier,
        first=previous.first if previous else identifier,
        previous=previous,
        msg_type=msg_type,
        status=Status.ACTUAL,
        codes=("623023",),
        place="舟曲县",
        issuer="舟曲县气象台",
        hazard=hazards.by_key("rainstorm"),
        colour=colour,
        text="预计未来3小时我县降雨量将达100毫米以上，请注意防范。",
        action="转移危险地带人员。",
        sent=sent,
        expires=sent + timedelta(hours=6),
    )


FIRST = issue(MsgType.ALERT, Colour.ORANGE)
SECOND = issue(MsgType.UPDATE, Colour.RED, FIRST)
LAST = issue(MsgType.CANCEL, Colour.RED, SECOND)


def through(source: Source, message: Issue | Report) -> Alert | None:
    """`message` as the source tells it and as we then read it; None where the source tells nothing."""
    item = dialects.tell(source, message)
    if item is None:
        return None
    name = NAMES[source]
    if source in (Source.FAN, Source.WOLFX):
        body = item.body
    else:
        body, _ = dialects.page(source, [item], lambda at: SENT + timedelta(seconds=at))
    (row,) = LISTS[name].split(body)
    with_detail = LISTS[name].with_detail
    document = with_detail(row, item.detail) if with_detail and item.detail else row.body
    return parse(document, Reading(CodeScheme.MCA, format=name), now=datetime(2026, 7, 15, tzinfo=UTC))


@pytest.mark.parametrize("source", WEATHER)
@pytest.mark.parametrize("message", [FIRST, SECOND, LAST], ids=["first", "update", "cancel"])
def test_a_warning_comes_out_as_it_went_in(source: Source, message: Issue) -> None:
    alert = through(source, message)
    if alert is None:
        assert message is LAST  # lists that only drop what has ended
        return
    info = alert.main
    assert (alert.msg_type, info.colour, info.hazard) == (message.msg_type, message.colour, "rainstorm")
    assert alert.sent == message.sent
    assert alert.damage == ()
    if source in NATIONAL:
        assert alert.identifier == message.identifier
    if source is not Source.QWEATHER:
        assert info.areas[0].codes == (RegionCode(CodeScheme.MCA, "623023"),)
    if source in (Source.WEATHERCN, Source.QWEATHER) and message is FIRST:
        assert info.expires == message.expires


@pytest.mark.parametrize("source", [Source.ICL, Source.WOLFX, Source.FAN])
def test_an_earthquake_comes_out_as_it_went_in(source: Source) -> None:
    report = Report(
        at=8.0,
        event="202607150615.0001",
        number=2,
        final=False,
        origin=SENT,
        reported=SENT + timedelta(seconds=8),
        lat=33.8,
        lon=104.4,
        magnitude=6.1,
        place="甘肃甘南州舟曲县",
        depth=12.0,
        intensity=8.0,
    )
    alert = through(source, report)
    assert alert is not None
    quake = alert.main.quake
    assert quake is not None
    assert (quake.origin, quake.lat, quake.lon, quake.magnitude) == (SENT, 33.8, 104.4, 6.1)
    assert (quake.depth_km, quake.report, quake.place) == (12.0, 2, report.place)
    assert alert.sent == (SENT if source is Source.FAN else report.reported)


def test_a_notification_of_the_simulated_broker_is_verified_and_read() -> None:
    item = dialects.tell(Source.WIS2, FIRST)
    assert item is not None
    body = dialects.notification(item, "http://127.0.0.1:8000/cap/x.xml", SENT)
    found = read_notification(body)
    verify(found, item.body)
    assert found.content in (None, item.body)
    assert json.loads(body)["id"] == found.id
    assert parse(item.body, now=SENT).identifier == FIRST.identifier

"""An earthquake at the desk: who is shaken decides where no area is named, and what the county configured."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from alerts.feed import Document, Outcome
from alerts.formats import Reading
from alerts.model import Area, CodeScheme, RegionCode
from config.load import ConfigError, load
from controller.desk import Closed, Held, Refused, Released
from support.county import CONFIG, a_county
from support.quakes import SEISMIC, positioned, report, taken


async def test_an_earthquake_sounds_where_it_is_felt_and_says_why(tmp_path: Path) -> None:
    async with a_county(tmp_path, config=SEISMIC) as county:
        positioned(county)
        result = await taken(county, report(6.0))
        assert isinstance(result, Released)
        heard = await county.ended(result.broadcast)
        # 青藏区, M6: intensity 5 to 84 km, so the seats at 0, 20, 40, 60 and 80 km.
        names = [t.name for t in county.register.county.townships]
        assert heard == county.in_township(*names[:5])
        plan = county.desk.judging.judge(report(6.0), (), datetime.now(UTC)).plan
        assert plan is not None
        assert any(f"0 km from {names[0]}, intensity" in line for line in plan.why)
        assert any("township seat" in line for line in plan.why)


async def test_the_bytes_of_a_network_sound_by_intensity(tmp_path: Path) -> None:
    async with a_county(tmp_path, config=SEISMIC) as county:
        positioned(county)
        now = datetime.now(UTC)
        report = {
            "eventId": 4711, "updates": 1, "latitude": 33.784, "longitude": 104.363, "depth": 10,
            "epicenter": "甘肃甘南州舟曲县", "magnitude": 6.0, "sourceType": 1, "epiIntensity": 9,
            "startAt": int((now - timedelta(seconds=8)).timestamp() * 1000),
            "updateAt": int(now.timestamp() * 1000),
        }  # fmt: skip

        async def done(outcome: Outcome, reason: str) -> None: ...

        document = Document("bureau", "icl", json.dumps(report).encode(), now, done)
        taken = await county.intake.accept(document, Reading(format="icl"))
        assert taken.broadcast is not None, taken.reason
        heard = await county.ended(taken.broadcast)
        names = [t.name for t in county.register.county.townships]
        assert heard == county.in_township(*names[:7])  # to 128 km: raised by the network's own intensity 9

        report |= {"eventId": 4712, "startAt": report["startAt"] - 3_600_000}
        old = Document("bureau", "icl", json.dumps(report).encode(), now, done)
        replayed = await county.intake.accept(old, Reading(format="icl"))
        assert replayed.broadcast is None


async def test_a_later_report_says_how_the_area_changed(tmp_path: Path) -> None:
    async with a_county(tmp_path, config=SEISMIC) as county:
        positioned(county)
        assert isinstance(await taken(county, report(5.0)), Released)
        judged = county.desk.judging.judge(
            report(6.0, number=2), await county.desk.events.known(), datetime.now(UTC)
        )
        assert judged.plan is not None
        assert any("villages more and 0 fewer" in line for line in judged.plan.why)


async def test_an_earthquake_that_has_passed_is_no_warning_whoever_approves_it(tmp_path: Path) -> None:
    async with a_county(tmp_path, config=SEISMIC) as county:
        positioned(county)
        fresh = report(6.5)
        quake = fresh.infos[0].quake
        assert quake is not None
        past = replace(quake, origin=quake.origin - timedelta(seconds=240))
        held = await taken(county, replace(fresh, infos=(replace(fresh.infos[0], quake=past),)))
        assert isinstance(held, Held)
        assert "has passed every village" in held.reason
        done = await county.desk.approve(held.alert, "李值班")
        assert isinstance(done, Refused)
        assert "expired" in done.reasons[0]
        assert not county.heard_anything


async def test_below_the_countys_floor_or_threshold_nothing_sounds(tmp_path: Path) -> None:
    async with a_county(tmp_path, config=SEISMIC) as county:
        positioned(county)
        small = await taken(county, report(4.4))
        far = await taken(county, replace(report(5.0, km_north=-300), identifier="other"))
        assert isinstance(small, Closed)
        assert "M4.4, below the county's floor of M4.5" in small.reason
        assert isinstance(far, Closed)
        assert "below the county's threshold of 5.0" in far.reason
        assert not county.heard_anything


async def test_an_area_that_does_not_fit_the_magnitude_is_held(tmp_path: Path) -> None:
    async with a_county(tmp_path, config=SEISMIC) as county:
        positioned(county)
        whole = Area("舟曲县", codes=(RegionCode(CodeScheme.MCA, "623023"),))
        held = await taken(county, report(3.0, km_north=-300, areas=(whole,)))
        assert isinstance(held, Held)
        assert "nobody would feel it" in held.reason
        great = await taken(county, replace(report(7.8, km_north=-50, areas=(whole,)), identifier="b"))
        assert isinstance(great, Released)


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("earthquake: {threshold: 0}", "threshold"),
        ("earthquake: {zone: west}", "zone"),
        ("earthquake: {magnitude_floor: 11}", "magnitude_floor"),
    ],
)
def test_a_wrong_earthquake_option_is_refused_with_its_name(tmp_path: Path, line: str, wrong: str) -> None:
    (tmp_path / "inbox").mkdir(mode=0o700)
    (tmp_path / "mirror").mkdir(mode=0o700)
    file = tmp_path / "county.yaml"
    file.write_text(CONFIG + line + "\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=wrong):
        load(file)

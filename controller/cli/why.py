"""``fenghuo why TERMINAL --alert ID``: the rule, code, edge or radius that put a terminal in or out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from controller.cli import say
from controller.cli.call import Call
from controller.cli.outcome import Code
from controller.cli.words import told, w


def explain(call: Call, terminal: str, alert: str) -> Code:
    """DONE whether it is in or out: the question was answered."""
    found = call.client.get(f"/v1/alerts/{alert}/why/{terminal}")
    reasons = [because(one) for one in found["because"]]
    if call.json:
        say.data_json({**found, "words": reasons})
        return Code.DONE
    state = w(f"a_{found['state']}")
    where = f"{found['township']}{found['village']}"
    stands = ""
    if found["basis"]:
        place = "" if found["lat"] is None else f" ({found['lat']:.5f}, {found['lon']:.5f})"
        stands = told(found["basis"]) + place
    call.fields(
        found,
        {
            w("c_terminal"): f"{found['terminal']} {found['name']} · {where}",
            w("c_alert"): f"{found['alert']} · {state}",
            w("y_stands"): stands,
            w("y_now"): w("y_in") if found["inside"] else w("y_out"),
            w("y_why"): reasons,
            w("y_then"): w(f"y_then_{found['then']}") + _changed(found),
        },
    )
    return Code.DONE


def because(one: Mapping[str, Any]) -> str:
    """One reason in words; distances in the unit that is read at a glance."""
    values = dict(one["values"])
    if "km" in values:
        km = float(values["km"])
        values["km"] = w("metres", m=f"{km * 1000:.0f}") if km < 1 else w("kilometres", km=f"{km:.1f}")
    if "shape" in values:
        kind, _, number = str(values["shape"]).rpartition(" ")
        values["shape"] = f"{told(kind)} {number}"
    if "area" in values:
        values["area"] = told(str(values["area"]))
    if "intensity" in values:
        values["intensity"] = f"{float(values['intensity']):.1f}"
    return w(f"because_{one['kind']}", **values)


def _changed(found: Mapping[str, Any]) -> str:
    """What is different from then, in words; a terminal that came later is the usual case."""
    if found["then"] == "no_plan" or found["inside"] == (found["then"] == "in"):
        return ""
    return " " + (w("y_came_later") if found["inside"] else w("y_left_since"))

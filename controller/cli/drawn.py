"""What an operator draws: circles typed as LAT,LON,KM, polygons in a GeoJSON file; as the API takes them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from controller.cli.outcome import Code, Failure
from controller.cli.words import w

MAX_FILE: Final = 2_000_000
"""Bytes; a polygon of 20,000 corners has less than half of that."""
# RFC 7946 §4 knows WGS-84 only; older files name it, or CGCS2000, which is the same here.
_KNOWN_CRS: Final = ("CRS84", "EPSG::4326", "EPSG:4326", "EPSG::4490", "EPSG:4490")


def circle(text: str) -> dict[str, float]:
    """``33.78,104.36,5`` → the API's circle. Raises Failure (usage)."""
    parts = text.replace("，", ",").split(",")
    try:
        lat, lon, km = (float(part) for part in parts)
    except ValueError:
        raise Failure(Code.USAGE, w("circle_form", given=text)) from None
    if not (abs(lat) <= 90 and abs(lon) <= 180):
        raise Failure(Code.USAGE, w("circle_nowhere", given=text))
    if not 0 <= km <= 2_000:
        raise Failure(Code.USAGE, w("circle_size", given=text))
    return {"lat": lat, "lon": lon, "km": km}


def polygons(file: Path) -> list[dict[str, Any]]:
    """Every polygon of a GeoJSON file (RFC 7946: longitude first) as the API's polygons, latitude first.

    Raises Failure (usage) for a file that cannot be read, (refused) for one that holds anything but polygons:
    what is left out would not be warned.
    """
    try:
        with file.open("rb") as stream:
            body = stream.read(MAX_FILE + 1)
    except OSError as error:
        raise Failure(Code.USAGE, w("file_unreadable", file=file, why=error.strerror)) from None
    if len(body) > MAX_FILE:
        raise Failure(Code.REFUSED, w("file_too_large", file=file, limit=f"{MAX_FILE:,}"))
    try:
        found = json.loads(body.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise Failure(Code.REFUSED, w("geojson_not", file=file, why=error)) from None
    crs = _crs(found)
    if crs and not crs.endswith(_KNOWN_CRS):
        raise Failure(Code.REFUSED, w("geojson_crs", file=file, crs=crs))
    shapes = [_polygon(file, rings) for rings in _rings(file, found)]
    if not shapes:
        raise Failure(Code.REFUSED, w("geojson_empty", file=file))
    return shapes


def _crs(found: Any) -> str:
    """Name of the file's coordinate system, empty where it says nothing."""
    crs = found.get("crs") if isinstance(found, dict) else None
    properties = crs.get("properties") if isinstance(crs, dict) else None
    return str(properties.get("name", "")) if isinstance(properties, dict) else ""


def _rings(file: Path, thing: Any) -> Iterator[Any]:
    kind = thing.get("type") if isinstance(thing, dict) else None
    match kind:
        case "FeatureCollection":
            for feature in _list(file, thing.get("features")):
                yield from _rings(file, feature)
        case "Feature":
            yield from _rings(file, thing.get("geometry"))
        case "MultiPolygon":
            yield from _list(file, thing.get("coordinates"))
        case "Polygon":
            yield thing.get("coordinates")
        case _:
            raise Failure(Code.REFUSED, w("geojson_kind", file=file, kind=kind))


def _polygon(file: Path, rings: Any) -> dict[str, Any]:
    turned = [[_point(file, point) for point in _list(file, ring)] for ring in _list(file, rings)]
    if not turned:
        raise Failure(Code.REFUSED, w("geojson_empty", file=file))
    return {"outer": turned[0], "holes": turned[1:]}


def _point(file: Path, point: Any) -> tuple[float, float]:
    match point:
        case [int() | float() as lon, int() | float() as lat, *_]:
            return float(lat), float(lon)
        case _:
            raise Failure(Code.REFUSED, w("geojson_not", file=file, why=f"{str(point)[:40]}: no lon, lat"))


def _list(file: Path, value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise Failure(Code.REFUSED, w("geojson_not", file=file, why=f"{str(value)[:40]}: no list"))
    return value

"""A small map of a plan: the county, its townships, the warning's shapes, who is in and who is silent.

`draw` decides where everything is, in pixels; `svg` and `png` only put it on paper. Drawn by us from the
county pack and marked 示意: it shows no legal boundary and is for the desk, not for the public (`geo.md` §6).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Final
from xml.sax.saxutils import escape, quoteattr

import numpy as np
import shapely
from shapely import LineString, MultiPolygon, Polygon
from shapely.affinity import translate
from shapely.geometry.base import BaseGeometry

from alerts.area import Basis, Cut, Ground
from alerts.regions import County
from alerts.shapes import EARTH_KM, Shape, ShapeError, Strip
from terminals.fleet import Fleet

if TYPE_CHECKING:
    from PIL import Image, ImageFont

WIDTH: Final = 1000
_TALLEST: Final = 1300
_TOP: Final = 46
_FOOT: Final = 92
_MARGIN: Final = 24
_FONTS: Final = (
    "NotoSansCJK*", "NotoSansSC*", "NotoSerifCJK*", "SourceHanSans*", "wqy-*", "DroidSansFallback*",
    "simhei*", "simsun*", "msyh*", "uming*", "ukai*", "PingFang*",
)  # fmt: skip
_FONT_FOLDERS: Final = ("/usr/share/fonts", "/usr/local/share/fonts", "/Library/Fonts", "C:/Windows/Fonts")
_FAMILY: Final = "'Noto Sans CJK SC','Source Han Sans SC','Microsoft YaHei','PingFang SC',sans-serif"
_SOURCE: Final = (
    "示意图，非法定界线，内部使用 · 底图：县数据包（来源见包内 SOURCES.md）；乡镇驻地含 GeoNames (CC BY 4.0)"
)
_SOURCE_ASCII: Final = (
    "Schematic, not legal boundaries, internal use. Base: county pack; GeoNames (CC BY 4.0)"
)

Pixel = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Style:
    """Colours as #rrggbb, empty for none; `opacity` is the fill's."""

    fill: str = ""
    opacity: float = 1.0
    stroke: str = ""
    width: float = 1.0
    dashed: bool = False


@dataclass(frozen=True, slots=True)
class Area:
    """Rings that are filled even-odd."""

    rings: tuple[tuple[Pixel, ...], ...]
    style: Style


@dataclass(frozen=True, slots=True)
class Track:
    points: tuple[Pixel, ...]
    style: Style


@dataclass(frozen=True, slots=True)
class Dot:
    at: Pixel
    radius: float
    style: Style


@dataclass(frozen=True, slots=True)
class Text:
    at: Pixel
    """Left end of the base line; its middle where `middle`."""
    text: str
    size: int
    colour: str = "#222222"
    bold: bool = False
    middle: bool = False
    plain: str = ""
    """What is written where no font has Chinese; without it, nothing is."""


Item = Area | Track | Dot | Text


@dataclass(frozen=True, slots=True)
class Drawing:
    width: int
    height: int
    items: tuple[Item, ...]


_HOME: Final = Style("#f4f1e8", 1.0, "#7a7466", 2)
_SHAPE: Final = Style("#d7301f", 0.18, "#d7301f", 2)
_TAKEN_AWAY: Final = Style("#ffffff", 0.75, "#555555", 1.5, dashed=True)
_IN: Final = Style("#d7301f", 1.0, "#ffffff", 1)
_SILENT: Final = Style("#ffd400", 1.0, "#d7301f", 2)
_OUT: Final = Style("#ffffff", 1.0, "#6b7a85", 1.2)
_TERMINAL_IN: Final = Style("#7f0000")
_TERMINAL_OUT: Final = Style("#9fb0bb")
_SEAT: Final = Style("#222222")


class _Sheet:
    """Degrees → pixels, true to scale at the county's middle."""

    def __init__(self, bounds: tuple[float, float, float, float]) -> None:
        west, south, east, north = bounds
        self.flat = np.cos(np.radians((south + north) / 2))
        wide, high = max((east - west) * self.flat, 1e-3), max(north - south, 1e-3)
        usable = WIDTH - 2 * _MARGIN
        self.scale = min(usable / wide, (_TALLEST - _TOP - _FOOT) / high)
        self.left = _MARGIN + (usable - wide * self.scale) / 2
        self.west, self.north = west, north
        self.height = int(_TOP + high * self.scale + _FOOT + 2 * _MARGIN)
        self.km = self.scale * np.degrees(1 / EARTH_KM)
        """Pixels in a kilometre."""

    def at(self, lat: float, lon: float) -> Pixel:
        x = self.left + (lon - self.west) * self.flat * self.scale
        return float(x), float(_TOP + _MARGIN + (self.north - lat) * self.scale)

    def ring(self, coordinates: Iterable[Sequence[float]]) -> tuple[Pixel, ...]:
        return tuple(self.at(point[1], point[0]) for point in coordinates)

    def area(self, surface: BaseGeometry, style: Style) -> Area:
        rings = []
        for part in shapely.get_parts(surface):
            if isinstance(part, Polygon):
                rings += [self.ring(part.exterior.coords), *(self.ring(r.coords) for r in part.interiors)]
        return Area(tuple(rings), style)


def draw(
    title: str, area: Cut, county: County, fleet: Fleet, targeted: Set[str], villages: Set[str]
) -> Drawing | None:
    """The map of who hears it. `targeted`: ids of terminals; `villages`: keys of all villages that are meant.
    None for a county of which no place is known."""
    ground = area.target.ground if area.target is not None else _ground(county, fleet)
    bounds = _bounds(ground)
    if bounds is None:
        return None
    sheet = _Sheet(bounds)
    items: list[Item] = []
    if ground.boundary is not None:
        items.append(sheet.area(ground.boundary, _HOME))
    if area.target is not None:
        paper = _paper(bounds)
        for rule in area.target.rules:
            for shape in rule.shapes:
                items += _shape(shape, _SHAPE, sheet, paper)
            for hole in rule.excluded:
                items += _shape(hole, _TAKEN_AWAY, sheet, paper)
    silent = villages - {t.village for t in fleet if t.id in targeted}
    items += _places(ground, fleet, sheet, targeted, villages, silent)
    items += _labels(ground, sheet, villages)
    items += _frame(sheet, title, len(villages), len(targeted), len(silent))
    return Drawing(WIDTH, sheet.height, tuple(items))


def _ground(county: County, fleet: Fleet) -> Ground:
    try:
        return Ground.of(county, fleet.positions)
    except ShapeError:  # `alerts.area.cut` says so where it matters; a map without an outline is still one
        return Ground.of(replace(county, boundary=()), fleet.positions)


def _bounds(ground: Ground) -> tuple[float, float, float, float] | None:
    """(west, south, east, north) of the county and a little round it."""
    known = ground.points.known
    seats = [unit.position for unit in ground.county.townships if unit.position is not None]
    lats = [*ground.points.lat[known].tolist(), *(p[0] for p in seats)]
    lons = [*ground.points.lon[known].tolist(), *(p[1] for p in seats)]
    if ground.boundary is not None:
        west, south, east, north = ground.boundary.bounds
        lats, lons = [south, north], [west, east]
    if not lats:
        return None
    high, wide = 0.04 * (max(lats) - min(lats)) + 0.01, 0.04 * (max(lons) - min(lons)) + 0.01
    return min(lons) - wide, min(lats) - high, max(lons) + wide, max(lats) + high


def _paper(bounds: tuple[float, float, float, float]) -> Polygon:
    """What is drawn at all, in degrees: the sheet and a little more, so that cut edges lie outside it."""
    west, south, east, north = bounds
    return shapely.box(west - 0.3, south - 0.3, east + 0.3, north + 0.3)


def _shape(shape: Shape, style: Style, sheet: _Sheet, paper: Polygon) -> Iterator[Item]:
    outline = shape.outline
    if outline is None:
        return
    for turn in (0.0, -360.0, 360.0):
        moved = translate(outline, turn)
        if isinstance(shape, Strip):
            inside = shapely.intersection(moved, paper.buffer(1.0))
            for part in shapely.get_parts(inside):
                if isinstance(part, LineString) and not part.is_empty:
                    path = sheet.ring(part.coords)
                    band = LineString(path).buffer(shape.buffer_km * sheet.km)
                    yield _flat(band, style)
                    yield Track(path, Style(stroke=style.stroke, width=style.width))
            continue
        inside = shapely.intersection(moved, paper)
        if not inside.is_empty:
            yield sheet.area(inside, style)


def _flat(surface: Polygon | MultiPolygon, style: Style) -> Area:
    """A surface that is in pixels already."""
    rings = []
    for part in shapely.get_parts(surface):
        for ring in (part.exterior, *part.interiors):
            rings.append(tuple((float(x), float(y)) for x, y in ring.coords))
    return Area(tuple(rings), style)


def _places(
    ground: Ground, fleet: Fleet, sheet: _Sheet, targeted: Set[str], villages: Set[str], silent: Set[str]
) -> Iterator[Item]:
    """Villages where they are measured, terminals where they stand."""
    for row, terminal in enumerate(fleet.terminals):
        if fleet.points.known[row]:
            at = sheet.at(float(fleet.points.lat[row]), float(fleet.points.lon[row]))
            yield Dot(at, 2.0, _TERMINAL_IN if terminal.id in targeted else _TERMINAL_OUT)
    order = {False: 0, True: 1}
    rows = sorted(range(len(ground.row)), key=lambda n: order[ground.county.villages[n].key in villages])
    for row in rows:
        key, basis = ground.county.villages[row].key, ground.basis[row]
        if basis in (Basis.SEAT, Basis.NOWHERE):
            continue  # many at one point; the label of the township counts them
        at = sheet.at(float(ground.points.lat[row]), float(ground.points.lon[row]))
        if key in silent:
            yield Dot(at, 5.5, _SILENT)
        elif key in villages:
            yield Dot(at, 4.5, _IN)
        else:
            yield Dot(at, 3.5, _OUT)


def _labels(ground: Ground, sheet: _Sheet, villages: Set[str]) -> Iterator[Item]:
    """The seat of each township with its name, and how many of its villages are in."""
    county = ground.county
    taken: list[Polygon] = []
    total = Counter(village.township_key for village in county.villages)
    inside = Counter(village.township_key for village in county.villages if village.key in villages)
    for unit in county.townships:
        if unit.position is None:
            continue
        x, y = sheet.at(*unit.position)
        yield Area((((x, y - 6), (x + 5.5, y + 4), (x - 5.5, y + 4), (x, y - 6)),), _SEAT)
        colour = "#a50f15" if inside[unit.key] else "#333333"
        name = f"{unit.name} {inside[unit.key]}/{total[unit.key]}"
        half = _length(name) / 2
        spots = [(x, y + 20), (x, y - 10), (x + half + 9, y + 5), (x - half - 9, y + 5), (x, y + 36)]
        boxes = [shapely.box(a - half, b - 14, a + half, b + 3) for a, b in spots]
        free = (n for n, box in enumerate(boxes) if not any(box.intersects(other) for other in taken))
        best = next(free, 0)
        taken.append(boxes[best])
        yield Text(spots[best], name, 14, colour, bold=bool(inside[unit.key]), middle=True)


def _length(words: str) -> float:
    """Of words in 14 pixels, about."""
    return sum(14.5 if ord(c) > 255 else 8 for c in words)


def _frame(sheet: _Sheet, title: str, villages: int, terminals: int, silent: int) -> Iterator[Item]:
    """Title, legend, scale and source."""
    for top, bottom in ((0, _TOP), (sheet.height - _FOOT, sheet.height)):
        yield Area((((0, top), (WIDTH, top), (WIDTH, bottom), (0, bottom), (0, top)),), Style("#ffffff"))
    yield Text((_MARGIN, 32), title, 20, "#000000", bold=True)
    y = sheet.height - _FOOT + 22
    x = float(_MARGIN)
    for style, radius, words, plain in (
        (_IN, 4.5, f"播发的村 {villages - silent}", f"villages {villages - silent}"),
        (_SILENT, 5.5, f"播发但无终端的村 {silent}", f"no loudspeaker {silent}"),
        (_OUT, 3.5, "不播发的村", "not warned"),
        (_TERMINAL_IN, 2.5, f"播发的终端 {terminals}", f"terminals {terminals}"),
        (_TERMINAL_OUT, 2.5, "其他终端", "others"),
    ):
        yield Dot((x + 6, y - 5), radius, style)
        yield Text((x + 18, y), words, 14, plain=plain)
        x += 46 + _length(words)
    yield Area((((x + 6, y - 11), (x + 11, y - 1), (x + 1, y - 1), (x + 6, y - 11)),), _SEAT)
    yield Text((x + 18, y), "乡镇驻地 播发/全部村", 14, plain="seats of townships")
    yield from _scale(sheet, y + 26)
    yield Text((_MARGIN, sheet.height - 14), _SOURCE, 12, "#555555", plain=_SOURCE_ASCII)


def _scale(sheet: _Sheet, y: float) -> Iterator[Item]:
    """A bar of a round number of kilometres, at most a quarter of the sheet."""
    most = WIDTH / 4 / sheet.km
    ten = 10.0 ** np.floor(np.log10(most))
    km = float(next(n * ten for n in (5, 2, 1) if n * ten <= most))
    left, right = float(_MARGIN), _MARGIN + km * sheet.km
    for points in (((left, y), (right, y)), ((left, y - 5), (left, y + 5)), ((right, y - 5), (right, y + 5))):
        yield Track(points, Style(stroke="#222222", width=2))
    yield Text((right + 8, y + 5), f"{km:g} km", 14)


# --- on paper ------------------------------------------------------------------------------------------


def svg(drawing: Drawing) -> bytes:
    """The drawing as SVG 1.1, without scripts or anything from outside."""
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{drawing.width}" height="{drawing.height}" '
        f'viewBox="0 0 {drawing.width} {drawing.height}" font-family="{_FAMILY}">',
        f'<rect width="{drawing.width}" height="{drawing.height}" fill="#ffffff"/>',
        *(_svg(item) for item in drawing.items),
        "</svg>",
    ]
    return "\n".join(lines).encode()


def _svg(item: Item) -> str:
    match item:
        case Area(rings, style):
            path = "".join("M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in ring) + "Z" for ring in rings)
            return f'<path d="{path}" fill-rule="evenodd"{_style(style)}/>'
        case Track(points, style):
            path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
            return f'<path d="{path}"{_style(style)}/>'
        case Dot((x, y), radius, style):
            return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:g}"{_style(style)}/>'
        case Text((x, y), text, size, colour, bold, middle):
            extra = (' font-weight="bold"' if bold else "") + (' text-anchor="middle"' if middle else "")
            halo = ' paint-order="stroke" stroke="#ffffff" stroke-width="3"' if middle else ""
            place = f'x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill={quoteattr(colour)}'
            return f"<text {place}{extra}{halo}>{escape(_printable(text))}</text>"


def _style(style: Style) -> str:
    fill = f' fill="{style.fill}"' if style.fill else ' fill="none"'
    if style.fill and style.opacity < 1:
        fill += f' fill-opacity="{style.opacity:g}"'
    if style.stroke:
        fill += f' stroke="{style.stroke}" stroke-width="{style.width:g}"'
    return fill + (' stroke-dasharray="6 4"' if style.dashed else "")


def _printable(text: str) -> str:
    """What XML may hold."""
    return "".join(c for c in text if c.isprintable())


def cjk_font() -> Path | None:
    """A font file of this machine that has Chinese characters, or None."""
    for folder in map(Path, _FONT_FOLDERS):
        if folder.is_dir():
            for pattern in _FONTS:
                for suffix in (".ttc", ".ttf", ".otf"):
                    for found in sorted(folder.rglob(pattern + suffix)):
                        return found
    return None


def png(drawing: Drawing, font: Path | None) -> bytes:
    """The drawing as PNG. Without a Chinese `font` names are left out and the legend is English."""
    from PIL import Image

    twice = 2  # drawn at twice the size and made smaller, because Pillow does not smooth edges
    size = (drawing.width * twice, drawing.height * twice)
    image = Image.new("RGBA", size, "#ffffff")
    for item in drawing.items:
        if not isinstance(item, Text):
            _paint(image, item, twice)
    image = image.resize((drawing.width, drawing.height), Image.Resampling.LANCZOS)
    _write(image, [item for item in drawing.items if isinstance(item, Text)], font)
    out = BytesIO()
    image.convert("RGB").save(out, "PNG", optimize=False)
    return out.getvalue()


def _paint(image: Image.Image, item: Area | Track | Dot, twice: int) -> None:
    from PIL import ImageDraw

    style = item.style
    pen = ImageDraw.Draw(image)
    width = max(1, round(style.width * twice))
    if isinstance(item, Dot):
        (x, y), r = item.at, item.radius
        box = [(x - r) * twice, (y - r) * twice, (x + r) * twice, (y + r) * twice]
        pen.ellipse(box, fill=style.fill or None, outline=style.stroke or None, width=width)
        return
    if isinstance(item, Track):
        pen.line([(x * twice, y * twice) for x, y in item.points], fill=style.stroke, width=width)
        return
    rings = [[(x * twice, y * twice) for x, y in ring] for ring in item.rings if len(ring) > 2]
    if style.fill and len(rings) == 1 and style.opacity == 1:
        pen.polygon(rings[0], fill=style.fill)
    elif style.fill and rings:
        _shade(image, rings, style)
    if style.stroke:
        for ring in rings:
            pen.line(ring, fill=style.stroke, width=width, joint="curve")


def _shade(image: Image.Image, rings: Sequence[Sequence[Pixel]], style: Style) -> None:
    """Fills even-odd: what lies in two rings is outside."""
    from PIL import Image, ImageChops, ImageDraw

    xs, ys = [x for ring in rings for x, _ in ring], [y for ring in rings for _, y in ring]
    left, top = max(0, int(min(xs))), max(0, int(min(ys)))
    size = (min(image.width, int(max(xs)) + 1) - left, min(image.height, int(max(ys)) + 1) - top)
    if min(size) <= 0:
        return
    mask = Image.new("1", size, 0)
    for ring in rings:
        one = Image.new("1", size, 0)
        ImageDraw.Draw(one).polygon([(x - left, y - top) for x, y in ring], fill=1)
        mask = ImageChops.logical_xor(mask, one)
    shade = mask.convert("L").point([0] * 255 + [round(255 * style.opacity)])
    image.paste(Image.new("RGBA", size, style.fill), (left, top), shade)


def _write(image: Image.Image, texts: Sequence[Text], font: Path | None) -> None:
    from PIL import ImageDraw, ImageFont

    pen = ImageDraw.Draw(image)
    for text in texts:
        words = text.text
        face: ImageFont.FreeTypeFont | ImageFont.ImageFont
        if font is not None:
            face = ImageFont.truetype(str(font), text.size)
        else:
            words = text.plain or text.text
            if not words.isascii():
                continue
            face = ImageFont.load_default(text.size)
        anchor = "ms" if text.middle else "ls"
        halo = {"stroke_width": 2, "stroke_fill": "#ffffff"} if text.middle else {}
        pen.text(text.at, words, fill=text.colour, font=face, anchor=anchor, **halo)  # type: ignore[arg-type]

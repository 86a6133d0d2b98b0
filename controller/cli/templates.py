"""``fenghuo tts templates`` and ``tts sheet``: what each language can say, and the sheet on which its
speakers write the rest."""

from __future__ import annotations

import csv
import html
import io
import json as js
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from importlib import resources
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Final

from controller.cli import say
from controller.cli.call import table
from controller.cli.call import write as save
from controller.cli.outcome import Code, Failure
from controller.cli.words import w
from tts import templates
from tts.phrases import LANGUAGES, MANDARIN, Line, Phrasebook, Status, faults, language, slots_of
from tts.script import ScriptError, Templates

if TYPE_CHECKING:
    from config.schema import Config

MAX_SHEET: Final = 16 << 20
_COLUMNS: Final = 7
_OK: Final = frozenset({"x", "v", "y", "ok", "1", "✓", "√", "✔", "是", "对", "好", "确认", "同意"})


@dataclass(frozen=True, slots=True)
class _County:
    """What a county adds to the lines: its names, and where its own words are written."""

    folders: tuple[Path, ...] = ()
    own: Path | None = None
    names: tuple[str, ...] = ()


def show(tag: str | None, config: Config | None, *, as_json: bool) -> Code:
    """How far each language is, or each line of one."""
    county = _county(config)
    if tag is None:
        rows = []
        for one, found in _all(county).items():
            count = Counter(line.status.value for _, _, line in _lines(found, county.names))
            rows.append({"language": one, "name": _name(one)} | {s.value: count[s] for s in Status})
        columns = {w("c_language"): "language", w("c_name"): "name"}
        table(rows, columns | {w(f"line_{s}"): s.value for s in reversed(Status)}, as_json=as_json)
        return Code.DONE
    rows = [
        {
            "status": line.status.value,
            "for": what,
            "zh": zh,
            "text": line.text,
            "by": line.by,
            "on": str(line.on or ""),
        }
        for zh, what, line in _lines(_load(tag, county), county.names)
    ]
    columns = {
        w("c_line"): "status",
        w("lines_for"): "for",
        w("lines_zh"): "zh",
        w("lines_text"): "text",
        w("c_approved"): "by",
        w("c_on"): "on",
    }
    if not as_json:
        rows = [{**row, "status": w(f"line_{row['status']}")} for row in rows]
    table(rows, columns, as_json=as_json)
    return Code.DONE


def write(tag: str, file: Path, config: Config | None, *, every: bool, as_json: bool) -> Code:
    """A sheet with the lines of `tag` that are missing or drafts; with `every`, all of them."""
    county = _county(config)
    rows = [
        (what, zh, line)
        for zh, what, line in _lines(_load(tag, county), county.names)
        if every or line.status.rank < Status.REVIEWED.rank
    ]
    kind = file.suffix.lower()
    if kind not in (".csv", ".html"):
        raise Failure(Code.USAGE, w("lines_kind", file=file))
    cells = [_row(what, zh, line) for what, zh, line in rows if line.status is not Status.STALE]
    save(file, _csv(cells) if kind == ".csv" else _html(tag, cells))
    if as_json:
        say.data_json({"file": str(file), "language": tag, "lines": len(cells)})
    else:
        say.data(str(file))
        say.talk(w("lines_written", count=len(cells), language=_name(tag)))
    return Code.DONE


def take(
    tag: str, file: Path, config: Config, *, by: str, status: Status, today: date, as_json: bool
) -> Code:
    """Writes the lines of a filled sheet into the county's own file. All or nothing: one fault and nothing is
    written. A draft that was not touched counts only where it was marked."""
    county = _county(config)
    if county.own is None:
        raise Failure(Code.CONFIG, w("lines_no_folder"))
    if not 1 <= len(by.strip()) <= 80 or not by.isprintable():
        raise Failure(Code.USAGE, w("bad_name"))
    found = _load(tag, county)
    known = {zh: line for zh, _, line in _lines(found, county.names) if line.status is not Status.STALE}
    taken: dict[str, Line] = {}
    problems: list[str] = []
    for number, zh, text, marked, note in _filled(file):
        before = known.get(zh)
        if before is None:
            problems.append(w("lines_unknown", line=number, zh=zh))
            continue
        if not text or (text == before.text and not marked):
            continue
        if zh in taken:
            problems.append(w("lines_twice", line=number, zh=zh))
        problems += [w("lines_fault", line=number, zh=zh, why=why) for why in faults(zh, text, tag)]
        taken[zh] = Line(text, status, by.strip(), today, note)
    if problems:
        raise Failure(Code.REFUSED, *problems, w("lines_nothing_written"))
    if not taken:
        raise Failure(Code.FAILED, w("lines_empty", file=file))
    try:
        old = templates.own(county.own, tag) or Phrasebook(tag, "", {})
        lines = {**old.lines, **taken}
        book = Phrasebook(tag, f"{today}.{len(lines)}", lines)
        target = templates.keep(county.own, book)
    except ScriptError as error:
        raise Failure(Code.CONFIG, *str(error).splitlines()) from None
    except OSError as error:
        raise Failure(Code.FAILED, w("cannot_write", file=county.own, why=error.strerror)) from None
    if as_json:
        about = {"file": str(target), "language": tag, "status": status.value, "lines": len(taken)}
        say.data_json(about | {"all": len(book.lines)})
    else:
        say.data(str(target))
        say.talk(w("lines_taken", count=len(taken), language=_name(tag), status=w(f"line_{status}")))
    return Code.DONE


def _county(config: Config | None) -> _County:
    if config is None:
        return _County()
    from config.counties import PackError, load_county, shipped, template_folders

    try:
        folders = template_folders(config.county, config.templates)
        pack = load_county(config.county)
    except PackError as error:
        raise Failure(Code.CONFIG, *str(error).splitlines()) from None
    own = config.templates or (None if config.county in shipped() else folders[0])
    places = [t.name for t in pack.county.townships] + [v.name for v in pack.county.villages]
    return _County(folders, own, tuple(dict.fromkeys([config.issuer.name, pack.county.name, *places])))


def _load(tag: str, county: _County) -> Templates:
    try:
        return templates.load(tag, county.folders)
    except ScriptError as error:
        raise Failure(Code.CONFIG, *str(error).splitlines()) from None


def _all(county: _County) -> dict[str, Templates]:
    try:
        return templates.load_all(county.folders)
    except ScriptError as error:
        raise Failure(Code.CONFIG, *str(error).splitlines()) from None


def _lines(found: Templates, names: tuple[str, ...]) -> Iterator[tuple[str, str, Line]]:
    """(Mandarin, what for, as it stands), what is needed most first; then what no template has any more."""
    needed = found.lines()
    for zh, what in needed.items():
        yield zh, what, found.standing(zh)
    if found.language != MANDARIN:
        for name in names:
            if name not in needed:
                yield name, "name", found.standing(name)
    for zh, line in found.book.lines.items():
        if zh not in needed and zh not in names and names:
            yield zh, "", Line(line.text, Status.STALE, line.by, line.on, line.note)


def _name(tag: str) -> str:
    known = LANGUAGES.get(tag)
    return tag if known is None else f"{known.zh} {known.en}"


_EXAMPLE: Final[Mapping[str, str]] = {
    "places": "大川镇",
    "event": "暴雨",
    "colour": "橙色",
    "was": "红色",
    "issuer": "县气象局",
    "issued": "7月15日20时30分",
    "onset": "7月15日22时",
    "expires": "7月16日2时",
    "count": "12",
    "month": "7",
    "day": "15",
    "hour": "20",
    "minute": "30",
    "hours": "6",
    "value": "50",
    "low": "7",
    "high": "9",
}


def _row(what: str, zh: str, line: Line) -> list[str]:
    slots = sorted(slots_of(zh))
    example = zh.format(**{name: _EXAMPLE[name] for name in slots}) if slots else ""
    return [what, zh, " ".join(f"{{{name}}}" for name in slots), example, line.text, "", line.note]


def _headings() -> list[str]:
    return [w(f"lines_{name}") for name in ("for", "zh", "slots", "example", "text", "ok", "note")]


_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


def _inert(cell: str) -> str:
    """A spreadsheet would take it for a formula and run it; behind an apostrophe it is text."""
    return f"'{cell}" if cell.startswith(_FORMULA) else cell


def _as_meant(cell: str) -> str:
    """The inverse of `_inert`."""
    return cell[1:] if cell.startswith("'") and cell[1:].startswith(_FORMULA) else cell


def _csv(rows: list[list[str]]) -> bytes:
    """With a mark of order, or spreadsheets take UTF-8 for something else."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(_headings())
    writer.writerows([_inert(cell) for cell in row] for row in rows)
    return b"\xef\xbb\xbf" + out.getvalue().encode()


def _html(tag: str, rows: list[list[str]]) -> bytes:
    """One page that needs no network: fill it in any browser, and it saves the CSV that is imported."""
    known = language(tag)
    right = ' dir="rtl"' if tag in ("ug", "kk") else ""
    head = "".join(f"<th>{html.escape(h)}</th>" for h in _headings())
    body = "\n".join(
        "<tr>"
        + "".join(f"<td>{html.escape(cell)}</td>" for cell in row[:4])
        + f"<td><textarea{right} lang={html.escape(tag)!r}>{html.escape(row[4])}</textarea></td>"
        + '<td><input type="checkbox"></td>'
        + f'<td><input type="text" value="{html.escape(row[6])}"></td></tr>'
        for row in rows
    )
    page = (resources.files("controller.cli") / "sheet.html").read_text("utf-8")
    return (
        Template(page)
        .substitute(
            title=html.escape(w("lines_title", language=f"{known.zh} {known.en}")),
            how=html.escape(w("lines_how")),
            save=html.escape(w("lines_save")),
            head=head,
            body=body,
            headings=js.dumps(_headings(), ensure_ascii=False).replace("<", "\\u003c"),
            tag=html.escape(tag),
        )
        .encode()
    )


def _filled(file: Path) -> Iterator[tuple[int, str, str, bool, str]]:
    """(line, Mandarin, words, marked, note) of each row of a CSV sheet. Raises Failure."""
    try:
        data = file.read_bytes()
    except OSError as error:
        raise Failure(Code.FAILED, w("lines_unread", file=file, why=error.strerror)) from None
    if len(data) > MAX_SHEET:
        raise Failure(Code.FAILED, w("lines_not_one", file=file, line=1))
    text = _decoded(data)
    if text is None:
        raise Failure(Code.FAILED, w("lines_encoding", file=file))
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        next(reader, None)
        for row in reader:
            cells = [_as_meant(cell) for cell in row]
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) < _COLUMNS - 1:  # a spreadsheet may leave out the last, empty one
                raise Failure(Code.FAILED, w("lines_not_one", file=file, line=reader.line_num))
            words, mark, note = cells[4].strip(), cells[5].strip().casefold(), "".join(cells[6:7]).strip()
            yield reader.line_num, cells[1].strip(), words, mark in _OK, note
    except csv.Error:
        raise Failure(Code.FAILED, w("lines_not_one", file=file, line=reader.line_num)) from None


def _decoded(data: bytes) -> str | None:
    """UTF-8, or UTF-16 with its mark, as spreadsheets save it."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16", "replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None

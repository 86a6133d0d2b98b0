"""``fenghuo county …``: a county's pack from the national list, its check, and the county's own files into
it. All of it works off-line."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from typer import Argument, Option

from controller.cli import say, words
from controller.cli.call import DryRun, Json
from controller.cli.help import App
from controller.cli.outcome import Code, Failure
from controller.cli.words import told, w

county = App(w("h_county"))

Pack = Annotated[Path, Argument(metavar="DIR", help=w("a_pack"))]


def _file(flag: str, text: str) -> Any:
    return Option(flag, metavar="FILE", exists=True, dir_okay=False, readable=True, help=w(text))


@county.verb("new", w("h_county_new"))
def new(
    name: Annotated[str, Argument(metavar="COUNTY", help=w("a_county"))],
    out: Annotated[Path | None, Option("--out", metavar="DIR", help=w("o_pack_out"))] = None,
    key: Annotated[str, Option("--key", metavar="KEY", help=w("o_pack_key"))] = "",
    json: Json = False,
) -> Code:
    from config.counties import PackError, load_county
    from config.counties.build import build, county_key
    from config.counties.national import NoSuchCounty, find_county, hazards, townships

    try:
        entry = find_county(name)
    except NoSuchCounty as error:
        raise Failure(
            Code.USAGE, str(error), *(f"  {c}" for c in error.choices), choices=error.choices
        ) from None
    folder = out or Path(county_key(entry))
    try:
        files = build(entry, folder, key=key, lang=words.lang())
        load_county(str(folder))
    except PackError as error:
        raise Failure(Code.CONFIG, *str(error).splitlines()) from None
    units = townships(entry.code)
    about = {
        "folder": str(folder),
        "county": entry.label,
        "townships": len(units),
        "seats": sum(unit.position is not None for unit in units),
        "hazards": [asdict(clash) for clash in hazards(entry.code)],
    }
    if json:
        say.data_json({**about, "files": files})
        return Code.DONE
    say.data(w("county_made", **{**about, "hazards": len(hazards(entry.code))}))
    for clash in hazards(entry.code):
        say.data(w("county_clash", digits=clash.digits, mca=clash.mca, nbs=clash.nbs))
    say.talk(w("county_todo", file=folder / "TODO.md"))
    return Code.DONE


@county.verb("check", w("h_county_check"))
def check(pack: Annotated[str, Argument(metavar="DIR", help=w("a_pack"))], json: Json = False) -> Code:
    from config.counties import PackError
    from config.counties.check import Level, examine

    try:
        # A folder here goes before a pack of that name in the program.
        findings = examine(Path(pack) if Path(pack).is_dir() else pack)
    except PackError as error:
        raise Failure(Code.CONFIG, *str(error).splitlines()) from None
    errors = sum(finding.level is Level.ERROR for finding in findings)
    if json:
        say.data_json({"ok": not errors, "findings": [asdict(finding) for finding in findings]})
    else:
        for finding in findings:
            say.data(f"{w(f'level_{finding.level}')} {told(str(finding))}")
    counts = {level.value: sum(finding.level is level for finding in findings) for level in Level}
    say.talk(w("county_checked", pack=pack, **counts))
    return Code.CONFIG if errors else Code.DONE


@county.verb("import", w("h_county_import"))
def take(
    pack: Pack,
    villages: Annotated[Path | None, _file("--villages", "o_villages")] = None,
    terminals: Annotated[Path | None, _file("--terminals", "o_terminals_file")] = None,
    townships: Annotated[Path | None, _file("--townships", "o_townships")] = None,
    boundary: Annotated[Path | None, _file("--boundary", "o_boundary")] = None,
    datum: Annotated[
        Literal["gcj02", "wgs84", "cgcs2000"] | None, Option("--datum", help=w("o_datum"))
    ] = None,
    column: Annotated[list[str] | None, Option("--column", metavar="ROLE=COLUMN", help=w("o_column"))] = None,
    anyway: Annotated[bool, Option("--anyway", help=w("o_anyway"))] = False,
    dry_run: DryRun = False,
    json: Json = False,
) -> Code:
    from config.counties import PackError
    from config.counties.datum import Datum
    from config.counties.imports import ImportRefused, Kind, import_files
    from config.counties.tables import TableError

    given = {
        Kind.VILLAGES: villages,
        Kind.TERMINALS: terminals,
        Kind.TOWNSHIPS: townships,
        Kind.BOUNDARY: boundary,
    }
    files = {kind: file for kind, file in given.items() if file is not None}
    if not files:
        raise Failure(Code.USAGE, w("nothing_to_import"))
    try:
        taken = import_files(
            pack,
            files,
            Datum(datum) if datum else None,
            columns=_columns(column or []),
            anyway=anyway,
            on=datetime.now(say.BEIJING).date(),
            write=not dry_run,
        )
    except ImportRefused as error:
        raise Failure(Code.REFUSED, *str(error).splitlines(), w("import_anyway")) from None
    except (TableError, PackError) as error:
        raise Failure(Code.CONFIG, *str(error).splitlines()) from None
    if json:
        rows = [{**asdict(one), "file": str(one.file)} for one in taken]
        say.data_json({"written": not dry_run, "taken": rows})
        return Code.DONE
    for one in taken:
        counts = ("rows", "added", "updated", "left_out", "without_position")
        say.data(
            w(
                "import_taken",
                kind=w(f"import_{one.kind}"),
                file=one.file,
                **{name: getattr(one, name) for name in counts},
            )
        )
        for text in (*([str(one.check)] if one.check else []), *one.notes, *one.doubts):
            say.data(f"  {told(text)}")
    say.talk(w("import_dry" if dry_run else "import_done", pack=pack))
    return Code.DONE


def _columns(chosen: list[str]) -> dict[str, str]:
    from config.counties.tables import COLUMN_NAMES

    found = {}
    for text in chosen:
        role, _, name = text.partition("=")
        if role not in COLUMN_NAMES or not name:
            raise Failure(Code.USAGE, w("bad_column", text=text, roles=", ".join(COLUMN_NAMES)))
        found[role] = name
    return found

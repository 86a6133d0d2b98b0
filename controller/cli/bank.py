"""``fenghuo bank …``: an announcer's recordings, from the studio sheet to the approved clip. All off-line."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from typer import Argument, Option

from controller.cli import say
from controller.cli.call import DryRun, Json, table
from controller.cli.help import App
from controller.cli.outcome import Code, Failure
from controller.cli.words import told, w

if TYPE_CHECKING:
    from tts.bank import Bank, Piece, Skipped, Taken
    from tts.bank.lines import Needs
    from tts.bank.model import Finding

bank = App(w("h_bank"))

Folder = Annotated[Path, Argument(metavar="DIR", help=w("a_bank"))]
Keys = Annotated[list[str] | None, Argument(metavar="[KEY]...", help=w("a_bank_keys"))]
Key = Annotated[str, Argument(metavar="KEY", help=w("a_bank_key"))]
Languages = Annotated[str, Option("--language", metavar="TAG", help=w("o_bank_language"))]
Places = Literal["none", "townships", "villages"]
OnDate = Annotated[datetime | None, Option("--on", metavar="DATE", formats=["%Y-%m-%d"], help=w("o_bank_on"))]

MOST_SHOWN: Final = 40
"""Rows of a list that is only half of the answer; `--json` has all."""


@bank.verb("new", w("h_bank_new"))
def new(
    folder: Folder,
    language: Languages,
    announcer: Annotated[str, Option("--announcer", metavar="NAME", help=w("o_bank_announcer"))],
    consent: Annotated[str, Option("--consent", metavar="TEXT", help=w("o_bank_consent"))] = "",
    county: Annotated[str, Option("--county", metavar="PACK", help=w("o_bank_county"))] = "",
    places: Annotated[Places, Option("--places", help=w("o_bank_places"))] = "townships",
    hazard: Annotated[list[str] | None, Option("--hazard", metavar="HAZARD", help=w("o_bank_hazard"))] = None,
    issuer: Annotated[list[str] | None, Option("--issuer", metavar="NAME", help=w("o_bank_issuer"))] = None,
    times: Annotated[bool, Option("--times", help=w("o_bank_times"))] = False,
    json: Json = False,
) -> Code:
    from tts.bank import Bank
    from tts.bank.files import About

    with _bank_errors():
        about = About(
            language,
            announcer,
            consent,
            False,
            county,
            places,
            tuple(hazard or ()),
            tuple(issuer or ()),
            times,
        )
        lines, left = _wanted(about)
        made = Bank.create(folder, about, lines)
    if json:
        say.data_json({"folder": str(folder), "lines": len(made.lines), "left": left, **_totals(made)})
        return Code.DONE
    say.data(w("bank_made", folder=folder, language=language, lines=len(made.lines)))
    _say_totals(made)
    _say_left(left)
    return Code.DONE


@bank.verb("update", w("h_bank_update"))
def update(folder: Folder, json: Json = False) -> Code:
    with _bank_errors():
        found = _open(folder)
        lines, left = _wanted(found.about)
        added, idle = found.refresh(lines)
    if json:
        say.data_json({"added": added, "idle": idle, "left": left, **_totals(found)})
        return Code.DONE
    say.data(w("bank_updated", added=added, idle=idle))
    _say_totals(found)
    _say_left(left)
    return Code.DONE


@bank.verb("sheet", w("h_bank_sheet"))
def sheet(
    folder: Folder,
    out: Annotated[Path, Option("--out", metavar="FILE.html", help=w("o_bank_sheet"))],
    missing: Annotated[bool, Option("--missing", help=w("o_bank_missing"))] = False,
    json: Json = False,
) -> Code:
    from controller.cli.sounds import must_be_there
    from tts.bank import sheet as sheets
    from tts.bank.files import write

    must_be_there(out.parent, out)
    with _bank_errors():
        found = _open(folder)
        filled = ("title", "announcer", "consent", "totals")
        labels = {name: w(f"banksheet_{name}") for name in sheets.LABELS if name not in filled}
        labels["title"] = w("banksheet_title", language=found.language)
        labels["announcer"] = w("banksheet_announcer", name=found.announcer, version=found.version)
        labels["consent"] = w("banksheet_consent", text=found.about.consent) if found.about.consent else ""
        labels["totals"] = _totals_line(found)
        rows = [(line, found.state(key)) for key, line in found.lines.items()]
        write(out, sheets.page(rows, found.language, labels, only_missing=missing).encode())
    if json:
        say.data_json({"file": str(out), **_totals(found)})
    else:
        say.data(str(out))
    return Code.DONE


@bank.verb("import", w("h_bank_import"))
def import_(
    folder: Folder,
    sources: Annotated[list[Path], Argument(metavar="FILE...", exists=True, help=w("a_bank_files"))],
    key: Annotated[str, Option("--key", metavar="KEY", help=w("o_bank_key"))] = "",
    take: Annotated[int | None, Option("--take", metavar="N", min=1, help=w("o_bank_take"))] = None,
    json: Json = False,
) -> Code:
    with _bank_errors():
        taken, skipped = _open(folder).add(sources, key=key, number=take or 0, on=_today())
    _say_taken(taken, skipped, json)
    return Code.PARTLY if skipped else Code.DONE


@bank.verb("take", w("h_bank_take"))
def take_(
    folder: Folder,
    key: Key,
    number: Annotated[int, Argument(metavar="N", min=1, help=w("a_bank_number"))],
    json: Json = False,
) -> Code:
    with _bank_errors():
        found = _open(folder)
        found.choose(key, number)
    if json:
        say.data_json({"key": key, "take": number, "state": found.state(key).value})
        return Code.DONE
    say.data(w("bank_chosen", key=key, number=number, state=w(f"bank_{found.state(key)}")))
    return Code.DONE


@bank.verb("record", w("h_bank_record"))
def record(
    folder: Folder,
    key: Key,
    seconds: Annotated[float, Option("--seconds", metavar="S", min=1, max=60, help=w("o_bank_seconds"))] = 20,
    json: Json = False,
) -> Code:
    from tts.bank import microphone, sound

    with _bank_errors():
        found = _open(folder)
        line = found.lines.get(key)
        if line is None or not line.text:
            raise Failure(Code.USAGE, w("bank_no_words", key=key))
        stream = microphone.opened()
        try:
            say.talk(w("bank_read_now", text=line.text))
            heard = microphone.take(stream, seconds)
        finally:
            stream.close()
        data = sound.write_original(heard, microphone.RATE)
        taken = found.keep(key, data, ".flac", "microphone", _today())
        it = sound.measure(heard, microphone.RATE)
    if json:
        say.data_json({**asdict(taken), "measured": asdict(it)})
        return Code.DONE
    say.data(w("bank_mic_take", key=key, number=taken.number, seconds=f"{it.seconds:.1f}"))
    say.talk(w("bank_recorded_how", peak=f"{it.peak_db:.0f}", snr=f"{it.snr_db:.0f}"))
    if it.clipped:
        say.talk(w("bank_flaw_clipped", samples=it.clipped))
    return Code.DONE


@bank.verb("cut", w("h_bank_cut"))
def cut(
    folder: Folder,
    file: Annotated[Path, Argument(metavar="FILE", exists=True, dir_okay=False, help=w("a_bank_session"))],
    keys: Annotated[list[str] | None, Option("--key", metavar="KEY", help=w("o_bank_cut_keys"))] = None,
    first: Annotated[int | None, Option("--first", metavar="N", min=1, help=w("o_bank_first"))] = None,
    pause: Annotated[float, Option("--pause", metavar="S", min=0.2, max=10, help=w("o_bank_pause"))] = 0.8,
    below: Annotated[
        float | None, Option("--below", metavar="DBFS", min=-90, max=-10, help=w("o_bank_below"))
    ] = None,
    drop: Annotated[list[int] | None, Option("--drop", metavar="N", min=1, help=w("o_bank_drop"))] = None,
    dry_run: DryRun = False,
    json: Json = False,
) -> Code:
    from tts.bank import PiecesDiffer

    with _bank_errors():
        found = _open(folder)
        chosen = [line.key for line in found.missing()][:first] if first and not keys else keys or []
        try:
            pieces, taken = found.cut(
                file,
                keys=chosen,
                pause=pause,
                below_db=below,
                drop=drop or [],
                on=_today(),
                write=not dry_run,
            )
        except PiecesDiffer as error:
            data = {"pieces": [asdict(p) for p in error.pieces], "lines": error.lines, "pauses": error.pauses}
            rows = [] if json else [*map(_piece, error.pieces[:MOST_SHOWN])]
            more = len(error.pieces) - MOST_SHOWN
            if more > 0 and not json:
                rows.append(w("bank_more", count=more))
            if error.pauses:
                hint = w("bank_other_pause", pauses=", ".join(f"{p:g}" for p in error.pauses[:5]))
            else:
                hint = w("bank_no_pause")
            raise Failure(Code.REFUSED, told(str(error)), *rows, hint, **data) from None
    if json:
        say.data_json({"pieces": [asdict(p) for p in pieces], "taken": [asdict(t) for t in taken]})
        return Code.DONE
    for piece in pieces:
        say.data(_piece(piece))
    say.talk(w("bank_cut_dry" if dry_run else "bank_cut_done", count=len(pieces)))
    return Code.DONE


@bank.verb("level", w("h_bank_level"))
def level(folder: Folder, json: Json = False) -> Code:
    with _bank_errors():
        found = _open(folder)
        made, skipped = found.level()
    if json:
        say.data_json({"made": made, "skipped": [asdict(s) for s in skipped], **_totals(found)})
    else:
        for one in skipped:
            say.data(w("bank_skipped", file=one.file, why=one.why))
        say.data(w("bank_levelled_count", made=made))
        _say_totals(found)
    return Code.PARTLY if skipped else Code.DONE


@bank.verb("check", w("h_bank_check"))
def check(folder: Folder, json: Json = False) -> Code:
    from tts.bank.model import Grade

    with _bank_errors():
        found = _open(folder)
        findings = found.check()
    missing = found.missing()
    errors = sum(one.grade is Grade.ERROR for one in findings)
    if json:
        say.data_json(
            {
                "ok": not errors,
                "findings": [{**asdict(one), "values": dict(one.values)} for one in findings],
                "missing": [line.key for line in missing],
                **_totals(found),
            }
        )
        return Code.CONFIG if errors else Code.DONE
    for one in findings:
        say.data(f"{w(f'level_{one.grade}')} {one.key}: {_flaw(one)}")
    for line in missing[:MOST_SHOWN]:
        say.data(f"{w('level_missing')} {line.key}: {line.text}")
    if len(missing) > MOST_SHOWN:
        say.data(w("bank_more", count=len(missing) - MOST_SHOWN))
    _say_totals(found)
    say.talk(w("bank_checked", errors=errors, warnings=len(findings) - errors, missing=len(missing)))
    return Code.CONFIG if errors else Code.DONE


@bank.verb("approve", w("h_bank_approve"))
def approve(
    folder: Folder,
    keys: Keys = None,
    by: Annotated[str, Option("--by", metavar="NAME", help=w("o_bank_by"))] = "",
    on: OnDate = None,
    withdraw: Annotated[bool, Option("--withdraw", help=w("o_bank_withdraw"))] = False,
    json: Json = False,
) -> Code:
    if withdraw and not keys:
        raise Failure(Code.USAGE, w("bank_withdraw_keys"))
    if not withdraw and not by.strip():
        raise Failure(Code.USAGE, w("bank_by_whom"))
    with _bank_errors():
        found = _open(folder)
        skipped: list[Skipped] = []
        if withdraw:
            done = found.withdraw(keys or [])
        else:
            day = on.date().isoformat() if on else _today()
            done, skipped = found.approve(keys or [], by=by, on=day)
    if json:
        say.data_json({"keys": done, "skipped": [asdict(s) for s in skipped], **_totals(found)})
    else:
        for one in skipped:
            say.data(w("bank_skipped", file=one.file, why=one.why))
        say.data(w("bank_withdrawn" if withdraw else "bank_approved_count", count=len(done)))
        if found.synthetic and done and not withdraw:
            say.talk(w("bank_is_synthetic"))
        _say_totals(found)
    return Code.PARTLY if skipped else Code.DONE


@bank.verb("list", w("h_bank_list"))
def list_(folder: Folder, json: Json = False) -> Code:
    with _bank_errors():
        found = _open(folder)
    rows = []
    for key, line in found.lines.items():
        entry = found.entry(key)
        clip = entry.newest(line)
        served = entry.in_service(line)
        rows.append(
            {
                "key": key,
                "state": found.state(key).value if json else w(f"bank_{found.state(key)}"),
                "takes": len(entry.takes),
                "chosen": entry.chosen,
                "seconds": round(clip.seconds, 2) if clip else "",
                "approved": f"{entry.approval.by} {entry.approval.on}" if entry.approval and served else "",
                "text": line.text or line.zh,
            }
        )
    names = ("key", "state", "takes", "chosen", "seconds", "approved", "text")
    table(rows, {w(f"c_bank_{name}"): name for name in names}, as_json=json)
    if not json:
        _say_totals(found)
    return Code.DONE


@bank.verb("find", w("h_bank_find"))
def find(
    folder: Folder,
    text: Annotated[str, Argument(metavar="TEXT", help=w("a_bank_text"))],
    unapproved: Annotated[bool, Option("--unapproved", help=w("o_bank_unapproved"))] = False,
    json: Json = False,
) -> Code:
    with _bank_errors():
        bank_ = _open(folder)
        found = bank_.find(bank_.language, text, approved_only=not unapproved)
    if found is None:
        raise Failure(Code.FAILED, w("bank_not_found", text=text))
    if json:
        say.data_json({**asdict(found), "path": str(found.path)})
    else:
        say.data(str(found.path))
        by = f"{found.approved_by} {found.approved_on}".strip() or w("bank_nobody")
        say.talk(w("bank_found", keys=", ".join(found.keys), seconds=f"{found.seconds:.1f}", by=by))
    return Code.DONE


@bank.verb("demo", w("h_bank_demo"))
def demo(
    out: Annotated[Path, Option("--out", metavar="DIR", help=w("o_bank_demo_out"))],
    voice: Annotated[
        Literal["zm_yunjian", "zf_xiaobei"], Option("--voice", help=w("o_voice"))
    ] = "zm_yunjian",
    first: Annotated[int | None, Option("--first", metavar="N", min=1, help=w("o_bank_demo_first"))] = None,
    json: Json = False,
) -> Code:
    """The countdown, spoken by the offline voice and taken in on the same road as a person's."""
    from tts.bank import Bank
    from tts.bank.files import About
    from tts.bank.lines import Needs, wanted
    from tts.templates import load

    with _bank_errors():
        about = About("zh", voice, w("bank_demo_consent", "en"), True, places="none", hazards=("earthquake",))
        lines = [
            line for line in wanted(load("zh"), Needs(about.hazards))[0] if line.key.startswith("quake-")
        ][:first]
        begun = (out / "bank.toml").exists()  # one that was stopped goes on
        made = _open(out) if begun else Bank.create(out, about, lines)
        if not made.synthetic or made.language != "zh":
            raise Failure(Code.REFUSED, w("bank_not_synthetic", folder=out))
        asyncio.run(_speak(made, voice))
        made.level()
        findings = made.check()
    if json:
        say.data_json({"folder": str(out), "findings": [asdict(f) for f in findings], **_totals(made)})
        return Code.DONE
    for one in findings:
        say.data(f"{w(f'level_{one.grade}')} {one.key}: {_flaw(one)}")
    say.data(w("bank_made", folder=out, language="zh", lines=len(made.lines)))
    _say_totals(made)
    say.talk(w("bank_is_synthetic"))
    return Code.DONE


async def _speak(made: Bank, voice: str) -> None:
    """What is missing, by the offline voice."""
    import numpy as np

    from tts.bank import sound
    from tts.renderer import Renderer
    from tts.voice import VoiceError

    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    renderer = Renderer(home / "fenghuo" / "voice")
    try:
        for line in made.missing():
            spoken = await renderer.speak([line.text], voice=voice, speed=1.0, deadline_s=120)
            samples = np.frombuffer(spoken.pcm, "<f4")
            made.keep(
                line.key,
                sound.write_original(samples, spoken.sample_rate),
                ".flac",
                f"kokoro/{voice}",
                _today(),
            )
            say.talk(f"{line.key}  {line.text}")
    except VoiceError as error:
        raise Failure(Code.FAILED, told(str(error))) from error
    finally:
        await renderer.close()


# --- what they share ---


@contextmanager
def _bank_errors() -> Iterator[None]:
    from tts.bank.model import BankError
    from tts.script import ScriptError

    try:
        yield
    except (BankError, ScriptError) as error:
        raise Failure(Code.CONFIG, *map(told, str(error).splitlines())) from None


def _open(folder: Path) -> Bank:
    from tts.bank import Bank

    return Bank.open(folder)


def _wanted(about: Any) -> tuple[list[Any], list[str]]:
    from tts.bank.lines import wanted
    from tts.templates import load

    needs = _needs(about)
    return wanted(load(about.language), needs)


def _needs(about: Any) -> Needs:
    from alerts.hazards import HAZARDS
    from config.counties import PackError, load_county
    from tts.bank.lines import USUAL, Needs

    known = {hazard.key for hazard in HAZARDS}
    if unknown := [key for key in about.hazards if key not in known]:
        raise Failure(Code.USAGE, w("bank_bad_hazard", keys=", ".join(unknown)))
    places: dict[str, str] = {}
    if about.county and about.places != "none":
        try:
            county = load_county(about.county).county
        except PackError as error:
            raise Failure(Code.CONFIG, *map(told, str(error).splitlines())) from None
        places = {county.key: county.name, **{unit.key: unit.name for unit in county.townships}}
        if about.places == "villages":
            places |= {unit.key: unit.name for unit in county.villages}
    return replace(
        Needs(), hazards=about.hazards or USUAL, places=places, issuers=about.issuers, times=about.times
    )


def _today() -> str:
    return datetime.now(say.BEIJING).date().isoformat()


def _totals(found: Bank) -> dict[str, Any]:
    return {
        "version": found.version,
        "totals": {state.value: count for state, count in found.totals().items()},
        "serving": found.serving(),
    }


def _totals_line(found: Bank) -> str:
    counts = " · ".join(f"{w(f'bank_{state}')} {count}" for state, count in found.totals().items() if count)
    return w("bank_totals", lines=len(found.lines), counts=counts, serving=found.serving())


def _say_totals(found: Bank) -> None:
    say.data(_totals_line(found))


def _say_left(left: Sequence[str]) -> None:
    if left:
        say.talk(w("bank_left", count=len(left)))
        for text in left[:MOST_SHOWN]:
            say.talk(f"  {text}")


def _say_taken(taken: Sequence[Taken], skipped: Sequence[Skipped], json: bool) -> None:
    if json:
        say.data_json({"taken": [asdict(t) for t in taken], "skipped": [asdict(s) for s in skipped]})
        return
    for one in taken:
        if one.again:
            say.data(w("bank_again", key=one.key, number=one.number))
        elif one.replaces:
            say.data(w("bank_replaced", key=one.key, number=one.number, old=one.replaces))
        else:
            say.data(w("bank_taken", key=one.key, number=one.number))
    for other in skipped:
        say.data(w("bank_skipped", file=other.file, why=other.why))
    again = sum(one.again for one in taken)
    say.talk(w("bank_imported", taken=len(taken) - again, again=again, skipped=len(skipped)))


def _piece(piece: Piece) -> str:
    name = f"{piece.key}  {piece.text}" if piece.key else w("bank_piece_over")
    return f"{piece.number:4d} {piece.start:8.2f} – {piece.end:8.2f} s  {name}"


def _flaw(one: Finding) -> str:
    values: Mapping[str, str] = one.values
    return w(f"bank_flaw_{one.flaw}", **{name: told(value) for name, value in values.items()})

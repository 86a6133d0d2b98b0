"""The county's voices: what the configuration names and this machine has, as offers to choose from
(`tts.voices.choice`), and a voice opened for one message."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from config.schema import BankVoice, CommandVoice, EdgeVoice, EspeakVoice, HttpVoice, OtherVoice
from config.schema import Voice as VoiceOptions
from tts.voice import Speech, Voice
from tts.voices import espeak
from tts.voices.choice import Engine, Offer, VoiceChoice
from tts.voices.external import program_missing

OFFLINE_TIMEOUT_S: Final = 240.0
"""The built-in voice: a whole message of 60 s takes 10 to 110 s on two busy cores; its caller sets less."""
_ONLINE_TIMEOUT_S: Final = 8.0


def offered(voice: VoiceOptions) -> tuple[Offer, ...]:
    """Every voice of the configuration, each with what is missing on this machine to use it. Looks at
    files and programs (milliseconds); asks nobody on the network."""
    built_in = Offer(
        "zh",
        Engine.KOKORO,
        voice.name,
        speed=voice.speed,
        timeout_s=OFFLINE_TIMEOUT_S,
        approved_by=voice.approved_by or "",
        approved_on=str(voice.approved_on or ""),
        missing=weights_missing(),
    )
    online = () if voice.online is None else (
        Offer(
            "zh",
            Engine.EDGE,
            f"edge:{voice.online.name}",
            online=True,
            speed=voice.speed,
            timeout_s=_ONLINE_TIMEOUT_S,
            approved_by=voice.online.approved_by,
            approved_on=str(voice.online.approved_on),
            missing=edge_missing(),
        ),
    )  # fmt: skip
    return (built_in, *online, *map(_offer, voice.others))


def opened(voice: VoiceOptions, choice: VoiceChoice, decode: Callable[[bytes], Awaitable[Speech]]) -> Voice:
    """The voice of a choice among `offered(voice)`, keeping to its budget. `decode`: a sound file to
    samples at 24 kHz (`Renderer.decode`). Not for a bank (`bank_folder`) nor the built-in voice
    (`Renderer`)."""
    from tts.voices.edge import EdgeVoice as Edge
    from tts.voices.espeak import EspeakVoice as Espeak
    from tts.voices.external import CommandVoice as Command
    from tts.voices.external import HttpVoice as Http

    offer = choice.offer
    if offer.engine is Engine.EDGE:
        return Edge(offer.name.removeprefix("edge:"), decode=decode, budget_s=choice.budget_s)
    match _options(voice, offer):
        case EspeakVoice():
            return Espeak(offer.language, decode=decode, budget_s=choice.budget_s)
        case CommandVoice() as command:
            return Command(offer.name, offer.language, command.argv, decode=decode, budget_s=choice.budget_s)
        case HttpVoice() as http:
            return Http(
                offer.name,
                offer.language,
                http.url,
                ca_file=http.ca_file,
                token_file=http.token_file,
                decode=decode,
                budget_s=choice.budget_s,
            )
        case other:
            raise ValueError(f"{offer.name} is no voice to be opened: {type(other).__name__}")


def bank_folder(voice: VoiceOptions, offer: Offer) -> Path:
    """Where the recordings of a bank's offer lie, for `Bank.open`."""
    found = _options(voice, offer)
    if not isinstance(found, BankVoice):
        raise ValueError(f"{offer.name} is no bank")
    return found.folder


def weights_missing() -> str:
    """Why the built-in voice has no model on this machine; empty when it has. Its hash is checked when it is
    loaded."""
    from tts.voices.weights import missing

    return missing()


def edge_missing() -> str:
    """Why the online service's client cannot be used; empty when it can."""
    return "" if find_spec("edge_tts") else "the package edge-tts is not installed: pip install edge-tts"


def _options(voice: VoiceOptions, offer: Offer) -> OtherVoice:
    return next(o for o in voice.others if (o.language, o.label) == (offer.language, offer.name))


_ENGINES: Final = {
    BankVoice: Engine.BANK,
    EdgeVoice: Engine.EDGE,
    EspeakVoice: Engine.ESPEAK,
    CommandVoice: Engine.COMMAND,
    HttpVoice: Engine.HTTP,
}


def _offer(other: OtherVoice) -> Offer:
    spoken = None if isinstance(other, BankVoice) else other
    return Offer(
        other.language,
        _ENGINES[type(other)],
        other.label,
        online=spoken is not None and not spoken.offline,
        speed=spoken.speed if spoken else 1.0,
        timeout_s=spoken.timeout.total_seconds() if spoken else 0.0,
        approved_by=other.approved_by or "",
        approved_on=str(other.approved_on or ""),
        missing=_missing(other),
    )


def _missing(other: OtherVoice) -> str:
    match other:
        case BankVoice():
            return (
                "" if (other.folder / "bank.toml").is_file() else f"there is no phrase bank in {other.folder}"
            )
        case EdgeVoice():
            return edge_missing()
        case EspeakVoice():
            return espeak.missing(other.language)
        case CommandVoice():
            return program_missing(other.argv)
        case HttpVoice():
            return ""

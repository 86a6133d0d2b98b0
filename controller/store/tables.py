"""The tables. Times are Unix milliseconds; documents, plans and envelopes are kept as they were.

The schema is created by the migrations beside this file; a test holds the two equal.
"""

from __future__ import annotations

from sqlalchemy import (
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    text,
)

metadata = MetaData()

document = Table(
    "document",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("feed", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("received", Integer, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),
    # How often parsing was begun. Twice without an end: it kills the process; quarantined, not read again.
    Column("opened", Integer, nullable=False, default=0),
    # NULL until decided; then held, released, ignored, refused, quarantined.
    Column("outcome", Text),
    Column("reason", Text, nullable=False, default=""),
    Column("alert", Text),
    Index("document_open", "outcome"),
)

alert = Table(
    "alert",
    metadata,
    Column("id", Text, primary_key=True),
    Column("source", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("identifier", Text, nullable=False),
    Column("event_key", Text, nullable=False),
    Column("msg_type", Text, nullable=False),
    Column("hazard", Text, nullable=False),
    Column("colour", Text),
    Column("headline", Text, nullable=False),
    Column("expires", Integer, nullable=False),
    # held, released, rejected, closed, cancelled, superseded, standing.
    Column("state", Text, nullable=False),
    Column("reason", Text, nullable=False, default=""),
    Column("created", Integer, nullable=False),
    Column("decided", Integer),
    Column("decided_by", Text),
    # JSON: controller.planning.Plan (NULL where nothing can sound), alerts.model.Alert,
    # alerts.lifecycle.Known.
    Column("plan", LargeBinary),
    Column("message", LargeBinary, nullable=False),
    Column("known", LargeBinary, nullable=False),
    Index("alert_event", "event_key"),
    Index("alert_identifier", "identifier"),
    Index("alert_created", "created"),
)

broadcast = Table(
    "broadcast",
    metadata,
    Column("id", Text, primary_key=True),
    Column("alert", Text, ForeignKey("alert.id"), nullable=False),
    # voicing, sending, done, stopped.
    Column("state", Text, nullable=False),
    Column("created", Integer, nullable=False),
    Column("sending", Integer),
    Column("done", Integer),
    Column("stopped_by", Text),
    Column("plan", LargeBinary, nullable=False),
    Column("script", LargeBinary, nullable=False),
    # What is wrong with its sound; until when it waits for an operator (wire ms); who did not let it wait.
    Column("doubt", Text, nullable=False, server_default=""),
    Column("airs", Integer),
    Column("aired_by", Text),
    Index("broadcast_state", "state"),
    Index("broadcast_alert", "alert"),
)

delivery = Table(
    "delivery",
    metadata,
    Column("broadcast", Text, nullable=False),
    Column("terminal", Text, nullable=False),
    Column("planned", Integer, nullable=False),
    PrimaryKeyConstraint("broadcast", "terminal"),
    sqlite_with_rowid=False,
)

# The append-only delivery log: one row per fact, for ever. The shown state is derived from it.
fact = Table(
    "fact",
    metadata,
    Column("broadcast", Text, nullable=False),
    Column("terminal", Text, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("at", Integer, nullable=False),
    Column("detail", Text, nullable=False),
    Column("stored", Integer, nullable=False),
    PrimaryKeyConstraint("broadcast", "terminal", "attempt", "state", "reason"),
    # When each loudspeaker was heard last.
    Index("fact_played", "terminal", "at", sqlite_where=text("state = 'played'")),
    sqlite_with_rowid=False,
)

command = Table(
    "command",
    metadata,
    Column("key_id", Text, nullable=False),
    Column("counter", Integer, nullable=False),
    Column("broadcast", Text, nullable=False),
    Column("verb", Text, nullable=False),
    Column("attempt", Integer, nullable=False),
    # JSON: the group keys and terminal ids it was made for.
    Column("groups", Text, nullable=False),
    Column("terminals", Text, nullable=False),
    Column("expires", Integer, nullable=False),
    Column("envelope", LargeBinary, nullable=False),
    Column("committed", Integer, nullable=False),
    Column("published", Integer),
    PrimaryKeyConstraint("key_id", "counter"),
    Index("command_broadcast", "broadcast"),
    sqlite_with_rowid=False,
)

counter = Table(
    "counter",
    metadata,
    Column("key_id", Text, primary_key=True),
    Column("last", Integer, nullable=False),
    sqlite_with_rowid=False,
)

terminal = Table(
    "terminal",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("village", Text, nullable=False),
    Column("lat", Float),
    Column("lon", Float),
    Column("languages", Text, nullable=False),
    Column("codecs", Text, nullable=False),
    # Class of the loudspeaker: tts.voice.Speaker.
    Column("speaker", Text, nullable=False, server_default="horn"),
    Column("code_hash", Text),
    Column("code_expires", Integer),
    Column("enrolled", Integer),
    Column("last_seen", Integer),
    Column("floor", Integer),
    Column("boot", Text),
    Column("health", LargeBinary),
    # Version of the ring of keys that it holds.
    Column("ring", Integer, nullable=False, server_default="0"),
    # What mosquitto's password file holds of its password, where the broker asks for one.
    Column("broker_hash", Text),
    # Taken down: kept for the history, never addressed; and which terminal stands there instead.
    Column("retired", Integer),
    Column("replaced_by", Text),
    sqlite_with_rowid=False,
)

# Certificates of terminals for the broker; those of the machines lie beside their keys.
certificate = Table(
    "certificate",
    metadata,
    # Hexadecimal.
    Column("serial", Text, primary_key=True),
    Column("terminal", Text, nullable=False),
    Column("issued", Integer, nullable=False),
    Column("expires", Integer, nullable=False),
    Column("revoked", Integer),
    Index("certificate_terminal", "terminal"),
    sqlite_with_rowid=False,
)

# Sets of clips that terminals hold ahead (`controller.staging`).
held_set = Table(
    "held_set",
    metadata,
    # wire.set_id of the manifest.
    Column("id", Text, primary_key=True),
    # floor, quake, or event:<event key>.
    Column("purpose", Text, nullable=False),
    Column("manifest", LargeBinary, nullable=False),
    # JSON: the group keys whose terminals hold it.
    Column("groups", Text, nullable=False),
    Column("created", Integer, nullable=False),
    Column("expires", Integer, nullable=False),
    Column("dropped", Integer),
    sqlite_with_rowid=False,
)

# The last word of each terminal on each set.
staged = Table(
    "staged",
    metadata,
    Column("set", Text, nullable=False),
    Column("terminal", Text, nullable=False),
    Column("wanted", Integer, nullable=False),
    Column("held", Integer, nullable=False),
    Column("problem", Text, nullable=False),
    Column("at", Integer, nullable=False),
    PrimaryKeyConstraint("set", "terminal"),
    sqlite_with_rowid=False,
)

# Tests that run by themselves: one row for each slot (`controller.tests_schedule`).
trial = Table(
    "trial",
    metadata,
    Column("test", Text, nullable=False),
    Column("slot", Integer, nullable=False),
    # running, postponed, done, stopped, missed.
    Column("state", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("began", Integer),
    Column("ended", Integer),
    Column("broadcast", Text, nullable=False),
    Column("planned", Integer, nullable=False),
    Column("played", Integer, nullable=False),
    PrimaryKeyConstraint("test", "slot"),
    sqlite_with_rowid=False,
)

meta = Table(
    "meta",
    metadata,
    Column("key", Text, primary_key=True),
    Column("value", Text, nullable=False),
    sqlite_with_rowid=False,
)

audit = Table(
    "audit",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("at", Integer, nullable=False),
    Column("who", Text, nullable=False),
    Column("what", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("detail", Text, nullable=False),
)

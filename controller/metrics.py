"""What Prometheus is told. One registry per controller, so that tests and the demo can run several."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest


class Metrics:
    def __init__(self) -> None:
        self.registry = CollectorRegistry()

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"fenghuo_{name}", text, labels, registry=self.registry)

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(f"fenghuo_{name}", text, labels, registry=self.registry)

        self.documents = counter(
            "documents", "Documents taken from feeds, by how they ended", "feed", "outcome"
        )
        self.feed_trouble = gauge("feed_trouble", "1 while a feed cannot be read", "feed")
        self.feed_last_good = gauge("feed_last_good_seconds", "Unix time of the last good contact", "feed")
        self.feed_last_document = gauge(
            "feed_last_document_seconds", "Unix time of the last document, since the start", "feed"
        )
        self.feed_stale = gauge("feed_stale", "1 while a feed shows no sign of life, or is too quiet", "feed")
        self.quarantined = counter("quarantined", "Bytes set aside because reading them failed", "what")
        self.held = gauge("alerts_held", "Alerts waiting for an operator")
        self.held_longest = gauge("alerts_held_longest_seconds", "How long the oldest has waited")
        self.broadcasts = counter("broadcasts", "Broadcasts started, by kind", "kind")
        self.commands = counter("commands", "Commands handed to the broker, by verb", "verb")
        self.questions = counter("questions", "State questions sent to terminals")
        self.not_handed_on = counter("commands_not_handed_on", "Sends the broker did not take; repeated")
        self.reports = counter("reports", "Authenticated reports and hellos taken")
        self.reports_refused = counter("reports_refused", "Reports with a wrong seal or body")
        self.reports_dropped = counter("reports_dropped", "Reports dropped because the inbox was full")
        self.broker_up = gauge("broker_up", "1 while connected to the broker")
        self.terminals_online = gauge("terminals_online", "Terminals heard within the last 20 minutes")
        self.readiness = gauge(
            "terminals_by_readiness", "Terminals that are ready, doubtful or dead", "township", "grade"
        )
        self.voice_seconds = gauge("voice_last_render_seconds", "How long the last rendering took")
        self.voice_failures = counter("voice_failures", "Renderings that fell back to the generic clip")
        self.doubts = counter("clips_doubted", "Clips that were not found to say what was meant")
        self.ring_version = gauge("ring_version", "Version of the ring of keys; 0: none was issued")
        self.ring_waiting = gauge("ring_waiting", "Terminals heard lately that hold an older ring")
        self.certificate_expires = gauge("certificate_expires_seconds", "Unix time of its end", "name")
        self.alarms = counter("alarms", "Alarms raised for the engineer")

    def text(self) -> bytes:
        return generate_latest(self.registry)

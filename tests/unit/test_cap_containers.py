"""CAP inside Atom, RSS and EDXL-DE: what an index lists, and nothing of it lost."""

from __future__ import annotations

import base64
from datetime import UTC, datetime

import pytest
from alert_builders import SHARED, cap_text

from alerts.formats import containers, parse
from alerts.formats.containers import Entry
from alerts.model import AlertError

NOW = datetime(2026, 7, 15, 0, 0, tzinfo=UTC)
ALERT = cap_text().split("?>", 1)[1].strip()
ESCAPED = ALERT.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
TWICE = ESCAPED.replace("&", "&amp;")
CAP = "urn:oasis:names:tc:emergency:cap:1.2"


def atom(*entries: str) -> bytes:
    inside = "".join(f"<entry>{entry}</entry>" for entry in entries)
    return f"<feed xmlns='http://www.w3.org/2005/Atom' xmlns:cap='{CAP}'>{inside}</feed>".encode()


def rss(*items: str) -> bytes:
    inside = "".join(f"<item>{item}</item>" for item in items)
    return f"<rss version='2.0' xmlns:cap='{CAP}'><channel><link>http://a/rss</link>{inside}</channel></rss>".encode()


def edxl(content: str, status: str = "Actual", kind: str = "Report") -> bytes:
    return (
        "<e:EDXLDistribution xmlns:e='urn:oasis:names:tc:emergency:EDXL:DE:1.0'>"
        f"<e:distributionStatus>{status}</e:distributionStatus><e:distributionType>{kind}</e:distributionType>"
        f"<e:contentObject>{content}</e:contentObject></e:EDXLDistribution>"
    ).encode()


XML_CONTENT = f"<e:xmlContent><e:embeddedXMLContent>{ALERT}</e:embeddedXMLContent></e:xmlContent>"


@pytest.mark.parametrize(
    "index",
    [
        atom(f"<id>1</id><content type='text/xml'>{ALERT}</content>"),
        atom(f"<id>1</id><content type='text'>{ESCAPED}</content>"),
        atom(f"<id>1</id><content type='html'>{TWICE}</content>"),
        atom(f"<id>1</id><summary><![CDATA[<?xml version='1.0'?>{ALERT}]]></summary>"),
        rss(f"<guid>1</guid><description>{ESCAPED}</description>"),
        rss(f"<guid>1</guid>{ALERT}"),
        edxl(XML_CONTENT),
        edxl(
            "<e:nonXMLContent><e:mimeType>application/cap+xml</e:mimeType><e:contentData>"
            f"{base64.b64encode(cap_text().encode()).decode()}</e:contentData></e:nonXMLContent>"
        ),
        f"<alerts xmlns='{CAP}'>{ALERT}</alerts>".encode(),
        cap_text().encode(),
    ],
)
def test_a_warning_inside_an_index_is_taken_out_whole(index: bytes) -> None:
    (entry,) = containers.entries(index)
    alert = parse(entry.inline, now=NOW)
    assert alert.main == parse(cap_text().encode(), now=NOW).main
    assert entry.refused == ""


def test_several_warnings_in_one_entry_are_all_taken() -> None:
    other = ALERT.replace("_20260715061500", "_20260715061501")
    found = containers.entries(edxl(f"<e:xmlContent>{ALERT}{other}</e:xmlContent>"))
    assert {parse(entry.inline, now=NOW).identifier[-2:] for entry in found} == {"00", "01"}
    assert len({entry.version for entry in found}) == 2


def test_a_warning_outside_every_entry_is_not_lost() -> None:
    (entry,) = containers.entries(f"<feed xmlns='http://www.w3.org/2005/Atom'>{ALERT}</feed>".encode())
    assert parse(entry.inline, now=NOW).main.event == "暴雨"


@pytest.mark.parametrize("status", ["Exercise", "Test", "System", "Draft"])
def test_the_envelope_of_a_drill_makes_a_drill_of_what_it_holds(status: str) -> None:
    (entry,) = containers.entries(edxl(XML_CONTENT, status))
    assert entry.inline == b""
    assert f"distributionStatus is '{status}', not Actual" in entry.refused


@pytest.mark.parametrize("kind", ["Cancel", "Error", "Ack", "Request"])
def test_an_envelope_that_takes_back_or_asks_brings_no_warning(kind: str) -> None:
    (entry,) = containers.entries(edxl(XML_CONTENT, kind=kind))
    assert (entry.inline, kind in entry.refused) == (b"", True)


@pytest.mark.parametrize(
    ("entry", "links"),
    [
        ("<link href='/a.xml'/>", ["/a.xml"]),
        ("<link href='/page.html'/><link type='application/cap+xml' href='/a'/>", ["/a"]),
        (
            "<link type='application/cap+xml' hreflang='zh' href='/zh'/>"
            "<link type='application/cap+xml' hreflang='en' href='/en'/>",
            ["/zh", "/en"],
        ),
        ("<link rel='self' href='/self'/><link href='/a'/>", ["/a"]),
        ("<link href='/page.html'/><link href='/a.cap?x=1'/>", ["/a.cap?x=1"]),
    ],
)
def test_links_of_atom_entries(entry: str, links: list[str]) -> None:
    found = containers.entries(atom(f"<id>1</id><updated>t</updated>{entry}"))
    assert found == [Entry(link, "t") for link in links]


@pytest.mark.parametrize(
    ("item", "link"),
    [
        # SWIC, as it is and as it was: the address in link, or only in guid.
        (
            "<link>http://a/1.xml</link><guid isPermaLink='false'>62302341600000_20260715061500</guid>",
            "http://a/1.xml",
        ),
        ("<guid>http://a/1.xml</guid>", "http://a/1.xml"),
        ("<link>http://a/warnings.html</link><guid>http://a/1.xml</guid>", "http://a/1.xml"),
        (
            "<link>http://a/report?id=1</link><g:cap xmlns:g='urn:g'>http://a/cap_1.xml</g:cap>",
            "http://a/cap_1.xml",
        ),
        ("<enclosure type='application/cap+xml' url='http://a/1'/><link>http://a/page</link>", "http://a/1"),
    ],
)
def test_links_of_rss_items(item: str, link: str) -> None:
    (found,) = containers.entries(rss(f"<title>x</title><pubDate>Wed</pubDate>{item}"))
    assert (found.link, found.version) == (link, "Wed")


def test_pieces_that_are_a_whole_message_are_put_together() -> None:
    pieces = ALERT[ALERT.index(">") + 1 : ALERT.rindex("<")]
    pieces = (
        pieces.replace("</", "</cap:").replace("<cap:", "\0").replace("<", "<cap:").replace("\0", "<cap:")
    )
    pieces = pieces.replace("<cap:/cap:", "</cap:")
    page = "<link href='http://a/page.html'/>"
    (entry,) = containers.entries(atom(f"<id>1</id>{page}{pieces}"))
    assert parse(entry.inline, now=NOW).main == parse(cap_text().encode(), now=NOW).main
    (entry,) = containers.entries(atom(f"<id>1</id><link type='application/cap+xml' href='/a'/>{pieces}"))
    assert entry == Entry("/a", "", b"") or entry.link == "/a", "the whole document goes before its pieces"
    some = pieces[: pieces.index("<cap:scope>")]
    (entry,) = containers.entries(atom(f"<id>1</id>{page}{some}"))
    assert (entry.link, entry.inline) == ("http://a/page.html", b"")


def test_part_of_a_message_beside_a_link_means_the_link() -> None:
    partial = ALERT.replace("<scope>Public</scope>", "")
    (entry,) = containers.entries(atom(f"<id>1</id><link href='/a.xml'/><content>{partial}</content>"))
    assert (entry.link, entry.inline) == ("/a.xml", b"")
    (entry,) = containers.entries(atom(f"<id>1</id><content>{partial}</content>"))
    with pytest.raises(AlertError, match="scope"):
        parse(entry.inline, now=NOW)


def test_an_entry_that_names_nothing_says_so_and_one_that_leads_back_is_left() -> None:
    nothing, other = containers.entries(atom("<title>x</title>", "<link href='/a'/>"))
    assert "names no warning" in nothing.refused
    assert other.refused == ""
    assert containers.entries(rss("<title>nothing in force</title><link>http://a/rss</link>")) == []


def test_titles_in_a_wrong_encoding_do_not_cost_the_links() -> None:
    index = atom("<title>m\xe9t\xe9o</title><link href='/a'/>", f"<content>{ALERT}</content>")
    damaged = index.decode().encode("latin-1", "replace").replace(b"?" * 4, b"\xb1\xa9\xd3\xea")
    link, inline = containers.entries(damaged)
    assert (link.link, link.refused) == ("/a", "")
    assert inline.inline == b""
    assert "damaged" in inline.refused


@pytest.mark.parametrize("body", [b"", b"<html/>", b"{}", b"<feed>", b"\xff\xfe\x00", b"<rss>\x00</rss>"])
def test_what_is_no_index_is_an_error(body: bytes) -> None:
    with pytest.raises(AlertError):
        containers.entries(body)


def test_entries_that_are_listed_twice_come_once() -> None:
    assert len(containers.entries(atom("<link href='/a'/>", "<link href='/a'/>"))) == 1


def test_every_index_of_the_corpus_is_read() -> None:
    folder = SHARED / "feeds" / "cap" / "containers"
    if not folder.exists():
        pytest.skip("the CAP corpus (../shared/data/feeds/cap) is not here")
    files = [file for file in folder.rglob("*") if file.is_file()]
    assert len(files) == 25
    inline, links, refused, parsed = 0, 0, [], 0
    for file in files:
        for entry in containers.entries(file.read_bytes()):
            inline += bool(entry.inline)
            links += not entry.inline and not entry.refused
            refused += [entry.link] * bool(entry.refused)
            if entry.inline:
                parse(entry.inline, now=NOW)
                parsed += 1
    assert (inline, parsed) == (498, 498)
    assert links == 232
    assert len(refused) == 3, "no_id, no_title and no_link.atom name nothing"

"""The report: JSON as its schema says, and an HTML file that is whole, safe, and looks right in a browser."""

from __future__ import annotations

import html as escaping
import json
import re
import struct
import subprocess
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from tests.needs import program

from popbox.ledger.proof import Copy, Disposition, LegStatus, MaildirLeg, Message, Pop3Leg, QueueLeg, Retrieved, SmtpLeg
from popbox.report import html, run_report
from popbox.report.howto import STATEMENTS, checklist
from popbox.result import Observation, Report, Result, StepResult, Verdict

NOW = datetime(2026, 11, 26, 12, 0, 0, tzinfo=UTC)
HOSTILE = "</pre><script>alert(1)</script><img src=//evil.example/x onerror=alert(2)> {{ 7*7 }} \x1b[2J \u202egnp.exe"
WORD = "a-word-without-any-place-to-break" * 12


def a_message(fate: Disposition, verdict: LegStatus, text: str) -> Message:
    copy = Copy(kind="maildir", path=f"popboxes/{text}", uid=888, gid=888, mode="0600", size=9, sha256="0" * 64)
    got = Retrieved(by="step 3", login=text, number=1, octets=10, sha256="1" * 64)
    legs = (
        SmtpLeg(
            verdict=LegStatus.PASSED, said=text, at_s=0.004, command="DATA", reply="250 ok", transcript=(f"S: {text}",)
        ),
        QueueLeg(verdict=LegStatus.PASSED, said=text, at_s=0.012, log=(text, "end msg 1")),
        MaildirLeg(verdict=verdict, said=text, at_s=0.014, expected=(text,), copies=(copy,)),
        Pop3Leg(verdict=LegStatus.NOT_LOOKED_AT, said=text, retrieved=(got,)),
    )
    return Message(
        id="one",
        token="pb-1",
        sender=text,
        recipients=("joe@domain.com", text),
        octets=9,
        sha256="2" * 64,
        sent_at=NOW,
        expected=text,
        ended=fate,
        why=text,
        verdict=verdict,
        legs=legs,
    )


def a_result(verdict: Verdict, text: str, proves: list[str]) -> Result:
    passed = verdict is not Verdict.FAILED
    looked = LegStatus.NOT_LOOKED_AT if verdict is Verdict.SKIPPED else LegStatus(verdict.value)
    seen = Observation(
        passed=passed, said=text, hint=text, transcript=(f"C: {text}",), evidence={text: text, "two": f"{text}\n{text}"}
    )
    return Result(
        scenario=f"scenarios/{verdict.value}-{text}.toml",
        title=text,
        proves=proves,
        host="local",
        mta="stand-in",
        verdict=verdict,
        reason="" if passed else text,
        steps=(StepResult(number=0, name=text, verb="send", seen=seen, took_s=0.1),),
        messages=(a_message(Disposition.ONCE if passed else Disposition.LOST, looked, text),),
        logs={} if passed else {"smtp": text},
        began=NOW,
        took_s=1.5,
    )


def a_report(text: str = "plain words") -> Report:
    results = [a_result(Verdict.PASSED, text, ["H-1", "H-2"]), a_result(Verdict.FAILED, text, ["H-2", "house-1"])]
    return run_report.make("local", "stand-in", text, NOW, results)


def test_the_committed_schema_is_that_of_the_model() -> None:
    """`python -m popbox.report.run_report` writes it again."""
    assert json.loads(run_report.SCHEMA.read_text()) == run_report.schema()


def test_a_report_is_as_the_schema_says_and_reads_back_the_same() -> None:
    report = a_report(HOSTILE)
    text = run_report.as_json(report)
    jsonschema.Draft202012Validator.check_schema(run_report.schema())
    jsonschema.validate(json.loads(text), run_report.schema())
    assert Report.model_validate_json(text) == report


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("results", 0, "messages", 0, "ended"), "delivered twice"),
        (("results", 0, "messages", 0, "legs", 2, "copies", 0, "mode"), "600"),
        (("results", 0, "messages", 0, "token"), None),
        (("format",), 2),
    ],
)
def test_the_schema_refuses_what_is_no_report(path: tuple[str | int, ...], value: object) -> None:
    table = json.loads(run_report.as_json(a_report()))
    inner = table
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(table, run_report.schema())


def test_the_checklist_has_every_statement_and_takes_the_worst() -> None:
    lines = {line.statement: line for line in checklist(a_report().results)}
    assert list(lines)[:36] == [f"H-{number}" for number in range(1, 37)] == list(STATEMENTS)
    assert [lines[one].verdict for one in ("H-1", "H-2", "H-3", "house-1")] == [
        Verdict.PASSED,
        Verdict.FAILED,
        None,
        Verdict.FAILED,
    ]


class Page(HTMLParser):
    """The elements and the text of a page; it must be well nested."""

    VOID = ("meta", "line", "circle", "img", "link", "br")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(text)
        assert not self.open, f"left open: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open[-1:] == [tag], f"</{tag}> where {self.open} is open"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        self.text += data


def test_a_hostile_subject_is_text_everywhere() -> None:
    page = Page(html.render(a_report(HOSTILE)))
    names = {tag for tag, _ in page.tags}
    assert not names & {"script", "img", "iframe", "object", "embed", "form", "base", "link"}
    assert not [key for _, attributes in page.tags for key in attributes if key.startswith("on")]
    assert page.text.count("<script>alert(1)</script>") > 20, "it is shown, as text"
    assert "{{ 7*7 }}" in page.text
    assert "\\x1b[2J \\u202egnp.exe" in page.text, "what cannot be seen is made visible"
    assert not re.search("[\x1b\u202e]", page.text)


def test_the_page_asks_for_nothing_from_outside() -> None:
    text = html.render(a_report())
    page = Page(text)
    assert [tag for tag, attributes in page.tags if attributes.keys() & {"src", "srcset", "action"}] == []
    assert all((attributes["href"] or "").startswith("#s") for tag, attributes in page.tags if tag == "a")
    assert not re.search(r"url\(|@import|https?:", text)
    assert any("default-src 'none'" in (attributes.get("content") or "") for _, attributes in page.tags)


def test_the_page_says_all_that_the_result_says() -> None:
    page = Page(html.render(a_report()))
    for words in ("1 passed, 1 failed", "host ", "stand-in", "it is not qmail", "not in this run", "house-1", "lost"):
        assert words in page.text, words
    ids = {attributes.get("id") for _, attributes in page.tags}
    assert {(attributes["href"] or "")[1:] for tag, attributes in page.tags if tag == "a"} <= ids
    ways = [attributes for _, attributes in page.tags if attributes.get("class") == "way"]
    assert [way["aria-label"] for way in ways] == [
        "SMTP passed, queue passed, Maildir passed, POP3 not looked at",
        "SMTP passed, queue passed, Maildir failed, POP3 not looked at",
    ]


browser = pytest.mark.needs("chromium")
WIDTHS = (360, 768, 1280)
FRAME = """<iframe width="{width}" height="800" srcdoc="{page}"></iframe>"""
LOOK = """<!doctype html><title></title>{frames}<script>
onload = () => {{
  const seen = (one) => one.getBoundingClientRect().width > 0;
  document.title = JSON.stringify([...document.querySelectorAll("iframe")].map((frame) => {{
    const inner = frame.contentWindow, doc = inner.document, body = doc.body;
    return {{
      over: doc.documentElement.scrollWidth - doc.documentElement.clientWidth,
      paper: inner.getComputedStyle(body).backgroundColor, ink: inner.getComputedStyle(body).color,
      circles: [...doc.querySelectorAll("svg.way circle")].filter(seen).map((one) => inner.getComputedStyle(one).fill),
      open: doc.querySelectorAll("details.scenario[open]").length,
    }};
  }}));
}};
</script>"""


def chromium(tmp_path: Path, *argv: str) -> str:
    """Run headless Chromium; no sandbox, since CI is root in a container and the page is our own."""
    flags = ["--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    argv = (program("chromium"), *flags, *argv)
    done = subprocess.run(argv, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def look(tmp_path: Path, pages: list[tuple[str, int]], *flags: str) -> list[dict[str, Any]]:
    """What a browser makes of pages at widths: measured from outside, as a page itself may run no script."""
    frames = "".join(FRAME.format(width=width, page=escaping.escape(text)) for text, width in pages)
    around = tmp_path / "look.html"
    around.write_text(LOOK.format(frames=frames))
    found = re.search(r"<title>(.*?)</title>", chromium(tmp_path, *flags, "--dump-dom", around.as_uri()))
    assert found
    seen: list[dict[str, Any]] = json.loads(escaping.unescape(found.group(1)))
    return seen


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """All in one start of the browser, which takes a second."""
    page, wide = html.render(a_report()), html.render(a_report(WORD))
    pages = {str(width): (wide, width) for width in WIDTHS} | {
        "broken": (page.replace("</main>", "<div style='width:900px'>x</div></main>"), 360),
        "day": (page, 800),
    }
    return dict(zip(pages, look(tmp_path_factory.mktemp("browser"), [*pages.values()]), strict=True))


@browser
@pytest.mark.parametrize("width", WIDTHS)
def test_a_browser_shows_it_without_a_sideways_scroll(width: int, seen: dict[str, dict[str, Any]]) -> None:
    """On a phone, a tablet and a desk; with words that have no place to break, and the failed scenario unfolded."""
    found = seen[str(width)]
    assert found["over"] == 0
    assert found["open"] == 1
    assert len(set(found["circles"])) == 3, "passed, failed and not looked at differ"


@browser
def test_the_check_for_a_sideways_scroll_can_fail(seen: dict[str, dict[str, Any]]) -> None:
    assert seen["broken"]["over"] != 0


@browser
def test_dark_mode_turns_paper_and_ink(tmp_path: Path, seen: dict[str, dict[str, Any]]) -> None:
    [night] = look(tmp_path, [(html.render(a_report()), 800)], "--blink-settings=preferredColorScheme=0")
    light = {
        name: [sum(map(int, re.findall(r"\d+", found[name])[:3])) for found in (seen["day"], night)]
        for name in ("paper", "ink")
    }
    assert light["paper"][0] > 600 > 200 > light["paper"][1]
    assert light["ink"][0] < 200 < 600 < light["ink"][1]


@browser
def test_a_screenshot_can_be_taken(tmp_path: Path) -> None:
    """CI keeps nothing of it; the size tells a page from an empty one."""
    (tmp_path / "report.html").write_text(html.render(a_report()))
    shot = tmp_path / "report.png"
    chromium(tmp_path, f"--screenshot={shot}", "--window-size=1200,1600", (tmp_path / "report.html").as_uri())
    octets = shot.read_bytes()
    assert octets.startswith(b"\x89PNG")
    assert struct.unpack(">II", octets[16:24]) == (1200, 1600)
    assert len(octets) > 40_000

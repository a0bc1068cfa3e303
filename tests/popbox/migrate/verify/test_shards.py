"""A host cut over many machines: each box in one shard, and one report of all, or a refusal."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import kubernetes_validate
import pytest
import yaml
from click.testing import CliRunner, Result
from tests.popbox import ROOT
from tests.popbox.migrate.conftest import Verify
from tests.popbox.migrate.damage import doubled, lost
from tests.popbox.migrate.houses import box, csv, logins, moved, ours
from tests.popbox.migrate.verify.test_verify import lasting

from popbox.cli.migrate import migrate
from popbox.clients.wire import Address
from popbox.migrate.pop3.accounts import Unusable, load
from popbox.migrate.verify.lines import as_lines
from popbox.migrate.verify.report import Report, Totals
from popbox.migrate.verify.result import Box
from popbox.migrate.verify.shard import Shard, parse

OF = 3
Move = tuple[Address, Address, Path]


@pytest.fixture
def move(place: Path) -> Iterator[Move]:
    """12 boxes, one with a loss, one with a double, one whose message went to a box of another shard."""
    for number in range(12):
        box(place / "old", f"user{number:02}", 3)
    new = moved(place / "old", place / "new")
    lost(new / "user03", Random(1))
    doubled(new / "user07", Random(2))
    astray = next((new / "user05/Maildir/new").iterdir())
    target = next(n for n in range(12) if n not in (3, 5, 7) and part_of(n) != part_of(5))
    astray.rename(new / f"user{target:02}/Maildir/new" / f"{astray.name}.astray")
    with ours(place, place / "old", "qmail") as old, ours(place, new, "rfc1939") as there:
        yield old, there, csv(place / "a.csv", logins(place / "old"))


def part_of(number: int) -> int:
    return next(k for k in range(1, OF + 1) if Shard(k, OF).holds(f"user{number:02}"))


@pytest.fixture
def parts(move: Move, place: Path, verify: Verify) -> list[Path]:
    files = [place / f"part{k}" for k in range(1, OF + 1)]
    for k, file in enumerate(files, 1):
        verify(*move, "--shard", f"{k}/{OF}", "--json-lines", str(file), "--state", str(place / f"state{k}"))
    return files


def merge(*argv: object) -> Result:
    return CliRunner().invoke(migrate, ["verify", "merge", *map(str, argv)], standalone_mode=False)


def test_the_merged_report_is_that_of_a_whole_run(move: Move, place: Path, verify: Verify, parts: list[Path]) -> None:
    code, whole = verify(*move, "--csv", str(place / "whole.csv"))
    done = merge(*parts[::-1], "--json", place / "m.json", "--csv", place / "m.csv")
    assert done.exception is None
    assert (code, done.return_value) == (1, 1)
    merged = json.loads((place / "m.json").read_text())
    merged["boxes"].sort(key=lambda found: found["login"])
    assert lasting(merged) == lasting(whole)
    assert "are in the box of" in json.dumps(merged)
    assert Report.model_validate(merged)
    assert sorted(row.split(",")[:3] for row in (place / "m.csv").read_text().splitlines()) == sorted(
        row.split(",")[:3] for row in (place / "whole.csv").read_text().splitlines()
    )
    printed = merge(*parts).output
    assert "12 boxes in" in printed
    assert re.search(r"missing: number \d, UIDL", printed)


def test_each_login_is_in_one_shard_whatever_the_order() -> None:
    names = [f"user{n}@d.example" for n in range(1000)] + ["\udcff", ""]
    for name in names:
        assert [Shard(k, 7).holds(name) for k in range(1, 8)].count(True) == 1
    sizes = [sum(Shard(k, 7).holds(name) for name in names) for k in range(1, 8)]
    assert min(sizes) > 100
    pinned = [k for k in range(1, 21) if Shard(k, 20).holds("joe@domain.com")]
    assert pinned == [9], "a shard holds the same boxes in the next version too"


@pytest.mark.parametrize("text", ["0/3", "4/3", "3", "a/b", "1/0", "-1/3", "1/100001", "1/3/5", "\u0661/3"])
def test_what_is_no_shard(text: str) -> None:
    with pytest.raises(ValueError, match="K"):
        parse(text)


def changed(line: int, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Callable[[Path], None]:
    def work(path: Path) -> None:
        lines = path.read_text().splitlines()
        lines[line] = json.dumps(change(json.loads(lines[line])), separators=(",", ":"))
        path.write_text("".join(f"{one}\n" for one in lines))

    return work


def without(line: int) -> Callable[[Path], None]:
    def work(path: Path) -> None:
        lines = path.read_text().splitlines(keepends=True)
        del lines[line]
        path.write_text("".join(lines))

    return work


def other_host(head: dict[str, Any]) -> dict[str, Any]:
    return head | {"new": head["new"] | {"address": "192.0.2.1:110"}}


REFUSED: dict[str, tuple[Callable[[Path], None], str]] = {
    "another host": (changed(0, other_host), "is of another verification: new is"),
    "without content": (changed(0, lambda head: head | {"content": False}), "another verification: content is False"),
    "another number of shards": (changed(0, lambda head: head | {"shard": "2/4"}), "number of shards is 4, not 3"),
    "the same shard": (changed(0, lambda head: head | {"shard": "1/3"}), "is shard 1/3, and so is"),
    "no shard": (changed(0, lambda head: head | {"shard": "x"}), "shard: 'x' is not K/N"),
    "a box of another shard": (
        changed(1, lambda found: found | {"login": next(f"u{n}" for n in range(99) if Shard(1, 3).holds(f"u{n}"))}),
        "is not of shard 2/3",
    ),
    "a box less": (without(1), "and says that it has"),
    "cut off": (without(-1), "has no end"),
    "no report": (lambda path: path.write_text("{}\n") and None, "line 1: is no report"),  # type: ignore[func-returns-value]
    "another program's line": (changed(1, lambda _: {"x": 1}), "line 2: is no line of a report"),
    "a line behind": (lambda path: path.write_text(path.read_text() * 2) and None, "behind the end"),  # type: ignore[func-returns-value]
    "gone": (Path.unlink, "cannot be read"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_parts_that_do_not_fit_are_refused(parts: list[Path], place: Path, case: str) -> None:
    change, said = REFUSED[case]
    change(parts[1])
    done = CliRunner().invoke(migrate, ["verify", "merge", *map(str, parts), "--json", str(place / "out.json")])
    assert said in str(done.exception) + done.output
    assert not (place / "out.json").exists()
    assert done.exit_code != 0


def test_a_login_of_two_boxes_in_different_shards_is_refused_by_each(place: Path) -> None:
    """Each shard alone would compare a box of its own with the same new one, and say nothing."""
    file = place / "all.csv"
    first, other = user(part=1), user(part=2)
    file.write_text(f"login,password,new_login\n{first},x,both\nbetween,x,\n{other},x,both\n")
    for k in range(1, OF + 1):
        with pytest.raises(Unusable, match=r"all\.csv: line 4: the new login stands in line 2 already"):
            load(file, Shard(k, OF).holds)


def user(part: int) -> str:
    return next(f"user{n:02}" for n in range(12) if part_of(n) == part)


@pytest.mark.parametrize("name", ["new_login", "login"])
def test_parts_that_give_a_login_to_two_boxes_are_refused(parts: list[Path], place: Path, name: str) -> None:
    """Made from two accounts files, or put together by hand."""
    both = {name: next(f"u{n}" for n in range(99) if Shard(2, OF).holds(f"u{n}"))}
    changed(2, lambda found: found | both)(parts[1])
    changed(1, lambda found: found | both)(parts[1 if name == "login" else 0])
    done = CliRunner().invoke(migrate, ["verify", "merge", *map(str, parts), "--json", str(place / "out.json")])
    side, first = ("old", parts[1]) if name == "login" else ("new", parts[0])
    assert f"{parts[1]}: line 3: the {side} login is that of {first}: line 2 already" in str(done.exception)
    assert not (place / "out.json").exists()


def test_a_missing_shard_is_no_verdict(parts: list[Path]) -> None:
    done = merge(parts[0], parts[2])
    assert done.return_value == 3
    assert "1 of 3 shards are missing: 2" in done.output


def test_a_shard_is_of_its_state_file(move: Move, place: Path, verify: Verify) -> None:
    state = place / "state"
    verify(*move, "--shard", "1/3", "--state", str(state))
    state.write_text("".join(state.read_text().splitlines(keepends=True)[:-1]))
    _, report = verify(*move, "--shard", "1/3", "--state", str(state))
    assert report["resumed"] == report["totals"]["boxes"]
    state.write_text("".join(state.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(Exception, match="is of another run"):
        verify(*move, "--shard", "2/3", "--state", str(state))


def test_memory_does_not_grow_with_the_boxes(place: Path, parts: list[Path]) -> None:
    """60,000 boxes take no more than 6,000."""
    kib = [_merged(place, parts[0], boxes) for boxes in (6_000, 60_000)]
    assert kib[1] < kib[0] + 20_000


def _merged(place: Path, part: Path, boxes: int) -> int:
    report = Report.model_validate(json.loads(EMPTY))
    row = json.loads(part.read_text().splitlines()[1])
    head, foot = as_lines(report, "1/1").splitlines()
    file = place / "many"
    with file.open("w") as out:
        out.write(head + "\n")
        for number in range(boxes):
            out.write(
                Box.model_validate(row | {"login": f"u{number}", "new_login": f"u{number}"}).model_dump_json() + "\n"
            )
        out.write(foot.replace('"boxes":0', f'"boxes":{boxes}') + "\n")
    script = "import resource, subprocess, sys; code = subprocess.call(sys.argv[1:]); "
    script += "print(code, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    argv = [sys.executable, "-m", "popbox", "migrate", "verify", "merge", str(file), "--csv", os.devnull]
    done = subprocess.run([sys.executable, "-c", script, *argv], capture_output=True, text=True, check=True)
    code, found = done.stdout.splitlines()[-1].split()
    assert code in ("0", "1"), done.stdout + done.stderr
    return int(found)


SIDE = {"address": "h:110", "tls": "none", "profile": "auto", "profiles_seen": {}, "leaving": ""}
COUNTS = {name: 0 for name in Totals.model_fields if name not in ("verdicts", "findings")}
EMPTY = json.dumps(
    {
        "schema": "popbox.migrate-verify/1",
        **dict.fromkeys(("old", "new"), SIDE),
        "content": True,
        "began": "",
        "took_s": 0.0,
        "resumed": 0,
        "boxes": [],
        "totals": {**COUNTS, "verdicts": {}, "findings": {}},
    }
)


def test_the_kubernetes_job_of_the_page_is_valid_and_covers_every_shard() -> None:
    page = (ROOT / "harness/popbox/migrate/README.md").read_text()
    (text,) = re.findall(r"```yaml\n(apiVersion: batch/v1\n.*?)```", page, re.DOTALL)
    job = yaml.safe_load(text)
    kubernetes_validate.validate(job, "1.29", strict=True)
    spec = job["spec"]
    (container,) = spec["template"]["spec"]["containers"]
    (script,) = container["args"]
    shards = int(re.findall(r"--shard \$k/(\d+)", script)[0])
    assert spec["completions"] == shards
    assert (spec["completionMode"], "k=$((JOB_COMPLETION_INDEX + 1))" in script) == ("Indexed", True)
    assert subprocess.run(["sh", "-n", "-c", script], check=False).returncode == 0

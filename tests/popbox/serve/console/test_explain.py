"""An address on the old and the new host of a move, and the files that decide, each line at its place."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote, urljoin, urlsplit

import pytest
from tests.popbox.serve.console.test_console import TAGS, judge
from tests.popbox.serve.served import octets, serving

from popbox.hosts.base import Host
from popbox.serve.console.words import file_link


def mailhost(home: Path, *argv: str) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "mailhost", "--home", str(home), *argv], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr


@pytest.fixture(scope="module")
def old() -> Iterator[Path]:
    with old_home() as home:
        yield home


@contextmanager
def old_home() -> Iterator[Path]:
    """joe is as on the new host, sales went to ann, and there is a link where .qmail was."""
    with tempfile.TemporaryDirectory(prefix="popbox-old-") as place:
        Path(place).chmod(0o755)  # pytest's own folders hide what is below them from popuser
        yield _made(Path(place) / "qmail")


def _made(home: Path) -> Path:
    mailhost(home, "init", "--me", "old.domain.com")
    mailhost(home, "domain", "add", "domain.com")
    for name in ("joe", "ann"):
        mailhost(home, "mailbox", "add", f"{name}@domain.com", "--login", name, "--crypt", "DmIMm9e5Hc8ic")
    mailhost(home, "forward", "add", "sales@domain.com", "ann@domain.com")
    box = home / "popboxes/domain-com/ann"
    (box / ".qmail").unlink()
    (box / ".qmail").symlink_to(home / "users/poppasswd")
    return home


@pytest.fixture(scope="module")
def both(state: Path, host: Host, old: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    assert host.name == "local"
    store = str(tmp_path_factory.mktemp("store") / "journeys.db")
    with serving(state, "--beside", str(old), "--store", store) as (port, _):
        yield port


def verdict(text: str) -> str:
    found = re.search(r'data-verdict="([^"]+)"', text)
    assert found, text
    return found[1]


def shown(port: int, address: str) -> str:
    path = f"/explain?address={quote(address)}"
    status, body, headers = octets(port, path)
    assert judge(path, status, body, headers) == []
    return body.decode()


@pytest.mark.parametrize(("address", "word"), [
    ("joe@domain.com", "the same"), ("sales@domain.com", "changed"), ("nobody@domain.com", "the same"),
    ("JOE@Domain.com", "the same"), ("ann@domain.com", "changed"), ("someone@elsewhere.example", "the same"),
])  # fmt: skip
def test_an_address_is_compared_with_the_old_host(both: int, address: str, word: str) -> None:
    assert verdict(shown(both, address)) == word


def test_each_file_is_linked_at_its_line_on_both_hosts(both: int, host: Host, old: Path) -> None:
    text = shown(both, "joe@domain.com")
    links = re.findall(r'href="(/file[^"]+)"', text.partition("data-both")[2].partition("</table>")[0])
    assert {("of=old" in one) for one in links} == {True, False}
    for link in links:
        path, _, anchor = link.replace("&amp;", "&").partition("#")
        status, body, headers = octets(both, urljoin("/explain", path))
        assert judge(path, status, body, headers) == []
        assert f'<li id="{anchor}">'.encode() in body if anchor else True, link
    name = "users/assign"
    lines = [line for line in (old / name).read_text().splitlines() if "ann" in line]
    assert lines
    there, here = (octets(both, f"/file?path={name}{of}")[1].decode() for of in ("&of=old", ""))
    assert all(line in there and line not in here for line in lines)
    assert os.fspath(old) in there


def test_a_link_of_the_old_host_shows_no_password_file(both: int) -> None:
    status, body, _ = octets(both, "/file?of=old&path=popboxes/domain-com/ann/.qmail")
    assert (status, b"it is a link" in body, b"DmIMm9e5Hc8ic" in body) == (404, True, False)


@pytest.mark.parametrize("link", [".qmail-file", "folder/.qmail"])
def test_a_link_that_popuser_made_shows_no_password_file(port: int, host: Host, link: str) -> None:
    made = {".qmail-file": "ln -s ../../../users/poppasswd .qmail-file", "folder/.qmail": "ln -s ../ann folder"}
    box = 'cd "$MAILHOST_HOME/popboxes/domain-com/joe"'
    assert host.shell(f"{box} && {made[link]}").code == 0
    try:
        status, body, _ = octets(port, f"/file?path=popboxes/domain-com/joe/{link}")
        assert (status, b"no link is followed" in body, b"DmIMm9e5Hc8ic" in body) == (404, True, False)
        assert octets(port, "/file?path=popboxes/domain-com/joe/.qmail")[0] == 200
        assert octets(port, "/file?path=popboxes/domain-com/joe/.qmail-none")[0] == 404
    finally:
        host.shell(f"{box} && rm {link.partition('/')[0]}")


@pytest.mark.parametrize("path", [
    "path=users/poppasswd&of=old", "path=../x&of=old", "path=control/me&of=other", "path=control/none&of=old",
])  # fmt: skip
def test_of_the_old_host_too_only_files_that_route_mail_are_shown(both: int, path: str) -> None:
    assert octets(both, f"/file?{path}")[0] == 404


def test_there_is_no_old_host_where_none_was_named(port: int) -> None:
    assert "data-verdict" not in shown(port, "joe@domain.com")
    assert octets(port, "/file?path=control/me&of=old")[0] == 404


def test_no_text_is_markup_beside_an_old_host(both: int) -> None:
    wrong = []
    for text in TAGS[::4]:
        path = f"/explain?address={quote(text)}"
        wrong += [one for one in judge(path, *octets(both, path)) if not one.endswith(": 422")]
    assert wrong == []


def test_a_long_file_is_shown_in_pages_that_links_lead_into(port: int, host: Host) -> None:
    lines = [f"domain{number}.example" for number in range(1, 1235)]
    before = (
        host.read("control/badmailfrom") if not host.shell('test -e "$MAILHOST_HOME/control/badmailfrom"').code else b""
    )
    host.write("control/badmailfrom", "\n".join([*lines, ""]).encode())
    try:
        for line in (1, 500, 501, 1234):
            link = file_link("control/badmailfrom", line)
            path, anchor = urlsplit(link)._replace(fragment="").geturl(), urlsplit(link).fragment
            status, body, headers = octets(port, path)
            assert judge(path, status, body, headers) == []
            assert f'<li id="{anchor}"><code>domain{line}.example</code>' in body.decode()
        last = octets(port, "/file?path=control/badmailfrom&first=1001")[1].decode()
        assert (last.count("<li id"), 'rel="next"' in last, 'rel="prev"' in last) == (234, False, True)
    finally:
        host.write("control/badmailfrom", before)

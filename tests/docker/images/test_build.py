"""Two builds of one tree on one base have the same files."""

from __future__ import annotations

import hashlib
import io
import os
import re
import secrets
import subprocess
import tarfile

import pytest
from tests.popbox import ROOT

pytestmark = [pytest.mark.docker, pytest.mark.needs("host docker"), pytest.mark.slow, pytest.mark.timeout(600)]
# The engine puts its own into every container; they are no part of the image.
ENGINES = {".dockerenv", "etc/hosts", "etc/hostname", "etc/resolv.conf", "dev/console"}


INSIDE = """
import importlib, pathlib, pkgutil, aiosmtplib, dns.asyncresolver, mailhost, uvloop
names = [one.name for one in pkgutil.walk_packages(mailhost.__path__, "mailhost.") if not one.name.endswith("__main__")]
print(len([importlib.import_module(name) for name in names]))
parts = [path.read_bytes() for path in pathlib.Path("/opt/mailhost").rglob("*.so")]
print(len(parts), len([part for part in parts if b".debug_info" in part]))
"""


def tree(image: str) -> dict[str, tuple[object, ...]]:
    """Path -> type, mode, owner, link and digest of everything in an image, without dates."""
    number = subprocess.run(["docker", "create", image], capture_output=True, text=True, check=True).stdout.strip()
    try:
        octets = subprocess.run(["docker", "export", number], capture_output=True, check=True).stdout
    finally:
        subprocess.run(["docker", "rm", number], capture_output=True, check=True)
    found: dict[str, tuple[object, ...]] = {}
    with tarfile.open(fileobj=io.BytesIO(octets)) as tar:
        for one in tar:
            file = tar.extractfile(one) if one.isreg() else None
            digest = hashlib.sha256(file.read()).hexdigest() if file else ""
            found[one.name] = (one.type, one.mode, one.uid, one.gid, one.linkname, digest)
    return {name: facts for name, facts in found.items() if name not in ENGINES}


@pytest.fixture(scope="module")
def builds() -> list[dict[str, tuple[object, ...]]]:
    """The files of two builds of pop3; the second uses no cache."""
    project = f"buildtest-{secrets.token_hex(4)}"
    trees = []
    for tag, cache in ((f"{project}-1", []), (f"{project}-2", ["--no-cache"])):
        environ = {**os.environ, "POPBOX_TAG": tag, "COMPOSE_PROFILES": "standin", "QMAIL_BASE": ""}
        build = ["docker", "compose", "build", "--quiet", *cache, "pop3"]
        subprocess.run(build, cwd=ROOT, env=environ, check=True, capture_output=True, timeout=500)
        try:
            trees.append(tree(f"popbox/pop3:{tag}"))
        finally:
            subprocess.run(["docker", "rmi", f"popbox/pop3:{tag}"], capture_output=True, check=False)
    return trees


def test_two_builds_are_alike(builds: list[dict[str, tuple[object, ...]]]) -> None:
    first, second = builds
    assert len(first) > 1000
    assert {name for name in first.keys() | second.keys() if first.get(name) != second.get(name)} == set()


def test_no_cache_and_no_package_manager_of_python_stays(builds: list[dict[str, tuple[object, ...]]]) -> None:
    names = builds[0].keys()
    assert not [name for name in names if name.startswith(("var/lib/apt/lists/", "var/cache/apt/", "root/.cache"))]
    assert not [name for name in names if "/site-packages/pip" in name or "/uvloop" in name]
    assert not [name for name in names if re.search(r"/python3\.\d+/(unittest|pydoc\.py|lib-dynload/_test)", name)]
    assert [name for name in names if re.search(r"/python3\.\d+/(smtplib|mailbox)\.py", name)], (
        "a program in .qmail has it"
    )


def test_each_module_of_ours_can_be_imported_and_no_compiled_part_has_debug_information() -> None:
    """Where most is installed: the stand-in has what pop3 has, and compiled parts of others."""
    project = f"buildtest-{secrets.token_hex(4)}"
    environ = {**os.environ, "POPBOX_TAG": project, "COMPOSE_PROFILES": "standin", "QMAIL_BASE": ""}
    subprocess.run(["docker", "compose", "build", "--quiet", "standin"], cwd=ROOT, env=environ, check=True, timeout=500)
    try:
        argv = ["docker", "run", "--rm", "-i", f"popbox/standin:{project}", "python3", "-"]
        done = subprocess.run(argv, input=INSIDE, capture_output=True, text=True, check=True, timeout=100)
    finally:
        subprocess.run(["docker", "rmi", f"popbox/standin:{project}"], capture_output=True, check=False)
    modules, compiled, debugged = done.stdout.split()
    assert int(modules) > 150, done.stderr
    assert (int(compiled) > 0, int(debugged)) == (True, 0)

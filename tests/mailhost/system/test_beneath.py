"""Paths in directories of another user: what is refused, and that nothing outside is touched."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mailhost.system.beneath import Beneath
from mailhost.system.reading import Refused, TooLarge, read_file

AS_ROOT = pytest.mark.needs("root")
OTHER = 888


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Beneath]:
    """``top/box`` beside ``outside``; as root both top and box are another user's, as popuser's are."""
    (tmp_path / "top/box").mkdir(parents=True)
    (tmp_path / "outside/below").mkdir(parents=True)
    (tmp_path / "outside/secret").write_text("of root")
    (tmp_path / "outside/secret").chmod(0o640)
    if os.geteuid() == 0:
        os.chown(tmp_path / "top", OTHER, OTHER)
        os.chown(tmp_path / "top/box", OTHER, OTHER)
    with Beneath(tmp_path / "top") as beneath:
        yield beneath


def seen(place: Path) -> dict[str, tuple[int, int, int, bytes]]:
    """Mode, owner and octets of all that lies there."""
    found = {}
    for path in [place, *place.rglob("*")]:
        status = path.lstat()
        octets = path.read_bytes() if path.is_file() else b""
        found[str(path)] = (status.st_mode, status.st_uid, status.st_gid, octets)
    return found


OPERATIONS: dict[str, Callable[[Beneath, str], object]] = {
    "read": lambda tree, path: tree.read(f"{path}/secret", 99, OTHER),
    "lstat": lambda tree, path: tree.lstat(f"{path}/secret"),
    "names": lambda tree, path: tree.names(path),
    "make": lambda tree, path: tree.make(f"{path}/new", 0o700),
    "write": lambda tree, path: tree.write(f"{path}/new", b"x", 0o600, None, sync=True),
    "rename out": lambda tree, path: tree.rename(f"{path}/secret", "box/stolen"),
    "rename in": lambda tree, path: tree.rename("box/mine", f"{path}/new"),
    "sync": lambda tree, path: tree.sync(path),
    "unlink": lambda tree, path: tree.unlink(f"{path}/secret"),
    "give": lambda tree, path: tree.give(path, OTHER, OTHER),
    "shut": lambda tree, path: tree.shut(f"{path}/secret", 0o666),
    "remove": lambda tree, path: tree.remove(f"{path}/below"),
    "remove empty": lambda tree, path: tree.remove_empty(f"{path}/below"),
}


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("where", ["box", "."])
def test_no_operation_goes_through_a_link(tree: Beneath, tmp_path: Path, operation: str, where: str) -> None:
    link = tmp_path / "top" / where / "way"
    link.symlink_to(tmp_path / "outside")
    (tmp_path / "top/box/mine").write_text("")
    before = seen(tmp_path / "outside")
    with pytest.raises(Refused, match="is a symbolic link, which is not followed") as refused:
        OPERATIONS[operation](tree, os.path.normpath(f"{where}/way"))
    assert refused.value.filename == str(link)
    assert seen(tmp_path / "outside") == before


@pytest.mark.parametrize("path", ["../outside", "box/../../outside", "box//x", "", "box/.", "/etc"])
def test_a_path_that_leads_out_is_refused(tree: Beneath, path: str) -> None:
    with pytest.raises(Refused, match="leads out"):
        tree.write(path, b"x", 0o600, None, sync=False)


@pytest.mark.parametrize("kind", ["link", "hard link", "FIFO", "file"])
def test_what_is_no_directory_is_not_given_away(tree: Beneath, tmp_path: Path, kind: str) -> None:
    secret, here = tmp_path / "outside/secret", tmp_path / "top/box/Maildir"
    if kind == "link":
        here.symlink_to(tmp_path / "outside")
    elif kind == "hard link":
        here.hardlink_to(secret)
    elif kind == "FIFO":
        os.mkfifo(here)
    else:
        here.write_text("")
    before = seen(tmp_path)
    with pytest.raises(Refused, match="a directory is wanted here"):
        tree.give("box/Maildir", OTHER, OTHER)
    assert seen(tmp_path) == before


def test_the_mode_of_a_file_with_a_second_name_stays(tree: Beneath, tmp_path: Path) -> None:
    (tmp_path / "top/box/.qmail").hardlink_to(tmp_path / "outside/secret")
    with pytest.raises(Refused, match="2 names"):
        tree.shut("box/.qmail", 0o666)
    assert stat.S_IMODE((tmp_path / "outside/secret").stat().st_mode) == 0o640
    (tmp_path / "top/box/.qmail").unlink()
    os.mkfifo(tmp_path / "top/box/.qmail", 0o600)
    with pytest.raises(Refused, match="a FIFO"):
        tree.shut("box/.qmail", 0o666)


@AS_ROOT
def test_a_second_name_of_roots_file_is_not_read_and_of_the_owners_own_is(tree: Beneath, tmp_path: Path) -> None:
    (tmp_path / "top/box/.qmail").hardlink_to(tmp_path / "outside/secret")
    with pytest.raises(Refused, match="is uid 0's file of 2 names"):
        tree.read("box/.qmail", 99, OTHER)
    os.chown(tmp_path / "outside/secret", OTHER, OTHER)
    assert tree.read("box/.qmail", 99, OTHER) == b"of root"


@AS_ROOT
def test_only_roots_link_in_roots_directory_is_followed(tmp_path: Path) -> None:
    """An operator may keep a domain's boxes on another disk."""
    (tmp_path / "top").mkdir()
    (tmp_path / "disk").mkdir()
    (tmp_path / "top/domain-com").symlink_to(tmp_path / "disk")
    with Beneath(tmp_path / "top") as tree:
        tree.make("domain-com/joe", 0o700, (OTHER, OTHER))
    assert (tmp_path / "disk/joe").stat().st_uid == OTHER
    for break_ in (
        lambda: os.lchown(tmp_path / "top/domain-com", OTHER, OTHER),
        lambda: (os.lchown(tmp_path / "top/domain-com", 0, 0), (tmp_path / "top").chmod(0o777)),
    ):
        break_()
        with Beneath(tmp_path / "top") as tree, pytest.raises(Refused):
            tree.make("domain-com/ann", 0o700)
    assert [path.name for path in (tmp_path / "disk").iterdir()] == ["joe"]


@pytest.mark.parametrize("kind", ["FIFO", "directory", pytest.param("device", marks=AS_ROOT), "nothing"])
def test_what_is_no_regular_file_counts_as_none_and_does_not_block(tree: Beneath, tmp_path: Path, kind: str) -> None:
    place = tmp_path / "top/box/.qmail"
    if kind == "device":
        os.mknod(place, stat.S_IFCHR | 0o666, os.makedev(1, 5))
    elif kind != "nothing":
        os.mkfifo(place) if kind == "FIFO" else place.mkdir()
    assert tree.read("box/.qmail", 99, OTHER) is None


def test_a_sparse_file_of_64_gib_is_refused_by_its_size(tree: Beneath, tmp_path: Path) -> None:
    place = tmp_path / "top/box/.qmail"
    place.write_text("")
    os.truncate(place, 64 << 30)
    with pytest.raises(TooLarge, match="is larger than 1048576 octets") as refused:
        tree.read("box/.qmail", 1 << 20, os.geteuid())
    assert refused.value.filename == str(place)
    with pytest.raises(TooLarge, match="is larger than 10 octets"):
        read_file(place, 10)


@pytest.mark.parametrize(("octets", "fits"), [(9, True), (10, True), (11, False)])
def test_the_limit_is_the_last_octet_that_is_read(tmp_path: Path, octets: int, fits: bool) -> None:
    (tmp_path / "file").write_bytes(b"x" * octets)
    if fits:
        assert read_file(tmp_path / "file", 10) == b"x" * octets
    else:
        with pytest.raises(TooLarge):
            read_file(tmp_path / "file", 10)


def test_a_deep_and_wide_directory_goes_and_what_its_links_name_stays(tree: Beneath, tmp_path: Path) -> None:
    """Deeper than descriptors and Python's stack reach, with names that are no UTF-8, and shut for its owner."""
    before = seen(tmp_path / "outside")
    top = os.open(tmp_path / "top/box", os.O_RDONLY)
    os.symlink(tmp_path / "outside", "way", dir_fd=top)
    os.mkfifo("pipe", dir_fd=top)
    os.close(os.open(b"\xff\n", os.O_CREAT, dir_fd=top))
    (tmp_path / "top/box/hard").hardlink_to(tmp_path / "outside/secret")
    (tmp_path / "top/box/shut").mkdir()
    (tmp_path / "top/box/shut/mail").write_text("")
    (tmp_path / "top/box/shut").chmod(0)
    for _ in range(3_000):
        os.mkdir("d", dir_fd=top)
        below = os.open("d", os.O_RDONLY, dir_fd=top)
        os.close(top)
        top = below
    os.close(top)
    tree.remove("box")
    assert os.listdir(tmp_path / "top") == []
    assert seen(tmp_path / "outside") == before


def test_a_link_that_is_removed_leaves_what_it_names(tree: Beneath, tmp_path: Path) -> None:
    (tmp_path / "top/box/way").symlink_to(tmp_path / "outside")
    tree.remove("box/way")
    assert (tmp_path / "outside/secret").exists()
    assert not (tmp_path / "top/box/way").is_symlink()


def test_nothing_is_overwritten_unless_that_is_said(tree: Beneath, tmp_path: Path) -> None:
    for name in ("a", "b"):
        tree.write(f"box/{name}", name.encode(), 0o600, None, sync=False)
    with pytest.raises(FileExistsError) as refused:
        tree.rename("box/a", "box/b")
    assert refused.value.filename == str(tmp_path / "top/box/b")
    with pytest.raises(FileExistsError):
        tree.write("box/b", b"x", 0o600, None, sync=False)
    tree.rename("box/a", "box/b", replace=True)
    assert (tmp_path / "top/box/b").read_text() == "a"


def test_a_private_directory_is_this_users_whatever_the_umask(tree: Beneath, tmp_path: Path) -> None:
    before = os.umask(0o277)
    try:
        tree.make_private("new").close()
    finally:
        os.umask(before)
    made = (tmp_path / "top/new").stat()
    assert (stat.S_IMODE(made.st_mode), made.st_uid) == (0o700, os.geteuid())
    with pytest.raises(FileExistsError):
        tree.make_private("new")


def test_a_private_directory_that_was_exchanged_is_not_used(tree: Beneath, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: OTHER + 1)  # so it looks as if someone else had made it
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(Refused, match="was exchanged"):
        tree.make_private("new")
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_name_goes_from_one_directory_of_the_first_level_to_another(tree: Beneath) -> None:
    """The descriptor of the last one that was walked to is lent, not copied: two in one call stay apart."""
    tree.write("box/a", b"a", 0o600, None, sync=False)
    tree.make("other", 0o700)
    assert tree.lstat("other/b") is None
    tree.rename("box/a", "other/b")
    tree.rename("other/b", "box/c")
    tree.unlink("box/c")
    assert tree.names("box") == tree.names("other") == []

"""An archive of popbox backup that is not whole is never taken for one, wherever it was cut."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest

from popbox.operate import backup
from popbox.operate.backup import ArchiveError, read_whole

MAIL = {f"popboxes/d/joe/Maildir/new/{n}": bytes(range(n, n + 200)) * (n % 4) for n in range(12)}


def written(path: Path, members: dict[str, bytes]) -> bytes:
    """An archive with a manifest, these members, and the end that `backup` writes."""
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w", format=tarfile.PAX_FORMAT) as archive:
        backup._note(archive, backup.MANIFEST, {"format": backup.FORMAT})
        for name, octets in members.items():
            about = tarfile.TarInfo(name)
            about.size = len(octets)
            archive.addfile(about, io.BytesIO(octets))
        backup._note(archive, backup.END, {"members": len(members)})
    return path.read_bytes()


@pytest.mark.parametrize("name", ["mail.tar", "mail.tar.gz"])
def test_cut_anywhere_it_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    whole = written(path, MAIL)
    assert read_whole(path)["format"] == backup.FORMAT
    with tarfile.open(path) as archive:
        end = archive.getmember(backup.END)
    most = end.offset_data + end.size if name.endswith("tar") else len(whole) - 200
    for length in range(0, most, max(1, most // 300)):
        path.write_bytes(whole[:length])
        with pytest.raises(ArchiveError, match=f"{name}: "):
            read_whole(path)


def test_a_member_that_was_taken_out_is_missed(tmp_path: Path) -> None:
    path = tmp_path / "mail.tar"
    written(path, MAIL)
    with tarfile.open(path) as archive, tarfile.open(tmp_path / "less.tar", "w") as less:
        for member in archive:
            if not member.name.endswith("/7"):
                less.addfile(member, archive.extractfile(member))
    with pytest.raises(ArchiveError, match=f"{backup.END}: {len(MAIL) - 1} members are there"):
        read_whole(tmp_path / "less.tar")


def test_an_archive_of_another_format_is_told(tmp_path: Path) -> None:
    path = tmp_path / "old.tar"
    with tarfile.open(path, "w") as archive:
        octets = json.dumps({"format": 1}).encode()
        about = tarfile.TarInfo(backup.MANIFEST)
        about.size = len(octets)
        archive.addfile(about, io.BytesIO(octets))
    with pytest.raises(ArchiveError, match="format 2 is wanted"):
        read_whole(path)

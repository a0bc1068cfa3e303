"""What a person may name as a file: a regular file or a pipe, up to a limit; all else is refused at once."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from mailhost.system.reading import CHUNK, Refused, TooLarge, open_given, read_at_most, read_given


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("/dev/zero", "it is a device, not a file"),
        ("/dev/full", "it is a device, not a file"),
        ("{folder}", "it is a directory, not a file"),
        ("{folder}/fifo", "it is a FIFO, not a file"),
        ("{folder}/link", "it is a FIFO, not a file"),
        ("{folder}/huge", "is larger than 1000 octets, and not read"),
    ],
)
def test_what_is_no_file_is_refused(tmp_path: Path, path: str, why: str) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to("fifo")
    (tmp_path / "huge").touch()
    os.truncate(tmp_path / "huge", 1_001)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(Refused) as refused:
        read_given(path.format(folder=tmp_path), 1_000)
    assert (refused.value.strerror, refused.value.filename) == (why, path.format(folder=tmp_path))
    assert len(os.listdir("/proc/self/fd")) == before, "no descriptor stays open"


def test_a_file_of_the_limit_is_read(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"x" * 1_000)
    assert len(read_given(tmp_path / "f", 1_000)) == 1_000


def test_a_pipe_is_read_to_its_end_and_no_further_than_the_limit() -> None:
    for octets, taken in ((1_000, True), (1_001, False)):
        reader, writer = os.pipe()
        late = threading.Timer(0.05, lambda to=writer, many=octets: (os.write(to, b"x" * many), os.close(to)))
        late.start()
        if taken:
            assert len(read_given(f"/proc/self/fd/{reader}", 1_000)) == octets
        else:
            with pytest.raises(TooLarge):
                read_given(f"/proc/self/fd/{reader}", 1_000)
        late.join()
        os.close(reader)


def test_a_pipe_is_refused_where_its_text_cannot_stand_still() -> None:
    reader, writer = os.pipe()
    with pytest.raises(Refused, match="it is a FIFO"):
        open_given(f"/proc/self/fd/{reader}", pipes=False)
    os.close(reader)
    os.close(writer)


@pytest.mark.parametrize("octets", [0, 1, 11, CHUNK, CHUNK + 1, 3 * CHUNK])
def test_a_file_is_read_whole_whatever_its_size_was_said_to_be(tmp_path: Path, octets: int) -> None:
    """It may have grown since it was looked at; what lies in /proc has no size."""
    (tmp_path / "f").write_bytes(bytes(octets))
    descriptor = os.open(tmp_path / "f", os.O_RDONLY)
    for size in (0, octets, octets + 1, max(0, octets - 1)):
        for most in (1 << 30, 10):
            os.lseek(descriptor, 0, os.SEEK_SET)
            assert len(read_at_most(descriptor, most, size)) == min(most, octets), (size, most)
    os.close(descriptor)

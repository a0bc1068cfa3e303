"""What a person may name as a file of popbox: a regular file or a pipe, up to a limit; all else is refused at once."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from popbox.reading import Refused, octets_of, opened


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("/dev/zero", "it is a device, not a file"),
        ("{folder}", "it is a directory, not a file"),
        ("{folder}/fifo", "it is a FIFO, not a file"),
        ("{folder}/huge", "it is larger than 1000 octets, and not read"),
    ],
)
def test_what_is_no_file_is_refused(tmp_path: Path, path: str, why: str) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "huge").touch()
    os.truncate(tmp_path / "huge", 1_001)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(Refused) as refused:
        octets_of(path.format(folder=tmp_path), 1_000)
    assert (refused.value.strerror, refused.value.filename) == (why, path.format(folder=tmp_path))
    assert len(os.listdir("/proc/self/fd")) == before, "no descriptor stays open"


def test_a_file_that_grows_behind_its_limit_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "f"
    file.write_bytes(b"x\n" * 500)
    with opened(file, 1_000) as lines:
        assert lines.readline() == b"x\n"
        with file.open("ab") as more:
            more.write(b"y" * 100_000)
        with pytest.raises(Refused, match="larger than 1000 octets"):
            lines.read()


def test_a_pipe_is_read_to_its_end_and_no_further_than_the_limit() -> None:
    for octets, taken in ((1_000, True), (1_001, False)):
        reader, writer = os.pipe()
        late = threading.Timer(0.05, lambda to=writer, many=octets: (os.write(to, b"x" * many), os.close(to)))
        late.start()
        if taken:
            assert len(octets_of(f"/proc/self/fd/{reader}", 1_000)) == octets
        else:
            with pytest.raises(Refused):
                octets_of(f"/proc/self/fd/{reader}", 1_000)
        late.join()
        os.close(reader)

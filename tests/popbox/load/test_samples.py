"""Memory that only grows has a slope; a start has none, and a restart begins again."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from popbox.load.books.samples import FILE, Sample, growth, read
from popbox.load.stage.sampler import _sum, samples

HOUR = 3_600


def taken(mb: list[float], pid: int = 7, at: float = 0.0) -> list[Sample]:
    """A sample each 10 s."""
    return [
        Sample(at + 10 * number, "pop3", pid, 1, 99_000, int(one * 1e6 / 1_024), 9, 1, number * 0.5)
        for number, one in enumerate(mb)
    ]


def test_a_line_is_read_as_it_was_written(tmp_path: Path) -> None:
    samples = taken([30.0, 31.0])
    (tmp_path / FILE).write_text("".join(one.line() for one in samples))
    assert read(tmp_path) == samples


@pytest.mark.parametrize("slope", [0.0, 1.0, 36.0, -5.0])
def test_the_slope_is_that_of_the_memory(slope: float) -> None:
    found = next(growth(taken([30 + slope * number * 10 / HOUR for number in range(900)])))
    assert found.rss_mb_h == pytest.approx(slope, abs=0.01)
    assert found.over_s == pytest.approx(0.8 * 8_990, rel=0.01)


def test_of_less_than_an_hour_the_growth_is_what_was_seen() -> None:
    found = next(growth(taken([30 + 10.0 * number * 10 / HOUR for number in range(90)])))
    assert found.over_s == pytest.approx(720, abs=10)
    assert found.rss_mb_h == pytest.approx(10.0 * found.over_s / HOUR, abs=0.01)


def test_what_grows_only_at_its_start_has_no_slope() -> None:
    found = next(growth(taken([20 + min(number, 30) for number in range(360)])))
    assert found.rss_mb_h == pytest.approx(0.0, abs=0.01)


def test_pages_of_a_table_that_workers_share_are_no_growth() -> None:
    """The POP3 server's throttle has a place for each login: of 200, some pages were new after 34,000 sessions."""
    samples = [replace(one, rss_kib=40_000 + 4 * at) for at, one in enumerate(taken([30.0] * 360))]
    found = next(growth(samples))
    assert found.rss_mb_h == pytest.approx(0.0, abs=0.01)
    assert found.rss_mb == pytest.approx((40_000 + 4 * 359) * 1_024 / 1e6)


def test_what_comes_and_goes_has_no_slope_though_more_comes_with_time() -> None:
    """Sessions last longer on a machine that gets busier: a soak had +7.8 descriptors an hour, and left none open."""
    samples = [replace(one, descriptors=9 + (at % 7) * at // 40) for at, one in enumerate(taken([30.0] * 120))]
    found = next(growth(samples))
    assert found.descriptors_h == pytest.approx(0.0, abs=0.01)


def test_the_first_process_stands_for_a_service_whatever_the_numbers_of_its_children() -> None:
    family = [psutil.Process(), psutil.Process(1)]
    assert _sum("smtp", family, 1.0).pid == os.getpid()


def test_a_restart_is_no_growth_and_its_processor_time_counts() -> None:
    samples = taken([30.0] * 20) + taken([50.0] * 40, pid=8, at=200.0)
    found = next(growth(samples))
    assert found.rss_mb_h == pytest.approx(0.0, abs=0.01)
    assert found.cpu_s == pytest.approx(9.5 + 19.5)


def test_few_samples_have_no_slope() -> None:
    assert list(growth(taken([30.0, 90.0, 200.0]))) == []


def test_a_process_is_sampled_with_its_children_and_by_its_programs(tmp_path: Path) -> None:
    child = tmp_path / "child.py"
    child.write_text("input()")
    nested = f"import subprocess, sys; print(1, flush=True); subprocess.run([sys.executable, {str(child)!r}])"
    (tmp_path / "parent.py").write_text(nested)
    argv = [sys.executable, str(tmp_path / "parent.py")]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        program.stdout.readline()
        while "smtp child.py" not in (found := {one.who: one for one in samples("smtp", program.pid, 1.0)}):
            pass
        assert set(found) == {"smtp", "smtp parent.py", "smtp child.py"}
        whole = found["smtp"]
        assert (whole.processes, whole.pid) == (2, program.pid)
        assert whole.rss_kib > whole.own_kib > 2_000
        assert whole.threads >= 2
        assert whole.descriptors >= 6
        assert found["smtp child.py"].processes == 1
        assert [one.who for one in samples("worker 1", program.pid, 1.0)] == ["worker 1"]
        program.communicate("\n")
    assert list(samples("smtp", program.pid, 2.0)) == []
    assert [one.who for one in samples("popbox", os.getpid(), 3.0)] == ["popbox"]

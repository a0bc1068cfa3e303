"""Many scenarios: those that get along share one host and run side by side, the others get a host of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed

from popbox.hosts.base import Host, closing
from popbox.model import Result
from popbox.runner import run
from popbox.scenario import ScenarioFile

SIDE_BY_SIDE = 4  # our choice: they mostly wait, for deadlines and for the mail host's own programs


def run_all(files: list[ScenarioFile], start: Callable[[], Host]) -> Iterator[Result]:
    """Run every file; results come as they are ready. ``start`` brings a host up (raises HostError).

    At an interrupt or an error what has not begun is dropped, and hosts are taken away: what still runs then fails.
    """
    sharing = [file for file in files if not file.scenario.needs.own_host]
    if sharing:
        with closing(start()) as host:
            yield from _side_by_side(sharing, host)
    for file in files:
        if file.scenario.needs.own_host:
            with closing(start()) as host:
                yield run(file, host)


def _side_by_side(files: list[ScenarioFile], host: Host) -> Iterator[Result]:
    pool = ThreadPoolExecutor(min(SIDE_BY_SIDE, len(files)), "scenario")
    try:
        for ended in as_completed([pool.submit(run, file, host) for file in files]):
            yield ended.result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)

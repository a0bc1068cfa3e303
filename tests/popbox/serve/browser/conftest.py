"""One host with mail of every kind and one ``popbox serve`` beside it, for all tests of this folder.

A browser is a fixture of each module, by ``watched.launched``: while Playwright runs, asyncio runs nothing else in this
thread, and tests elsewhere do.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.needs import require
from tests.popbox.serve.browser.moving import moving
from tests.popbox.serve.browser.town import Town, built
from tests.popbox.serve.browser.watched import Watched, context
from tests.popbox.serve.served import serving
from tests.popbox.standin import standin

TOKEN = "0123456789abcdefghij"


@pytest.fixture(scope="package")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    require("Playwright", "chromium")
    state = tmp_path_factory.mktemp("town")
    with standin(state / "popbox") as host, moving(state) as move:
        host.keep()
        said = {"said": "writes with the token of POPBOX_TOKEN", "POPBOX_TOKEN": TOKEN}
        with serving(state, "--allow-writes", *move.options, **said) as (port, _):
            yield built(host, port, move)


@pytest.fixture
def browse(chromium: Any, town: Town) -> Iterator[Any]:
    """A page of a browser as some people have it: ``browse(width=320, script=False)``, watched until the test ends.

    It has entered the console, so that what changes something is there.
    """
    contexts: list[Any] = []

    def opened(width: int = 1280, height: int = 900, *, script: bool = True, **more: Any) -> Watched:
        size = {"width": width, "height": height}
        contexts.append(context(chromium, viewport=size, java_script_enabled=script, base_url=town.url, **more))
        page = contexts[-1].new_page()
        page.goto("/enter")
        page.get_by_label("Token").fill(TOKEN)
        page.get_by_role("button", name="Enter").click()
        page.wait_for_url(f"{town.url}/")
        return Watched(page, town.url)

    yield opened
    for one in contexts:
        one.close()


@pytest.fixture(scope="session")
def pictures() -> Path:
    """Where screenshots go; CI keeps the folder."""
    folder = Path(__file__).parents[4] / "report/console"
    folder.mkdir(parents=True, exist_ok=True)
    return folder

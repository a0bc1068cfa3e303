"""A build removes our untagged images; images in use, tagged ones and other projects' images stay."""

from __future__ import annotations

import re
import secrets
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from docker.errors import ImageNotFound

import docker
from popbox.hosts.docker import images
from popbox.hosts.docker.images import OUR_LABEL, sweep

pytestmark = [pytest.mark.docker, pytest.mark.needs("host docker"), pytest.mark.timeout(120)]
EMPTY_TAR = bytes(10240)
Make = Callable[..., str]


@pytest.fixture
def make(engine: docker.DockerClient) -> Iterator[Make]:
    """A function that makes an empty image with these labels and this tag; all are removed afterwards."""
    made: list[str] = []

    def one(*labels: str, tag: str = "") -> str:
        changes = [f"--change=LABEL {label}" for label in (*labels, f"popbox.test={secrets.token_hex(8)}")]
        command = ["docker", "import", *changes, "-", *([tag] if tag else [])]
        done = subprocess.run(command, input=EMPTY_TAR, capture_output=True, check=True, timeout=60)
        made.append(done.stdout.decode().strip())
        return made[-1]

    yield one
    for image in made:
        subprocess.run(["docker", "rmi", "--force", image], capture_output=True, check=False, timeout=60)


def here(engine: docker.DockerClient, image: str) -> bool:
    try:
        engine.api.inspect_image(image)
    except ImageNotFound:
        return False
    return True


def test_only_what_is_ours_untagged_and_unused_goes(make: Make, engine: docker.DockerClient) -> None:
    ours = make(OUR_LABEL)
    strangers = [
        make(),
        make("org.opencontainers.image.vendor=popbox"),  # a deployment's, from before its last build
        make("org.opencontainers.image.title=popbox"),
    ]
    tagged = make(OUR_LABEL, tag=f"popbox-test-sweep:{secrets.token_hex(8)}")
    used = make(OUR_LABEL)
    container = engine.api.create_container(used, "none")["Id"]
    try:
        sweep(engine)
        assert not here(engine, ours)
        assert [one for one in (*strangers, tagged, used) if not here(engine, one)] == []
    finally:
        engine.api.remove_container(container)
    sweep(engine)
    assert not here(engine, used), "its container is gone"


def test_images_of_earlier_trees_go_when_nobody_has_started_from_them_for_a_while(
    make: Make, engine: docker.DockerClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = (f"popbox/pop3:run-{secrets.token_hex(6)}" for _ in range(2))
    alone, also_theirs = make(OUR_LABEL, tag=ours), make(OUR_LABEL, tag=theirs)
    strangers = make(tag=f"popbox/pop3:run-{secrets.token_hex(6)}")
    engine.images.get(also_theirs).tag("popbox-test-sweep", secrets.token_hex(8))
    assert images.here(engine, [ours, theirs])
    sweep(engine)
    assert here(engine, alone), "another program may be about to start from it"
    monkeypatch.setattr(images, "YOUNG_S", -1.0)
    monkeypatch.setattr(images, "NAME", re.compile(f"{ours}|{theirs}"))  # those of other runs are not ours to age
    sweep(engine)
    assert not here(engine, alone)
    assert here(engine, also_theirs)
    assert here(engine, strangers)


def test_sweepers_do_not_disturb_each_other(make: Make) -> None:
    images = [make(OUR_LABEL) for _ in range(6)]
    engines = [docker.from_env() for _ in range(3)]
    with ThreadPoolExecutor(len(engines)) as pool:
        assert list(pool.map(sweep, engines)) == [None] * len(engines)
    assert not [one for one in images if here(engines[0], one)]

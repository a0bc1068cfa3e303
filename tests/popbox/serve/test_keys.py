"""The token's file, and the tokens of spaces."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from popbox.errors import UnusableError
from popbox.serve.keys import Keys, given, keys_in, take_away


def test_a_file_is_made_for_its_owner_alone_and_used_again(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        keys, made = keys_in(tmp_path / "new/token")
    finally:
        os.umask(before)
    assert made == (tmp_path / "new/token", tmp_path / "new")
    assert len(keys.token) >= 32
    assert stat.S_IMODE((tmp_path / "new/token").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700
    assert keys_in(tmp_path / "new/token") == (keys, ())
    assert keys.token not in repr(keys)
    assert keys_in(tmp_path / "other")[0].token != keys.token
    take_away(made)
    assert [one.name for one in tmp_path.iterdir()] == ["other"]


def test_folders_of_a_file_that_cannot_be_made_go(tmp_path: Path) -> None:
    """A name that is too long, below two folders that are not there; a folder that others use by then stays."""
    with pytest.raises(UnusableError, match="File name too long"):
        keys_in(tmp_path / "new/er" / ("x" * 300))
    assert list(tmp_path.iterdir()) == []
    _, made = keys_in(tmp_path / "new/token")
    (tmp_path / "new/other").touch()
    take_away(made)
    assert [one.name for one in (tmp_path / "new").iterdir()] == ["other"]


@pytest.mark.parametrize(
    "text", ["", "short", "a" * 15, "a" * 201, "with a space in it", "two\nlines of a token", "é" * 20]
)
def test_a_file_without_a_usable_token_is_refused_and_left(tmp_path: Path, text: str) -> None:
    path = tmp_path / "token"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(UnusableError, match="16 to 200 printable ASCII characters") as caught:
        keys_in(path)
    assert not text or text not in str(caught.value).partition("token: ")[2]
    assert path.read_text() == text


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_a_file_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "token"
    path.write_text("0123456789abcdefghij\n")
    path.chmod(mode)
    with pytest.raises(UnusableError, match="chmod 600"):
        keys_in(path)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo", 0o600)
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    (tmp_path / "file").write_text("")
    for name in ("fifo", "dangling", "file/below", "."):
        with pytest.raises(UnusableError, match="--token-file"):
            keys_in(tmp_path / name)
    assert not (tmp_path / "nowhere").exists()
    with pytest.raises(UnusableError, match="POPBOX_TOKEN: a token is") as caught:
        given("secret but short"[:12], "POPBOX_TOKEN")
    assert "secret" not in str(caught.value)


def test_the_token_of_a_space_is_good_for_that_space_and_that_server() -> None:
    ours, others = Keys("0123456789abcdefghij"), Keys("jihgfedcba9876543210")
    token = ours.of_space("s1")
    assert ours.space(token) == "s1"
    assert not ours.fits(token)
    for said in ("", "s1", "s1.", token[:-1], f"{token}x", f"s2{token[2:]}", others.of_space("s1"), "é", ours.token):
        assert ours.space(said) is None, said

"""users/popsecrets: read when it has changed, and a SCRAM verifier for any login, a real or a made-up one."""

from __future__ import annotations

from pathlib import Path

import pytest

from mailhost.pop3.auth.popsecrets import SecretsFile, parse
from mailhost.pop3.protocol import scram

REAL = scram.make(b"pencil", b"s" * 20, 5000)
OTHER = scram.make(b"other", b"t" * 20, 5000)


def put(users: Path, *lines: bytes) -> SecretsFile:
    (users / "popsecrets").write_bytes(b"".join(line + b"\n" for line in lines))
    return SecretsFile(users)


def test_secrets_are_told_by_login_and_kind(tmp_path: Path) -> None:
    file = put(tmp_path, b"joe:apop:tanstaaf", b"ann:scram:" + REAL)
    assert [file.get(login, b"apop") for login in (b"joe", b"ann", b"nobody")] == [b"tanstaaf", None, None]
    assert (file.get(b"ann", b"scram"), file.get(b"joe", b"scram")) == (REAL, None)
    assert [file.holds(kind) for kind in (b"apop", b"scram", b"plain")] == [True, True, False]


def test_a_changed_file_counts_at_once_and_one_that_went_holds_nothing(tmp_path: Path) -> None:
    file = put(tmp_path, b"joe:apop:one", b"ann:scram:" + REAL)
    assert file.get(b"joe", b"apop") == b"one"
    shape = scram.parse(file.scram(b"nobody"))
    assert shape is not None
    assert (shape.iterations, len(shape.salt)) == (5000, 20)
    put(tmp_path, b"joe:apop:another")
    assert file.get(b"joe", b"apop") == b"another"
    assert not file.holds(b"scram")
    put(tmp_path, b"joe:apop:another", b"ann:scram:" + REAL)
    assert file.scram(b"ann") == REAL
    (tmp_path / "popsecrets").unlink()
    assert file.get(b"joe", b"apop") is None
    shape = scram.parse(file.scram(b"nobody"))
    assert shape is not None
    assert (shape.iterations, len(shape.salt)) == (scram.ITERATIONS, scram.SALT_OCTETS)
    put(tmp_path, b"joe:apop:another")
    assert file.get(b"joe", b"apop") == b"another"


def test_an_unchanged_file_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = put(tmp_path, b"joe:apop:one")
    assert file.get(b"joe", b"apop") == b"one"
    monkeypatch.setattr(Path, "read_bytes", lambda _: pytest.fail("once a login would be too often"))
    assert file.get(b"joe", b"apop") == b"one"


def test_a_file_that_cannot_be_read_is_an_error_and_no_empty_one(tmp_path: Path) -> None:
    (tmp_path / "popsecrets").mkdir()
    file = SecretsFile(tmp_path)
    for ask in (lambda: file.get(b"joe", b"apop"), lambda: file.holds(b"apop"), lambda: file.scram(b"joe")):
        with pytest.raises(IsADirectoryError):
            ask()


@pytest.mark.parametrize("stored", [b"no verifier", REAL.replace(b"5000", b"0"), b"SCRAM-SHA-1$" + REAL[14:]])
def test_who_has_no_usable_verifier_gets_a_made_up_one(tmp_path: Path, stored: bytes) -> None:
    file = put(tmp_path, b"ann:scram:" + REAL, b"bad:scram:" + stored)
    assert file.scram(b"ann") == REAL
    made = {login: file.scram(login) for login in (b"bad", b"joe", b"nobody")}
    assert len({*made.values(), REAL, stored}) == 5
    assert all(scram.parse(text) is not None for text in made.values())
    assert {login: file.scram(login) for login in made} == made


@pytest.mark.parametrize(("key", "lasting"), [(b"0123456789abcdef", True), (b"", False), (None, False)])
def test_made_up_ones_outlast_a_change_where_there_is_a_key(tmp_path: Path, key: bytes | None, lasting: bool) -> None:
    if key is not None:
        (tmp_path / "scramkey").write_bytes(key)
    before = put(tmp_path, b"ann:scram:" + REAL).scram(b"nobody")
    assert put(tmp_path, b"ann:scram:" + REAL).scram(b"nobody") == before, "after a restart"
    assert (put(tmp_path, b"ann:scram:" + OTHER).scram(b"nobody") == before) is lasting


def test_without_any_file_made_up_ones_are_the_same_too(tmp_path: Path) -> None:
    file = SecretsFile(tmp_path)
    assert file.scram(b"nobody") == file.scram(b"nobody") != file.scram(b"joe")
    assert SecretsFile(tmp_path).scram(b"nobody") == file.scram(b"nobody")


def test_two_keys_make_up_two_texts(tmp_path: Path) -> None:
    made = set()
    for key in (b"k" * 64, b"k" * 63 + b"l"):
        (tmp_path / "scramkey").write_bytes(key)
        made.add(SecretsFile(tmp_path).scram(b"nobody"))
    assert len(made) == 2


def test_the_first_of_two_lines_counts_and_what_is_no_line_is_passed_over() -> None:
    text = b"joe:apop:one\njoe:apop:two\n#ann:apop:x\n# a: b:c\nann:apop:\nann:pop:x\nann\n:apop:y:z\nbob:scram:v"
    assert parse(text) == {(b"joe", b"apop"): b"one", (b"", b"apop"): b"y:z", (b"bob", b"scram"): b"v"}

"""crypt(3) hashes: the HOWTO's own, every scheme, and the fields that no password may open."""

from __future__ import annotations

import concurrent.futures
import sys

import pytest

from mailhost.accounts.errors import InputError
from mailhost.accounts.operations import logins
from mailhost.poppasswd import crypt as hashing
from popbox.migrate.oldhost.dialects.poppasswd import CRYPT

HOWTO = b"DmIMm9e5Hc8ic"
ODD = [
    b"",
    b"*",
    b"x",
    b"!!",
    b"!" + HOWTO,
    b"*0",
    b"*1",
    HOWTO[:-1],
    HOWTO + b"x",
    b"Dm",
    b"$6$",
    b"$6$salt$",
    b"$9$a$b",
]

COSTLY = [
    b"$6$rounds=999999999$abcdefgh$" + b"x" * 86,
    b"$6$rounds=1000001$abcdefgh$" + b"x" * 86,
    b"$6$rounds=-1$abcdefgh$" + b"x" * 86,
    b"$6$rounds= 1$abcdefgh$" + b"x" * 86,
    b"$6$rounds=99999999999999999999$abcdefgh$" + b"x" * 86,
    b"$5$rounds=999999999$abcdefgh$" + b"x" * 43,
    b"$6$" + b"s" * 4000 + b"$" + b"x" * 86,
    b"$2b$31$" + b"x" * 53,
    b"$2a$14$" + b"x" * 53,
    b"$2y$9$" + b"x" * 53,
    b"$2b$013$" + b"x" * 53,
    b"$y$jFT$salt$" + b"x" * 43,
    b"$y$jBU$salt$" + b"x" * 43,
    b"$y$.BT$salt$" + b"x" * 43,
    b"$y$j9T.....$salt$" + b"x" * 43,
    b"$y$kzzzzz$salt$" + b"x" * 43,
]
BEARABLE = [
    b"$6$rounds=656000$abcdefgh$" + b"x" * 86,
    b"$5$rounds=1000000$abcdefgh$" + b"x" * 43,
    b"$2b$12$" + b"x" * 53,
    b"$y$j9T$" + b"s" * 22 + b"$" + b"x" * 43,
    b"$y$jBT$" + b"s" * 86 + b"$" + b"x" * 43,
]


def test_h27_the_howtos_hash_is_testpw() -> None:
    assert hashing.verify(b"testpw", HOWTO)
    assert not hashing.verify(b"Testpw", HOWTO)


def test_q_cpw_7_des_sees_eight_octets() -> None:
    stored = hashing.make(b"testpwxy", "des").encode()
    assert hashing.verify(b"testpwxyz", stored)


@pytest.mark.parametrize("scheme", list(hashing.SCHEMES))
def test_every_scheme_makes_what_it_verifies(scheme: str) -> None:
    stored = hashing.make("pä ss:w".encode(), scheme).encode()
    assert hashing.scheme_of(stored) == scheme
    assert hashing.verify("pä ss:w".encode(), stored)
    assert not hashing.verify(b"pass", stored)
    assert hashing.make(b"x", scheme) != hashing.make(b"x", scheme), "the salt must be fresh"


def test_rounds_written_in_the_hash_count() -> None:
    stored = b"$6$rounds=1000$abcdefgh$"
    made = hashing._crypt(b"pw", stored)
    assert made is not None
    assert made.startswith(stored)
    assert hashing.verify(b"pw", made)


@pytest.mark.parametrize("stored", ODD)
@pytest.mark.parametrize("password", [b"", b"testpw", b"*", b"x"])
def test_q_cpw_6_no_password_opens_an_odd_field(stored: bytes, password: bytes) -> None:
    assert hashing.scheme_of(stored) is None
    assert not hashing.verify(password, stored)


@pytest.mark.parametrize("stored", COSTLY)
def test_a_hash_that_would_hold_a_thread_is_not_checked(stored: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashing, "_crypt", lambda *_: pytest.fail("it was checked"))
    assert hashing.excess(stored) is not None
    assert hashing.scheme_of(stored) is None
    assert not hashing.verify(b"x", stored)
    with pytest.raises(InputError, match="each login attempt would hold a thread") as refused:
        logins.check_crypt("!" + stored.decode())
    assert stored.decode() not in str(refused.value)


@pytest.mark.parametrize("stored", BEARABLE)
def test_usual_costs_are_taken(stored: bytes) -> None:
    assert hashing.excess(stored) is None
    assert hashing.scheme_of(stored) is not None


@pytest.mark.parametrize("stored", [*ODD, *COSTLY, *BEARABLE, HOWTO])
def test_migrate_audit_knows_the_same_bounds(stored: bytes) -> None:
    assert (CRYPT.fullmatch(stored) is not None) == (hashing.scheme_of(stored) is not None)


def test_a_password_of_any_length_costs_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each round of sha512-crypt reads the whole password: libxcrypt refuses long ones, glibc's own crypt does not."""
    monkeypatch.setattr(hashing, "_crypt", lambda *_: pytest.fail("it was hashed"))
    assert not hashing.verify(b"x" * (hashing.PASSWORD_OCTETS + 1), BEARABLE[0])
    with pytest.raises(hashing.HashError, match="at most 512 octets"):
        hashing.make(b"x" * (hashing.PASSWORD_OCTETS + 1))


@pytest.mark.parametrize("octet", range(256))
def test_a_stray_octet_is_no_hash(octet: int) -> None:
    stored = HOWTO[:-1] + bytes([octet])
    assert (hashing.scheme_of(stored) == "des") == (octet in hashing._DIGITS)


def test_a_nul_does_not_shorten_a_password() -> None:
    assert not hashing.verify(b"testpw\0more", HOWTO)
    with pytest.raises(hashing.HashError, match="NUL"):
        hashing.make(b"secret\0x")


def test_refusals_never_tell_the_password() -> None:
    for password, scheme in ((b"", "des"), (b"hush\0", "sha512"), (b"hush", "rot13")):
        with pytest.raises(hashing.HashError) as refused:
            hashing.make(password, scheme)
        assert "hush" not in str(refused.value)


def test_threads_do_not_mix_their_states() -> None:
    stored = {f"pw{n}".encode(): hashing.make(f"pw{n}".encode(), "md5").encode() for n in range(8)}
    jobs = [(password, hash_) for password in stored for hash_ in stored.values()] * 4
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        verdicts = list(pool.map(lambda job: hashing.verify(*job), jobs))
    assert verdicts == [stored[password] == hash_ for password, hash_ in jobs]


@pytest.mark.parametrize("scheme", ["des", "md5", "sha256", "sha512"])
def test_passlib_agrees_with_libcrypt(scheme: str) -> None:
    stored = hashing.make(b"testpw", scheme).encode()
    assert hashing._passlib_crypt(b"testpw", stored) == stored
    assert hashing._passlib_crypt(b"testpx", stored) != stored


def test_without_libcrypt_passlib_does_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashing, "_crypt_r", None)
    assert hashing.verify(b"testpw", HOWTO)
    assert hashing.verify(b"new", hashing.make(b"new").encode())
    assert not hashing.verify(b"testpw", b"$y$j9T$abcdefgh$9aJSZPguoUHbUdwsSjnUtXfdTAOIL.xz3i00TP2oLp4")
    with pytest.raises(hashing.HashError, match="cannot make yescrypt"):
        hashing.make(b"new", "yescrypt")


def test_the_import_stays_small() -> None:
    import subprocess

    code = "import sys, mailhost.poppasswd.file, mailhost.poppasswd.crypt; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True).stdout
    bare = subprocess.run(
        [sys.executable, "-I", "-c", "import sys; print(*sys.modules)"], capture_output=True, text=True
    )
    extra = set(loaded.split()) - set(bare.stdout.split())
    assert not extra & {"typing", "re", "dataclasses", "pathlib", "passlib", "click", "hashlib"}


def test_the_hash_of_an_unknown_login_has_the_form_and_so_the_cost_of_the_default_scheme() -> None:
    assert hashing.scheme_of(hashing.DUMMY_HASH) == hashing.DEFAULT
    prefix, salt, checksum = hashing.DUMMY_HASH.rsplit(b"$", 2)
    real = hashing.make(b"x").encode("ascii")
    assert (prefix, len(salt), len(checksum)) == (b"$6", 16, 86)
    assert [len(part) for part in real.rsplit(b"$", 2)] == [2, 16, 86], "rounds in it would make it cheaper or dearer"
    assert not any(hashing.verify(password, hashing.DUMMY_HASH) for password in (b"", b"x", b"popboxNoSuchUser"))

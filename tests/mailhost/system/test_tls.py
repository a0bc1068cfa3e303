"""The one TLS policy of the mail host's servers."""

from __future__ import annotations

import ssl
import subprocess
import sys
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from mailhost.system.tls import server_context


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    place, issued = tmp_path_factory.mktemp("tls"), trustme.CA().issue_cert("mx.example.net")
    chain, key = place / "chain.pem", place / "key.pem"
    issued.private_key_pem.write_to_path(key)
    issued.cert_chain_pems[0].write_to_path(chain)
    return chain, key


def negotiated(server: ssl.SSLContext, client: ssl.SSLContext) -> str | None:
    """A handshake in memory: the version that both ends agree on.

    Raises:
        ssl.SSLError: they do not.
    """
    a, b = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [client.wrap_bio(a, b), server.wrap_bio(b, a, server_side=True)]
    for _ in range(4):
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
    return ends[0].version()


def asking(version: ssl.TLSVersion) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = context.maximum_version = version
    context.set_ciphers("ALL:@SECLEVEL=0")
    return context


@pytest.mark.parametrize(
    ("version", "name"), [(ssl.TLSVersion.TLSv1_2, "TLSv1.2"), (ssl.TLSVersion.TLSv1_3, "TLSv1.3")]
)
def test_versions_from_1_2_on_are_served(pair: tuple[Path, Path], version: ssl.TLSVersion, name: str) -> None:
    assert negotiated(server_context(*pair), asking(version)) == name


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_older_versions_renegotiation_and_compression_are_not(pair: tuple[Path, Path]) -> None:
    context = server_context(*pair)
    with pytest.raises(ssl.SSLError):
        negotiated(context, asking(ssl.TLSVersion.TLSv1_1))
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert context.options & ssl.OP_NO_RENEGOTIATION
    assert context.options & ssl.OP_NO_COMPRESSION


def test_a_key_of_another_certificate_is_an_error(pair: tuple[Path, Path], tmp_path: Path) -> None:
    other = tmp_path / "other.pem"
    trustme.CA().issue_cert("mx.example.net").private_key_pem.write_to_path(other)
    with pytest.raises(OSError, match=r"(?i)mismatch"):
        server_context(pair[0], other)
    with pytest.raises(FileNotFoundError):
        server_context(pair[0], tmp_path / "none")


LOAD = """
import sys
from pathlib import Path
from mailhost.system.tls import server_context
server_context(Path(sys.argv[1]), Path(sys.argv[2]))
"""


def test_an_encrypted_key_is_an_error_and_no_one_is_asked(pair: tuple[Path, Path], tmp_path: Path) -> None:
    """OpenSSL itself asks at the terminal, and where there is none it reads the phrase from standard input."""
    locked, plain = tmp_path / "locked.pem", load_pem_private_key(pair[1].read_bytes(), None)
    locked.write_bytes(plain.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")))
    argv = [sys.executable, "-c", LOAD, str(pair[0]), str(locked)]
    done = subprocess.run(argv, input=b"secret\n", capture_output=True, check=False, start_new_session=True)
    assert done.returncode == 1
    assert done.stderr.endswith(b"OSError: the key is encrypted, and a server has no one to ask for its pass phrase\n")
    assert b"Enter PEM" not in done.stderr

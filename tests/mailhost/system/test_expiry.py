"""When a certificate ends, and what is said about one that is late."""

from __future__ import annotations

import datetime
import random
from pathlib import Path

import pytest
import trustme

from mailhost.system.expiry import LATE_DAYS, late, not_after

DAY = 86_400


def issued(end: datetime.datetime) -> bytes:
    leaf = trustme.CA().issue_cert("mx.example.net", not_after=end, not_before=end - datetime.timedelta(days=90))
    return b"".join(one.bytes() for one in leaf.cert_chain_pems)


@pytest.mark.parametrize("year", [1999, 2026, 2049, 2050, 2120])  # from 2050 on the date has another form in DER
def test_the_end_of_a_chains_first_certificate(year: int) -> None:
    end = datetime.datetime(year, 11, 27, 18, 31, 5, tzinfo=datetime.UTC)
    assert not_after(b"text before\n" + issued(end)) == end.timestamp()


def test_what_is_none() -> None:
    good = issued(datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC))
    dice = random.Random(1)
    for octets in (b"", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----", good[:200]):
        with pytest.raises(ValueError, match=r"no certificate|Incorrect padding"):
            not_after(octets)
    for _ in range(500):
        broken = bytearray(good)
        broken[dice.randrange(30, 400)] = dice.randrange(256)
        try:
            not_after(bytes(broken))
        except ValueError:
            continue


@pytest.mark.parametrize(("days", "word"), [(LATE_DAYS + 1, ""), (LATE_DAYS - 1, "ends on"), (-1, "has ended on")])
def test_late_is_said_in_time(tmp_path: Path, days: int, word: str) -> None:
    chain = tmp_path / "fullchain.pem"
    end = datetime.datetime(2027, 1, 1, tzinfo=datetime.UTC)
    chain.write_bytes(issued(end))
    said = late(chain, end.timestamp() - days * DAY)
    assert (word in said) if word else not said


def test_no_folder_is_no_trouble_and_no_file_in_it_or_a_wrong_one_is(tmp_path: Path) -> None:
    assert not late(tmp_path / "no-tls/fullchain.pem", 0)
    said = late(tmp_path / "none", 0)
    assert said == f"{tmp_path}/none: the certificate is missing, so TLS is off until it comes"
    (tmp_path / "x").write_text("x")
    assert late(tmp_path / "x", 0).endswith("no certificate in PEM")

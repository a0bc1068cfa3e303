"""The cdb format: Q-CDB-1..10 and the property that what is written is what is read."""

from __future__ import annotations

import hashlib
import io
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.mailhost.qmail.model import slow_cdb, slow_hash

from mailhost.qmail.cdb.hashing import LONG_KEY, MOST_LANES, cdb_hash, cdb_hashes
from mailhost.qmail.cdb.reader import Cdb, CdbError
from mailhost.qmail.cdb.writer import CdbWriter, build, part, write

RECORDS = st.lists(st.tuples(st.binary(max_size=12), st.binary(max_size=20)), max_size=60)


@pytest.mark.parametrize(
    ("key", "value"),
    [(b"", 0x1505), (b"!", 0x2B584), (b"!domain-com-joe\0", 0x141FC9A5), (b"!domain-com-joe", 0xBACAA905),
     (b"example.com", 0xE8B78F82)],
)  # fmt: skip
def test_q_cdb_2_hash_vectors(key: bytes, value: int) -> None:
    assert cdb_hash(key) == value
    assert list(cdb_hashes([key])) == [value]


@given(st.lists(st.binary(max_size=40), max_size=50), st.binary(max_size=3))
def test_hashes_of_many_keys_at_once_are_those_of_each(keys: list[bytes], mark: bytes) -> None:
    assert list(cdb_hashes(keys, mark)) == [slow_hash(mark + key) for key in keys]


def test_hashes_beyond_one_batch_and_of_long_keys() -> None:
    keys = [b"%d" % number for number in range(MOST_LANES + 5)] + [b"x" * (LONG_KEY + 1), b"\0" * 300, b""]
    assert list(cdb_hashes(keys)) == [slow_hash(key) for key in keys]


def test_q_cdb_10_the_smallest_case_in_full() -> None:
    content = build([(b"", b"")])
    header = [struct.unpack_from("<II", content, 8 * bucket) for bucket in range(256)]
    assert header[:7] == [(2056, 0)] * 5 + [(2056, 2), (2072, 0)]
    assert set(header[6:]) == {(2072, 0)}
    assert content[2048:] == bytes(8) + bytes(8) + bytes.fromhex("0515000000080000")
    assert hashlib.md5(content, usedforsecurity=False).hexdigest() == "494678207bf0fb60b421a8f38846eb84"


def test_an_empty_cdb_is_its_header() -> None:
    assert build([]) == struct.pack("<II", 2048, 0) * 256
    assert list(Cdb(build([])).records()) == []


@given(RECORDS)
def test_q_cdb_1_to_6_written_octet_for_octet_as_the_plain_model_does(records: list[tuple[bytes, bytes]]) -> None:
    assert build(records) == slow_cdb(records)


@given(RECORDS, st.binary(max_size=12))
def test_q_cdb_7_what_is_written_is_what_is_read(records: list[tuple[bytes, bytes]], other: bytes) -> None:
    cdb = Cdb(build(records))
    assert list(cdb.records()) == records
    first: dict[bytes, bytes] = {}
    for key, data in records:
        first.setdefault(key, data)
    for key in {other, *first}:
        assert cdb.get(key) == first.get(key)


def test_e_2_equal_keys_are_found_first_inserted_first() -> None:
    assert Cdb(build([(b"k", b"1"), (b"k", b"2")])).get(b"k") == b"1"


def test_parts_may_be_cut_anywhere() -> None:
    records = [(b"key%d" % number, b"data" * (number % 5)) for number in range(100)]
    file = io.BytesIO()
    writer = CdbWriter(file)
    for start, end in ((0, 1), (1, 50), (50, 50), (50, 100)):
        writer.put(part([key for key, _ in records[start:end]], [data for _, data in records[start:end]]))
    writer.finish()
    assert file.getvalue() == slow_cdb(records)


def test_many_records_take_the_way_through_two_processes(tmp_path: Path) -> None:
    count = 140_000
    path = tmp_path / "cdb"
    with path.open("wb") as file:
        write(((b"%d" % number, b"") for number in range(count)), file)
    with Cdb(path) as cdb:
        assert all(cdb.get(b"%d" % number) == b"" for number in range(0, count, 997))
        assert cdb.get(b"%d" % count) is None
        assert sum(1 for _ in cdb.records()) == count


def test_a_file_is_read_like_bytes_and_closed(tmp_path: Path) -> None:
    path = tmp_path / "cdb"
    path.write_bytes(build([(b"a", b"x" * 100_000)]))
    with Cdb(path) as cdb:
        assert cdb.get(b"a") == b"x" * 100_000
    cdb.close()
    with pytest.raises(FileNotFoundError):
        Cdb(tmp_path / "none")


@given(RECORDS.filter(bool), st.data())
def test_q_cdb_7_a_file_cut_short_is_an_error_or_an_answer_never_another_exception(
    records: list[tuple[bytes, bytes]], data: st.DataObject
) -> None:
    whole = build(records)
    cdb = Cdb(whole[: data.draw(st.integers(0, len(whole) - 1))])
    for key, _ in records:
        try:
            assert cdb.get(key) in (None, *(value for other, value in records if other == key))
        except CdbError as error:
            assert "cut short" in str(error)  # noqa: PT017 - both ends are right


def test_a_length_that_lies_costs_no_memory(tmp_path: Path) -> None:
    content = bytearray(build([(b"a", b"x")]))
    content[2052:2056] = b"\xff\xff\xff\xff"
    path = tmp_path / "cdb"
    path.write_bytes(content)
    with Cdb(path) as cdb, pytest.raises(CdbError, match="cut short"):
        cdb.get(b"a")

"""The journals of a run as tables of DuckDB, on disk, with a bound on memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from popbox.errors import HostError, UnusableError
from popbox.load.books.journal import COLUMNS, SUFFIX, begun, unfinished
from popbox.load.plan.noted import read_back

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

MEMORY = "384MB"  # our choice: with Python and the rest 512 MiB are not reached with 2,000,000 messages
INTERRUPTED = "Query interrupted"  # DuckDB's RuntimeError where a signal's handler raised while it worked
SCRATCH = "books.scratch"
_FORM = "delim='\t', header=false, auto_detect=false, ignore_errors=true, quote='', escape='', nullstr=''"
STAGE = "stage"  # the writer of the journal of faults; others of its name are of the queue, the mover, the last fetch
DRAIN = f"{STAGE}-drain"  # of the last fetch
STEP_NS = 10_000_000  # our choice: what the begin of a journal may be off, where its process had to wait
WRITERS = "writers"  # a file: the names of the journals that there must be, one a line


def journals(folder: Path) -> list[Path]:
    """The journals in a folder.

    Raises:
        UnusableError: there is none, or one is no file.
    """
    found = sorted(folder.glob(f"*{SUFFIX}"))
    if not found:
        raise UnusableError(f"{folder}: no journal here (*{SUFFIX})")
    if others := [one.name for one in found if not one.is_file()]:  # a FIFO or a device is read without end
        raise UnusableError(f"{folder}: no file: {', '.join(others)}")
    return found


def incomplete(folder: Path, writers: tuple[str, ...]) -> tuple[str, ...]:
    """What is wrong with the journals of a run whose processes were ``writers``, in words.

    Raises:
        UnusableError: there is no journal at all.
    """
    found = journals(folder)
    there = {one.name.removesuffix(SUFFIX) for one in found}
    missing = [f"the journal {one}{SUFFIX} is not here" for one in writers if one not in there]
    return tuple(missing + [why for one in found if (why := unfinished(one))])


def incomplete_run(folder: Path, stages: tuple[str, ...] = ()) -> tuple[str, ...]:
    """The same by the list that the master left in the folder; ``stages`` must be there, too.

    Raises:
        UnusableError: there is no journal at all.
    """
    wanted = read_back(folder / WRITERS, lambda text: tuple(text.split("\n")[:-1]))
    if wanted is None:
        return (*incomplete(folder, stages), f"{WRITERS} is not here: which journals there must be is unknown")
    return (*incomplete(folder, (*wanted, *stages)), *_foreign(folder, wanted))


def _foreign(folder: Path, writers: tuple[str, ...]) -> Iterator[str]:
    """Journals that are none of this run's, in words."""
    found = {one.name.removesuffix(SUFFIX): str(begun(one).get("run", "")) for one in journals(folder)}
    for name in found:
        if name not in writers and not name.startswith(STAGE):
            yield f"{name}{SUFFIX} is of none of the processes that this run had"
    if len(runs := sorted(set(found.values()) - {""})) > 1:
        yield f"journals of several runs are here: {', '.join(runs)}"


@contextmanager
def opened(folder: Path) -> Iterator[DuckDBPyConnection]:
    """The tables ``rows`` (all journals) and those that the verdict stands on, see ``TABLES``; removed afterwards.

    Raises:
        HostError: the disk is full, or memory, or a journal has carriage returns, which ours have not.
        KeyboardInterrupt: also where DuckDB heard of it first.
    """
    import duckdb

    scratch = folder / SCRATCH
    _forget(scratch)
    connection = None
    try:
        connection = duckdb.connect(str(scratch))
        connection.execute(f"SET memory_limit='{MEMORY}'; SET threads=2; SET preserve_insertion_order=false")
        for statement in _tables(folder):
            connection.execute(statement)
        yield connection
    except (
        duckdb.IOException,
        duckdb.TransactionException,
        duckdb.FatalException,
        duckdb.OutOfMemoryException,
        duckdb.InvalidInputException,  # a carriage return in a journal: no writer of ours puts one there
    ) as error:
        raise HostError(f"{folder}: not judged: {str(error).splitlines()[0]}") from error
    except RuntimeError as error:
        if str(error) == INTERRUPTED:
            raise KeyboardInterrupt from error
        raise
    finally:
        if connection:
            connection.close()
        _forget(scratch)


def _forget(scratch: Path) -> None:
    for one in (scratch, scratch.with_name(scratch.name + ".wal")):
        one.unlink(missing_ok=True)


def _tables(folder: Path) -> Iterator[str]:
    columns = ", ".join(f"'{name}': '{kind}'" for name, kind in COLUMNS.items())
    files = str(folder / f"*{SUFFIX}").replace("'", "''")
    writer = "parse_filename(filename, true)"
    steps = "".join(f" WHEN '{name}' THEN {step_ns}" for name, step_ns in _steps(folder))
    at_ns = f" REPLACE (at_ns - CASE {writer}{steps} ELSE 0 END AS at_ns)" if steps else ""
    yield (
        f"CREATE TABLE rows AS SELECT {writer} AS writer, * EXCLUDE (filename){at_ns} FROM read_csv("
        f"'{files}', {_FORM}, filename=true, columns={{{columns}}})"
    )
    yield from TABLES


def _steps(folder: Path) -> Iterator[tuple[str, int]]:
    """By how much the wall clock was set, from the first journal of a machine to the begin of each later one.

    Within a journal it changes nothing. By the monotonic clock all those of one machine stand in one order.
    """
    first: dict[str, int] = {}
    for one in journals(folder):
        said = begun(one)
        boot, zero_ns = str(said.get("boot", "")), said.get("zero_ns", 0)
        if not isinstance(zero_ns, int):
            continue  # a damaged begin, which ``unfinished`` tells
        step_ns = zero_ns - first.setdefault(boot, zero_ns) if boot else 0
        if abs(step_ns) > STEP_NS:
            yield one.name.removesuffix(SUFFIX).replace("'", "''"), step_ns


# Numbers of lines are 1, 2, 3 and so on: a line that is missing is not made good by another one that is there twice.
UNREAD = """SELECT writer, count(*), max(seq) FROM rows GROUP BY writer HAVING count(*) <> max(seq)
    OR sum(seq) <> max(seq)::HUGEINT * (max(seq) + 1) // 2
    OR sum(seq::HUGEINT * seq) <> max(seq)::HUGEINT * (max(seq) + 1) * (2 * max(seq) + 1) // 6"""


def unread(books: DuckDBPyConnection) -> list[str]:
    """Journals that are not read as they were written, in words: of these the verdict knows less, or other things."""
    found = books.execute(UNREAD).fetchall()
    return [
        f"{writer}{SUFFIX}: {there} lines can be read, and {seq} were written"
        + ("; one is there twice, and another one is missing" if there == seq else "")
        for writer, there, seq in found
    ]


# accepted   token, box -> when, digest, octets, took (from the intended moment)
# copies     box, token, uidl -> a message that POP3 handed out, first time, first time listed, digests, how often
# taken      box, uidl -> when its deletion was committed
TABLES = (
    """CREATE TABLE accepted AS SELECT token, box, min(at_ns) AS at_ns, any_value(digest) AS digest,
       any_value(octets) AS octets, max(took_us) AS took_us FROM rows WHERE event = 'accept' GROUP BY token, box""",
    "CREATE TABLE zero AS SELECT coalesce(min(at_ns), 0) AS ns FROM accepted",  # from which all times count
    """CREATE TABLE unsure AS SELECT DISTINCT token, box, digest, event, at_ns FROM rows
       WHERE event IN ('unsure', 'refuse') AND token IS NOT NULL""",
    """CREATE TABLE listed AS SELECT box, uidl, min(at_ns) AS at_ns FROM rows
       WHERE event IN ('list', 'fetch') GROUP BY box, uidl""",
    """CREATE TABLE copies AS SELECT f.box, f.token, f.uidl, min(f.at_ns) AS first_ns,
       min(l.at_ns) AS seen_ns, count(DISTINCT f.digest) AS kinds, any_value(f.digest) AS digest,
       count(*) AS fetches
       FROM rows f JOIN listed l ON f.box = l.box AND f.uidl = l.uidl
       WHERE f.event = 'fetch' GROUP BY f.box, f.token, f.uidl""",
    """CREATE TABLE taken AS SELECT d.box, d.uidl, min(c.at_ns) AS at_ns FROM rows d JOIN rows c
       ON c.event = 'commit' AND c.writer = d.writer AND c.session = d.session
       WHERE d.event = 'delete' GROUP BY d.box, d.uidl""",
    """CREATE TABLE faults AS SELECT f.box AS target, f.note AS kind, f.at_ns AS from_ns,
       (SELECT min(h.at_ns) FROM rows h WHERE h.event = 'healed' AND h.token = f.token) AS until_ns
       FROM rows f WHERE f.event = 'fault'""",
)

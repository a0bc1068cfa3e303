"""The application on a socket, by uvicorn, with limits for clients that hold on to what they have."""

from __future__ import annotations

import ctypes
import gc
import socket
from collections.abc import Callable
from contextlib import suppress

import uvicorn

from popbox.clients.wire import Address
from popbox.errors import HostError
from popbox.serve.connections import MOST_CONNECTIONS, Connection, room_for
from popbox.serve.guard import App

HEADER_OCTETS = 32_768  # our choice: request line and header fields
COLLECT = (2_000, 10, 200)  # our choice, see gc.set_threshold: some 20 ms each few seconds
COLLECT_ALL_S = 300  # our choice: by these numbers a full collection comes after hours, and pages leave cycles behind
TICKS_A_S = 10  # of uvicorn's main loop
ARENAS = 2  # our choice: of glibc's allocator, which has 8 a processor, each as large as the largest answer of a thread
M_ARENA_MAX = -8  # of mallopt(3)
KEEP_S = 5  # our choice: an idle connection is closed after that
DRAIN_S = 3  # our choice: answers that are being written at the end get so long


def bind(address: Address) -> socket.socket:
    """A listening socket; port 0 takes a free one.

    Raises:
        HostError: the address cannot be bound.
    """
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address.host, address.port))
        listener.listen(1_024)
    except OSError as error:
        listener.close()
        raise HostError(f"{address} cannot be listened on: {error.strerror}") from error
    return listener


def settle() -> None:
    """Have this process' garbage collector pause less, and its allocator give threads no memory of their own.

    A full collection stops every thread. With 1,000 waits it takes 0.3 s, and by default it comes each 5 s. So what was
    imported by now stays, and all else is young.
    """
    with suppress(AttributeError):  # not glibc
        ctypes.CDLL(None).mallopt(M_ARENA_MAX, ARENAS)
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT)


class Server(uvicorn.Server):
    """A server that says when it begins to end. Whoever runs it, its collector is settled first."""

    ending: Callable[[], None]

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until the end."""
        settle()
        super().run(sockets)

    async def on_tick(self, counter: int) -> bool:
        """Collect what is old too, now and then: what a page was made of, where it was being made at a collection."""
        if counter and counter % (COLLECT_ALL_S * TICKS_A_S) == 0:
            gc.collect()
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let waits and streams answer before the drain, which is what remains of them."""
        self.ending()
        await super().shutdown(sockets)


def server(app: App, ending: Callable[[], None]) -> Server:
    """A server for ``run(sockets=[bind(...)])``. It logs nothing of its requests, and ends on INT and TERM.

    ``ending`` is called in its event loop when it begins to end: what waits must answer within DRAIN_S.
    """

    class Limited(Connection):
        most = room_for(MOST_CONNECTIONS)

    config = uvicorn.Config(
        app,
        http=Limited,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # what a client says of itself decides nothing
        timeout_keep_alive=KEEP_S,
        timeout_graceful_shutdown=DRAIN_S,
        h11_max_incomplete_event_size=HEADER_OCTETS,
    )
    made = Server(config)
    made.ending = ending
    return made

"""The processes of one training, on one machine or several: they meet, they watch over each other,
and they start JAX together. Imports no Keras.

Process 0 listens at the one address that all are given. There the others join it and stay
connected; each says every few seconds that it is alive. Where one falls silent, or its connection
ends without a word, the others end with a line: JAX itself would wait for it in a sum over all
devices, or abort the process. What JAX's processes have to tell each other at the start goes
through the same address (`Tunnel`), which keeps it from noticing a lost process before we do.

Nothing here is secret or signed: the address must be on a network of one's own.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import queue
import select
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from . import __version__, terminal
from .errors import InputError, reason

ALIVE_SECONDS = 2.0  # between two signs of life
SILENT_SECONDS = 30.0  # after which a process counts as gone
WAIT_SECONDS = 300  # for the others at the start
MOST_BYTES = 1 << 34  # of a message of the team
MOST_BYTES_OF_GREETING = 1 << 12  # of whoever it may be
_PIECE = 1 << 20  # bytes that are sent or received at a time
_ALIVE, _MESSAGE, _BYTES, _OVER = b"a", b"m", b"b", b"o"
WRONG, INTERRUPTED = 2, 130  # exit codes


class Team:
    """This process and the others.

    Arguments:
        place, size: this is process `place` of `size`, 0 the first.
        host, port: where process 0 listens.
        wait: seconds in which all must have come.
        prog: how the line begins that ends a process.

    `meet` connects them; `start_jax` comes before JAX looks for devices.
    """

    def __init__(self, place: int, size: int, host: str, port: int, wait: float, prog: str):
        self.place, self.size, self.wait, self.prog = place, size, wait, prog
        self.host, self.port = host, port
        self.links: dict[int, _Link] = {}
        self.over = threading.Event()
        self._jax_port: int | None = None

    @property
    def first(self) -> bool:
        """Whether this process decides and writes."""
        return self.place == 0

    @property
    def name(self) -> str:
        return f"process {self.place} of {self.size}"

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"

    # --- meeting ---

    def meet(self) -> None:
        """Wait for the others. Raises InputError where one does not come, or does not belong."""
        if self.first:
            self._listen()
        else:
            self._join()
        for link in self.links.values():
            link.start()

    def _listen(self) -> None:
        try:
            family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
            own = self.host if self.host in ("127.0.0.1", "localhost", "::1") else ""
            self.server = socket.create_server((own, self.port), family=family, backlog=128)
        except OSError as error:
            raise InputError(
                f"`coordinator` {self.address}: cannot listen there ({reason(error)})"
            ) from None
        deadline = time.monotonic() + self.wait
        while not self._all_have_come():
            left = deadline - time.monotonic()
            try:
                if left <= 0:
                    raise TimeoutError
                self.server.settimeout(left)
                connection, _ = self.server.accept()
            except TimeoutError:
                self._forget_broken()
                missing = [str(i) for i in range(1, self.size) if i not in self.links]
                line = (
                    f"`process` {self.place}/{self.size}: process {', '.join(missing)} did not "
                    f"come to {self.address} within {self.wait:g} s"
                )
                self._refuse_all(line)
                raise InputError(line) from None
            self._welcome(connection)
        for link in self.links.values():
            with contextlib.suppress(OSError):  # gone this moment: the reader tells
                link.send(_MESSAGE, {"welcome": True})
        threading.Thread(target=self._accept_tunnels, daemon=True).start()

    def _welcome(self, connection: socket.socket) -> None:
        """Take a process in, or tell it why not."""
        connection.settimeout(10)
        try:
            kind, hello = _receive(connection, MOST_BYTES_OF_GREETING)
            place, size = int(hello["process"]), int(hello["processes"])
        except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
            connection.close()  # whoever it is, it is none of ours
            return
        self._forget_broken()
        why = ""
        if kind != _MESSAGE or hello.get("version") != __version__:
            why = f"cifar_lab {hello.get('version')} there, {__version__} in process 0"
        elif size != self.size or not 0 < place < self.size:
            why = f"process {place}/{size} there, process 0/{self.size} here"
        elif place in self.links:
            why = f"process {place} is here already"
        link = _Link(self, place, connection)
        if why:
            with contextlib.suppress(OSError):
                link.send(_OVER, {"line": f"`process` {place}/{size}: {why}", "code": WRONG})
            connection.close()
        else:
            self.links[place] = link

    def _all_have_come(self) -> bool:
        self._forget_broken()
        return len(self.links) == self.size - 1

    def _forget_broken(self) -> None:
        """Forget who went away before all had come: they may come again."""
        for place in [place for place, link in self.links.items() if link.broken]:
            self.links.pop(place).connection.close()

    def _refuse_all(self, line: str) -> None:
        for link in self.links.values():
            with contextlib.suppress(OSError):
                link.send(_OVER, {"line": line, "code": WRONG})

    def _join(self) -> None:
        deadline = time.monotonic() + self.wait
        while True:
            try:
                connection = socket.create_connection((self.host, self.port), timeout=10)
                break
            except OSError as error:
                if time.monotonic() > deadline:
                    raise InputError(
                        f"`coordinator` {self.address}: no process 0 there within {self.wait:g} s "
                        f"({reason(error)})"
                    ) from None
                time.sleep(0.2)
        link = _Link(self, 0, connection)
        link.send(_MESSAGE, {"process": self.place, "processes": self.size, "version": __version__})
        connection.settimeout(max(1.0, deadline - time.monotonic()) + 5)
        try:
            kind, said = _receive(connection)
        except (OSError, ValueError):
            raise InputError(
                f"`coordinator` {self.address}: process 0 did not answer, or is gone"
            ) from None
        if kind == _OVER:
            raise InputError(said["line"])
        self.links[0] = link

    # --- JAX ---

    def start_jax(self) -> None:
        """Let JAX's processes know each other. Keras is imported, no device was looked for."""
        import jax

        for name in ("no_proxy", "NO_PROXY"):  # gRPC would ask a proxy for this machine
            os.environ[name] = ",".join(filter(None, (os.environ.get(name), "127.0.0.1")))
        for name, value in (
            ("jax_enable_preemption_service", False),
            ("jax_check_proxy_envs", False),
            ("jax_cpu_collectives_implementation", "gloo"),
        ):
            with contextlib.suppress(AttributeError):  # older ones have not all
                jax.config.update(name, value)
        if self.first:
            with socket.create_server(("127.0.0.1", 0)) as free:
                port = free.getsockname()[1]
        else:
            port = Tunnel(self.host, self.port).port
        self._jax_port = port
        place = f"127.0.0.1:{port}"
        jax.distributed.initialize(
            place,
            self.size,
            self.place,
            coordinator_bind_address=place,
            cluster_detection_method="deactivate",
            initialization_timeout=max(120, int(self.wait)),
            heartbeat_timeout_seconds=3600,  # who is gone is told here, and at once
            shutdown_timeout_seconds=10,
        )

    def _accept_tunnels(self) -> None:
        self.server.settimeout(None)
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.server.accept()
                threading.Thread(target=self._tunnel, args=(connection,), daemon=True).start()

    def _tunnel(self, connection: socket.socket) -> None:
        try:
            connection.settimeout(10)
            kind, hello = _receive(connection, MOST_BYTES_OF_GREETING)
            if kind != _MESSAGE or not hello.get("tunnel"):
                raise ValueError
            deadline = time.monotonic() + 60
            while True:
                try:
                    inner = socket.create_connection(("127.0.0.1", self._jax_port or 0), timeout=5)
                    break
                except OSError:
                    if time.monotonic() > deadline:
                        raise
                    time.sleep(0.1)
        except (OSError, ValueError, AttributeError, TypeError, RecursionError):
            connection.close()
            return
        _pump_both(connection, inner)

    # --- saying and hearing ---

    def tell(self, message: dict) -> None:
        """Say something to the others: process 0 to all, another one to process 0."""
        for link in self.links.values():
            link.send(_MESSAGE, message)

    def tell_bytes(self, data: bytes) -> None:
        """The same with bytes, which are heard as they are."""
        for link in self.links.values():
            link.send(_BYTES, data)

    def hear(self, place: int = 0) -> Any:
        """What a process said next, a dict or bytes; waits for it."""
        return self.links[place].inbox.get()

    def end(self, line: str = "", code: int = WRONG) -> None:
        """Tell the others that this process is done; with a line, why all must end."""
        if self.over.is_set():
            return
        self.over.set()
        for link in self.links.values():
            with contextlib.suppress(OSError):
                link.send(_OVER, {"line": line, "code": code})
        if not line:
            self._stop_jax()
        else:  # at its own end JAX would wait for the others, and then abort
            atexit.register(_leave, code)

    def await_end(self) -> None:
        """Wait until process 0 is done."""
        self.links[0].ended.wait()
        self.over.set()
        self._stop_jax()

    def await_loss(self) -> None:
        """Wait as long as it may take to hear that another process is gone, which ends this one."""
        time.sleep(SILENT_SECONDS + ALIVE_SECONDS)

    def _stop_jax(self) -> None:
        import jax

        with contextlib.suppress(Exception):  # the work is done
            jax.distributed.shutdown()

    def lost(self, link: _Link, line: str, code: int = WRONG) -> None:
        """End this process, whatever it waits for: another one is gone. line: why; "" where its
        connection broke."""
        if self.over.is_set():
            return
        self.over.set()
        if not line:
            line = (
                f"process {link.place} of {self.size} is gone; the state that process 0 saved last "
                "is kept, and all processes started again with --resume go on"
            )
        for other in self.links.values():
            if other is not link:
                with contextlib.suppress(OSError):
                    other.send(_OVER, {"line": line, "code": code})
        if code == INTERRUPTED:
            terminal.say("")  # below a ^C
        terminal.say(f"{self.prog}: {'error: ' if code == WRONG else ''}{line}")
        os._exit(code)


def _leave(code: int) -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()
    os._exit(code)


class _Link:
    """A connection to another process of the team."""

    def __init__(self, team: Team, place: int, connection: socket.socket):
        self.team, self.place, self.connection = team, place, connection
        self.inbox: queue.Queue = queue.Queue()
        self.ended, self._lock = threading.Event(), threading.Lock()

    def start(self) -> None:
        self.connection.settimeout(SILENT_SECONDS)
        for target in (self._read, self._live):
            threading.Thread(target=target, daemon=True).start()

    def send(self, kind: bytes, content: Any) -> None:
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        with self._lock:
            self.connection.sendall(struct.pack(">cQ", kind, len(data)))
            for start in range(0, len(data), _PIECE):  # `sendall` as a whole has one timeout
                self.connection.sendall(memoryview(data)[start : start + _PIECE])

    @property
    def broken(self) -> bool:
        """Whether it ended, before `start`: until then nobody says anything."""
        return bool(select.select([self.connection], [], [], 0)[0])

    def _live(self) -> None:
        with contextlib.suppress(OSError):  # the reader tells
            while not self.ended.is_set():
                self.send(_ALIVE, b"")
                time.sleep(ALIVE_SECONDS)

    def _read(self) -> None:
        try:
            while True:
                kind, content = _receive(self.connection)
                if kind == _OVER:
                    self.ended.set()
                    if content["line"]:
                        self.team.lost(self, content["line"], content["code"])
                    return
                if kind != _ALIVE:
                    self.inbox.put(content)
        except (OSError, ValueError, KeyError):
            self.team.lost(self, "")


class Tunnel:
    """A port of this machine that leads to JAX's service in process 0.

    It stays open towards JAX when the other end goes away.
    """

    def __init__(self, host: str, port: int):
        self._to = host, port
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            inner, _ = self._server.accept()
            try:
                outer = socket.create_connection(self._to, timeout=10)
                data = json.dumps({"tunnel": True}).encode()
                outer.sendall(struct.pack(">cQ", _MESSAGE, len(data)) + data)
            except OSError:
                self._kept = inner
                continue
            _pump_both(outer, inner, keep=True)


def _pump_both(outer: socket.socket, inner: socket.socket, keep: bool = False) -> None:
    """Carry bytes both ways. keep: leave the inner one open when the outer one ends."""
    for connection in (outer, inner):
        connection.settimeout(None)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def pump(source: socket.socket, sink: socket.socket, close: Callable[[], Any]) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                sink.sendall(data)
        close()

    def nothing() -> None:
        pass

    def close_inner() -> None:
        with contextlib.suppress(OSError):
            inner.shutdown(socket.SHUT_RDWR)

    def close_outer() -> None:
        with contextlib.suppress(OSError):
            outer.shutdown(socket.SHUT_RDWR)

    for source, sink, close in (
        (outer, inner, nothing if keep else close_inner),
        (inner, outer, close_outer),
    ):
        threading.Thread(target=pump, args=(source, sink, close), daemon=True).start()


def _receive(connection: socket.socket, most: int = MOST_BYTES) -> tuple[bytes, Any]:
    """(kind, content) of what comes next. Raises OSError or ValueError."""
    kind, size = struct.unpack(">cQ", _exactly(connection, 9))
    if kind not in (_ALIVE, _MESSAGE, _BYTES, _OVER) or size > most:
        raise ValueError("not a message of ours")
    data = _exactly(connection, size)
    return kind, json.loads(data) if kind in (_MESSAGE, _OVER) else data


def _exactly(connection: socket.socket, size: int) -> bytes:
    found = bytearray()
    while len(found) < size:
        part = connection.recv(min(_PIECE, size - len(found)))
        if not part:
            raise ConnectionError("ended")
        found += part
    return bytes(found)

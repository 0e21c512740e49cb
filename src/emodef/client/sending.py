"""What goes to the server that is no JSON: the texts of a stream, the form of an upload. Imports only the standard library."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterable, Mapping
from contextlib import suppress


class Sender(threading.Thread):
    """Sends the texts of a stream while their answers are read.

    sent: how many, so far. complete: there are no more. failed: what kept it from sending them.
    """

    def __init__(self, connection: socket.socket, texts: Iterable[str]) -> None:
        # the socket itself: an HTTPConnection that has been closed would send the rest to a new one
        super().__init__(daemon=True)
        self.connection, self._texts = connection, texts
        self.sent = 0
        self.complete = False
        self.failed: BaseException | None = None

    def run(self) -> None:
        """Send them all; both notes come before what they are about, whose answer may be there at once."""
        try:
            for text in self._texts:
                line = json.dumps(text).encode() + b"\n"
                self.sent += 1
                self.connection.sendall(b"%x\r\n%b\r\n" % (len(line), line))
            self.complete = True
            self.connection.sendall(b"0\r\n\r\n")
        except (BrokenPipeError, ConnectionResetError) as error:
            self.failed = error  # the server hung up; its answer, which may say why, can still be read
        except BaseException as error:  # told by who reads the answers, who need not wait for more
            self.failed = error
            hang_up(self.connection)


def hang_up(connection: socket.socket) -> None:
    """End a connection for every thread that sends or reads; closing it would not wake them."""
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


def form(name: str, options: Mapping[str, object], boundary: str) -> tuple[bytes, bytes]:
    """What goes before a file and behind it."""
    parts = []
    for field_name, value in options.items():
        told = str(value).lower() if isinstance(value, bool) else str(value)
        parts.append(f'--{boundary}\r\nContent-Disposition: form-data; name="{field_name}"\r\n\r\n{told}\r\n')
    quoted = name.replace("\\", "_").replace('"', "_").replace("\r", "_").replace("\n", "_")
    parts.append(
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{quoted}"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    )
    return "".join(parts).encode("utf-8", "replace"), f"\r\n--{boundary}--\r\n".encode()

"""The server's socket, and the processes it starts."""

from __future__ import annotations

import asyncio
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("uvicorn")

from emodef.client import Client
from emodef.server import ServerSettings
from emodef.server.run import listen

SCRIPT = """
import sys
from emodef.server import ServerSettings
from emodef.server.run import serve

if __name__ == "__main__":
    serve(ServerSettings(port=0, workers=2, threads=1, model=sys.argv[1], jobs_folder=sys.argv[2], log_requests=False))
"""


def test_answers_are_sent_without_delay() -> None:
    """An answer's head and body are two packets: held back, the second would wait for the first's receipt, 40 ms."""

    async def delay_of_an_accepted_connection(listening: socket.socket) -> int:
        found: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        def accepted(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            its = writer.get_extra_info("socket")
            found.set_result(its.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            writer.close()

        server = await asyncio.start_server(accepted, sock=listening)
        _, writer = await asyncio.open_connection(*listening.getsockname()[:2])
        writer.close()
        async with server:
            return await found

    listening = listen(ServerSettings(port=0))
    assert asyncio.run(delay_of_an_accepted_connection(listening)) == 1


def test_no_module_of_the_folder_it_is_started_in_is_run(tiny_light: Path, tmp_path: Path) -> None:
    """As a script that is installed runs it: neither by workers nor by what predicts files."""
    (tmp_path / "bin").mkdir()
    script, here, ran = tmp_path / "bin" / "serve.py", tmp_path / "here", tmp_path / "ran"
    script.write_text(SCRIPT)
    here.mkdir()
    for name in ("csv", "signal"):
        (here / f"{name}.py").write_text(f"open({str(ran)!r}, 'a').write('{name} ')\n")
    (tmp_path / "rows.csv").write_text("text\nso happy\n")
    command = [sys.executable, str(script), str(tiny_light), str(tmp_path / "jobs")]
    with subprocess.Popen(command, cwd=here, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            said = re.search(r"http://[^/]+", server.stdout.readline())
            assert said is not None
            with Client(said[0], retries=20) as client:
                client.wait(client.submit(tmp_path / "rows.csv"), seconds=60, every=0.1)
        finally:
            server.terminate()
    assert not ran.exists(), ran.read_text()

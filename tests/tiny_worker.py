"""A process for the supervisor that trains nothing: it does what its order says, and ends as a real worker does."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from pathlib import Path


def main() -> int:
    order = json.loads(sys.stdin.buffer.readline())
    folder, stop = Path(order["folder"]), threading.Event()
    if order.get("deaf"):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    else:
        signal.signal(signal.SIGTERM, lambda number, frame: stop.set())

    def watch() -> None:
        while os.read(0, 1024):
            pass
        (folder / "alone").touch()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()
    (folder / "env.json").write_text(json.dumps(dict(os.environ)), encoding="utf-8")
    (folder / "pid").write_text(str(os.getpid()), encoding="utf-8")
    print("some words before")
    for step in range(1, order["steps"] + 1):
        with (folder / "log.jsonl").open("a", encoding="utf-8") as log:
            log.write(json.dumps({"step": step}) + "\n")
            if step % 2 == 0:
                log.write(json.dumps({"epoch": step // 2, "dev_macro_f1": step / 100}) + "\n")
        if stop.wait(order["pause"]):
            return 130
    if order.get("says"):
        print(order["says"], file=sys.stderr)
    return int(order.get("code", 0))


if __name__ == "__main__":
    sys.exit(main())

"""Runs a program for as long as our standard input stays open.

It stands between the service and a program such as ngrok. The system closes our input when the service ends, in
whatever way, so a service that was killed leaves no tunnel behind that would hold its domain. It is started as a file
and imports nothing of the package, which makes it quick and small.
"""

import contextlib
import os
import subprocess
import sys
import threading

GRACE = 1.0
"""Seconds the program has to end by itself, once our input has ended."""


def main(command: list[str]) -> int:
    """Run a command until it ends or our input does; returns its exit code, after a signal as shells report it."""
    program = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    threading.Thread(target=_end_with_input, args=[program], daemon=True).start()
    code = program.wait()
    return code if code >= 0 else 128 - code


def _end_with_input(program: "subprocess.Popen[bytes]") -> None:
    with contextlib.suppress(OSError):
        while os.read(0, 4096):  # not sys.stdin: its lock would be held when the interpreter shuts down
            pass
    program.terminate()
    try:
        program.wait(GRACE)
    except subprocess.TimeoutExpired:
        program.kill()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

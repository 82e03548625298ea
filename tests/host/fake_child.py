"""A child for the bridge that speaks its lines and does what it is told: `fake_child.py [SCENE]`, see `main`.

Requests of the bridge are orders: `voicecall.status` tells of the process, `voicecall.start` with `{"host": METHOD,
"params": ...}` asks the host and answers with the result and the progress that came, other methods are answered
with what they got. Every line that comes in is kept in the file FAKE_CHILD_LOG, if that is set.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time


def say(message):
    with LOCK:
        sys.stdout.write(json.dumps(message) + "\n")
        sys.stdout.flush()


LOCK = threading.Lock()
ASKED = {}  # our requests: id -> (event, progress, answer)
CANCELLED = set()


def ask(method, params, cancel_after=None):
    name = f"p{len(ASKED) + 1}"
    done, progress, answer = ASKED[name] = threading.Event(), [], {}
    began = time.monotonic()
    say({"id": name, "method": method, "params": params})
    if cancel_after is not None and not done.wait(cancel_after):
        say({"event": "cancel", "id": name})
    done.wait(90)
    first = progress[0]["at"] - began if progress else None
    seen = [item["stream"] for item in progress]
    return {"answer": answer, "progress": seen, "first": first, "seconds": time.monotonic() - began}


def answer(message):
    name, method, params = message["id"], message["method"], message["params"]
    if method == "voicecall.status":
        names = (
            "OPENCLAW_VOICECALL_CONFIG",
            "OPENCLAW_VOICECALL_GATEWAY",
            "OPENCLAW_STATE_DIR",
            "PYTHONPATH",
        )
        result = {"pid": os.getpid(), "env": {key: os.environ.get(key) for key in names}}
    elif "host" in params:
        result = ask(params["host"], params["params"], params.get("cancelAfter"))
    elif params.get("action") == "end_call":
        say({"id": name, "error": {"code": "NOT_FOUND", "message": "There is no such call."}})
        return
    elif params.get("callId") == "wait":  # until it is cancelled
        say({"id": name, "stream": {"text": "ringing"}})
        while name not in CANCELLED:
            time.sleep(0.01)
        return
    else:
        result = {"method": method, "params": params}
    say({"id": name, "result": result})


def finish():
    ask("agent.turn", {"text": "Goodbye"})
    os._exit(0)


def main(scene):
    if scene == "missing":
        sys.exit(f"{sys.executable}: No module named openclaw_voicecall")
    if scene == "failed":
        say({"event": "failed", "message": "Port 3334 is taken by another program."})
        sys.exit(78)
    if scene == "never":
        time.sleep(600)
    if scene == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if scene == "tunnel":  # started by us, and not gone with us
        subprocess.Popen(["sleep", "20"])
    if scene == "drain":  # a last turn of a call that goes on
        signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=finish).start())
    if scene == "garbage":
        print("Hello, I am no JSON.\n[1, 2]\n", flush=True)
        print("2026-11-21T10:00:00Z WARNING openclaw_voicecall.x: careful", file=sys.stderr, flush=True)
    say(
        {
            "event": "ready",
            "pid": os.getpid(),
            "version": "0.1.0",
            "url": "http://127.0.0.1:3334",
            "stateDir": "/s",
        }
    )
    if scene == "unwell":
        say({"event": "health", "ok": False, "message": "The tunnel is closed."})
    if scene == "huge":
        say({"id": "p1", "method": "config.get", "params": {"x": "x" * 2_000_000}})
        say({"event": "health", "ok": True})
    for line in sys.stdin:
        if "FAKE_CHILD_LOG" in os.environ:
            with open(os.environ["FAKE_CHILD_LOG"], "a", encoding="utf-8") as log:
                log.write(line)
        message = json.loads(line)
        if message.get("event") == "cancel":
            CANCELLED.add(message["id"])
        elif "method" in message:
            threading.Thread(target=answer, args=[message], daemon=True).start()
        elif message.get("id") in ASKED:
            done, progress, result = ASKED[message["id"]]
            if "stream" in message:
                progress.append({"stream": message["stream"], "at": time.monotonic()})
            else:
                result.update(message)
                done.set()
    if scene == "stubborn":
        time.sleep(600)


if __name__ == "__main__":
    main(
        sys.argv[1]
        if sys.argv[1:] and not sys.argv[1].startswith("-")
        else os.environ.get("FAKE_CHILD_SCENE", "")
    )

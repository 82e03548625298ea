"""Stands in for `ngrok` 3.39 in tests: takes the arguments that its documentation names, and answers like it.

What it does is in the JSON file that `FAKE_NGROK` names: `urls` to give in turn, `refusal` with ngrok's error text,
`silent`, `stubborn` (deaf to SIGTERM), `old` (older than 3.16). Each run is noted in the list `runs` beside it.
"""

import json
import os
import re
import signal
import stat
import sys
import time
from pathlib import Path

FLAGS = {"--log", "--log-format", "--log-level", "--url", "--config", "--inspect"}


def fail(text: str) -> None:
    for line in text.splitlines():
        print(f"ERROR:  {line}", file=sys.stderr)
    sys.exit(1)


def arguments(given: list[str], *, old: bool) -> dict[str, str]:
    values: dict[str, str] = {}
    rest = list(given)
    positional = []
    while rest:
        word = rest.pop(0)
        if not word.startswith("-"):
            positional.append(word)
            continue
        name, has_value, value = word.partition("=")
        if name not in FLAGS - ({"--url"} if old else set()):
            fail(f"unknown flag: {name}")
        values[name] = value if has_value else rest.pop(0)
    if positional[:1] != ["http"] or len(positional) != 2:
        fail("Unrecognized command")
    if not re.fullmatch(r"(\S+:)?\d+", positional[1]):
        fail("invalid tunnel configuration")
    if values.get("--log") != "stdout" or values.get("--log-format") != "json":
        fail("the test wants JSON on stdout")
    return values | {"address": positional[1]}


def token_of(values: dict[str, str]) -> str:
    if "--config" not in values:
        return ""
    path = Path(values["--config"])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600, "the token is readable by others"
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    found = re.fullmatch(r"version: 3\nagent:\n  authtoken: (.*)\n", path.read_text())
    assert found, path.read_text()
    return json.loads(found[1])


def say(level: str, message: str, **fields: str) -> None:
    entry = {"t": "2026-09-12T20:25:17+0200", "lvl": level, "msg": message, **fields}
    print(json.dumps(entry), flush=True)


def main() -> None:
    plan_file = Path(os.environ["FAKE_NGROK"])
    plan = json.loads(plan_file.read_text())
    runs_file = plan_file.with_name("runs.json")
    runs = json.loads(runs_file.read_text()) if runs_file.exists() else []
    values = arguments(sys.argv[1:], old=plan.get("old", False))
    token = token_of(values)
    runs.append({"argv": sys.argv[1:], "pid": os.getpid(), "token": token, "address": values["address"]})
    runs_file.with_suffix(".new").write_text(json.dumps(runs))
    runs_file.with_suffix(".new").rename(runs_file)
    if plan.get("stubborn"):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    say("info", "starting web service", obj="web", addr="127.0.0.1:4040")
    refusal = plan.get("refusal", "").replace("TOKEN", token)
    if refusal:
        say("eror", "failed to reconnect session", obj="tunnels.session", err=refusal)
        if plan.get("stays"):
            time.sleep(60)
        fail(refusal)
    if plan.get("silent"):
        time.sleep(60)
    urls = plan["urls"]
    url = values.get("--url") or urls[min(len(runs), len(urls)) - 1]
    say("info", "client session established", obj="tunnels.session")
    address = f"http://{values['address']}"
    say("info", "started tunnel", obj="tunnels", name="command_line", addr=address, url=url)
    while True:
        time.sleep(60)


main()

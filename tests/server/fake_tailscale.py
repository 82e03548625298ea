"""Stands in for `tailscale` 1.98 in tests: the flags of its source, and the same changes of the same configuration.

The daemon's state is the JSON file that `FAKE_TAILSCALE` names: `state`, `name`, `serve` (an `ipn.ServeConfig`),
`refusal` for serve and funnel, `disabled` for a tailnet where the feature has to be enabled first, `calls` so far.
"""

import json
import os
import sys
import time
from pathlib import Path

FILE = Path(os.environ["FAKE_TAILSCALE"])


def fail(text: str) -> None:
    print(text, file=sys.stderr)
    sys.exit(1)


def flags(given: list[str], known: dict[str, type]) -> tuple[dict[str, str], list[str]]:
    """Go's flag syntax: `--name=value`, booleans alone, everything after the first other word is left."""
    values: dict[str, str] = {}
    rest = list(given)
    while rest and rest[0].startswith("-"):
        name, has_value, value = rest.pop(0).lstrip("-").partition("=")
        if name not in known:
            fail(f"flag provided but not defined: -{name}")
        if known[name] is bool:
            values[name] = value if has_value else "true"
        else:
            values[name] = value if has_value else rest.pop(0)
    return values, rest


def main() -> None:
    daemon = json.loads(FILE.read_text())
    daemon.setdefault("calls", []).append(sys.argv[1:])
    save(daemon)
    if daemon.get("down"):
        fail("failed to connect to local tailscaled; it doesn't appear to be running")
    match sys.argv[1:]:
        case ["status", *rest]:
            values, left = flags(rest, {"json": bool, "peers": bool, "self": bool})
            assert (values.get("json"), left) == ("true", [])
            own = {"DNSName": f"{daemon['name']}." if daemon["name"] else ""}
            print(json.dumps({"Version": "1.98.8", "BackendState": daemon["state"], "Self": own}))
        case ["serve" | "funnel", "status", *rest]:
            values, left = flags(rest, {"json": bool})
            assert (values.get("json"), left) == ("true", [])
            print(json.dumps(daemon.get("serve")))
        case ["serve" | "funnel" as command, *rest]:
            set_up(daemon, command, rest)
        case _:
            fail(f"tailscale: unknown subcommand: {sys.argv[1:2]}")


def set_up(daemon: dict, command: str, given: list[str]) -> None:
    values, rest = flags(given, {"bg": bool, "yes": bool, "https": int, "set-path": str})
    assert values.get("yes") == "true", "it would ask, and nobody is there"
    port, path = int(values.get("https", 443)), values.get("set-path", "")
    key = f"{daemon['name']}:{port}"
    if daemon.get("refusal"):
        fail(daemon["refusal"])
    if command == "funnel":
        if port not in (443, 8443, 10000):
            fail(f"port {port} is not allowed for funnel; allowed ports are: 443,8443,10000")
        if daemon.get("disabled"):
            print("\nFunnel is not enabled on your tailnet.\nTo enable, visit:\n\n         https://login.tailscale.com/f/funnel?node=n1\n", flush=True)  # fmt: skip  # noqa: E501 as it is
            if daemon["disabled"] == "waits":
                time.sleep(60)
            sys.exit(0)
    assert (len(rest), path[:1]) == (1, "/")
    config = daemon.get("serve") or {}
    handlers = config.setdefault("Web", {}).setdefault(key, {"Handlers": {}})["Handlers"]
    if rest == ["off"]:
        if path not in handlers:
            fail("error: failed to remove web serve: handler does not exist\n\ntry `tailscale serve --help`")
        del handlers[path]
        if not handlers:
            del config["Web"][key]
            config.get("TCP", {}).pop(str(port), None)
            config.get("AllowFunnel", {}).pop(key, None)
    else:
        assert values.get("bg") == "true", "it would never end"
        handlers[path] = {"Proxy": rest[0]}
        config.setdefault("TCP", {})[str(port)] = {"HTTPS": True}
        config.setdefault("AllowFunnel", {})
        if command == "funnel":
            config["AllowFunnel"][key] = True
        else:
            config["AllowFunnel"].pop(key, None)
    daemon["serve"] = config
    save(daemon)
    print("Available on the internet:" if command == "funnel" else "Available within your tailnet:")


def save(daemon: dict) -> None:
    new = FILE.with_suffix(".new")
    new.write_text(json.dumps(daemon))
    new.rename(FILE)


main()

#!/usr/bin/env python3
"""Answers as the program `openclaw` does to the commands that our installer gives; keeps what it was told in a file."""

import json
import os
import shutil
import sys
from pathlib import Path

home = Path(os.environ["FAKE_OPENCLAW"])
settings = json.loads((home / "settings.json").read_text())
installed = home / "extensions" / "voice-call"
arguments = sys.argv[1:]
with (home / "told.txt").open("a") as told:
    told.write(" ".join(arguments) + "\n")

match arguments:
    case ["--version"]:
        print(settings.get("version", "OpenClaw 2026.9.6 (eb377ac)"))
        sys.exit(settings.get("versionCode", 0))
    case ["plugins", "install", folder, "--force", "--accept-capabilities"]:
        if problem := settings.get("refuses"):
            print(problem, file=sys.stderr)
            sys.exit(1)
        for path in (Path(folder), *Path(folder).rglob("*")):
            if path.stat().st_mode & 0o022 or (path.is_file() and path.stat().st_nlink > 1):
                print("Plugin artifact has no valid plugin manifest", file=sys.stderr)
                sys.exit(1)
        shutil.rmtree(installed, ignore_errors=True)
        shutil.copytree(folder, installed)
    case ["plugins", "install", *_]:
        print("requires capability consent; rerun with --accept-capabilities", file=sys.stderr)
        sys.exit(1)
    case ["plugins", "uninstall", "voice-call", "--force"]:
        shutil.rmtree(installed)
    case ["plugins", "inspect", "voice-call", "--runtime", "--json"]:
        if not installed.is_dir():
            print("Plugin not found: voice-call", file=sys.stderr)
            sys.exit(1)
        manifest = json.loads((installed / "openclaw.plugin.json").read_text())
        plugin = {
            "id": manifest["id"],
            "version": settings.get("bridge", manifest["version"]),
            "rootDir": str(installed),
            "toolNames": manifest["contracts"]["tools"],
            "cliCommands": [command["name"] for command in manifest["cliCommands"]],
        }
        print(
            json.dumps(
                {
                    "plugin": plugin,
                    "tools": plugin["toolNames"],
                    "diagnostics": settings.get("diagnostics", []),
                }
            )
        )
    case _:
        sys.exit(f"error: unknown command {arguments}")

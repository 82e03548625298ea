"""Add up pytest's JUnit reports, print one closing line, and fail when something failed or is missing."""

import sys
from pathlib import Path
from xml.etree import ElementTree


def main(seconds: str, *paths: str) -> int:
    """Return the exit code: 0 when every report is there and holds passed and skipped tests only.

    Args:
        seconds: How long it all took.
        paths: The reports. Failures of those that follow `--again` and its report are settled by that one.
    """
    at = paths.index("--again") if "--again" in paths else len(paths)
    settled, paths = paths[at + 2 :], (*paths[:at], *paths[at + 1 :])
    total = {"tests": 0, "failures": 0, "errors": 0, "skipped": 0}
    missing = [path for path in paths if not Path(path).is_file()]
    for path in paths:
        if path in missing:
            continue
        # The reports were written by our own pytest a moment ago.
        for suite in ElementTree.parse(path).getroot().iter("testsuite"):  # noqa: S314
            counts = {key: int(suite.get(key, "0")) for key in total}
            if path in settled:
                counts["tests"] -= counts["failures"] + counts["errors"]
                counts["failures"] = counts["errors"] = 0
            for key in total:
                total[key] += counts[key]
    passed = total["tests"] - total["failures"] - total["errors"] - total["skipped"]
    parts = [f"{passed} passed"]
    parts += [f"{total[key]} {word}" for key, word in _WORDS.items() if total[key]]
    parts += [f"{len(missing)} parts did not finish"] if missing else []
    print(f"==== {', '.join(parts)} in {seconds} s ====")
    return int(bool(missing or total["failures"] or total["errors"] or not passed))


_WORDS = {"failures": "failed", "errors": "errors", "skipped": "skipped"}

if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

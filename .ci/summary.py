"""Add up pytest's JUnit reports, print one closing line, and fail when something failed or is missing."""

import sys
from pathlib import Path
from xml.etree import ElementTree

Counts = dict[str, int]


def main(seconds: str, *paths: str) -> int:
    """Return the exit code: 0 when every report is there and holds passed and skipped tests only.

    Args:
        seconds: How long it all took.
        paths: The reports. After `--again` comes the report of modules that were run once more, and then those that
            they had failed in: it settles whether they failed, and its tests are counted already.
    """
    at = paths.index("--again") if "--again" in paths else len(paths)
    again, settled = paths[at + 1 : at + 2], paths[at + 2 :]
    counts = {path: _counts(path) for path in (*paths[:at], *again, *settled) if Path(path).is_file()}
    missing = len(set(paths) - {"--again"} - counts.keys())
    total = {key: sum(each[key] for path, each in counts.items() if path not in again) for key in _KEYS}
    for key in ("failures", "errors"):
        total[key] += sum(counts[path][key] for path in again if path in counts)
        total[key] -= sum(counts[path][key] for path in settled if path in counts)
    passed = total["tests"] - total["failures"] - total["errors"] - total["skipped"]
    parts = [f"{passed} passed"]
    parts += [f"{total[key]} {word}" for key, word in _WORDS.items() if total[key]]
    parts += [f"{missing} parts did not finish"] if missing else []
    print(f"==== {', '.join(parts)} in {seconds} s ====")
    return int(bool(missing or total["failures"] or total["errors"] or not passed))


def _counts(path: str) -> Counts:
    # The reports were written by our own pytest a moment ago.
    suites = list(ElementTree.parse(path).getroot().iter("testsuite"))  # noqa: S314
    return {key: sum(int(suite.get(key, "0")) for suite in suites) for key in _KEYS}


_KEYS = ("tests", "failures", "errors", "skipped")
_WORDS = {"failures": "failed", "errors": "errors", "skipped": "skipped"}

if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

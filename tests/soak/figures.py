"""Where the long tests leave what they measured: `out/soak/<name>.json`, and a line on the screen."""

import json
import os
from pathlib import Path
from typing import Any

FOLDER = Path(os.environ.get("SOAK_OUT", Path(__file__).parents[2] / "out" / "soak"))


def keep(name: str, **figures: Any) -> None:
    """Keep the figures of one test under its name."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / f"{name}.json").write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    print(f"\n{name}: " + ", ".join(f"{key} {value}" for key, value in figures.items()), flush=True)

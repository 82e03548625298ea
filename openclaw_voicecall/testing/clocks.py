"""A wall clock that is set while programs run, as by an operator, a time server, or a machine without a battery.

```python
clock = SteppedClock(folder)
with mock.patch.dict(os.environ, clock.environment):
    ...                     # Python programs started here live by this clock, and so do their children
    clock.step(3600)        # and it is an hour later now, for all of them at once
```

The programs are real and run their own code; only what they are told the time of day is, is changed, in Python's module
`time`. The monotonic clock goes on as it is. (The library faketime does the same below Python, but looks at its file
whenever anybody asks for any clock: a service that carries audio then needs ten times the processor.)

`datetime.now()` does not ask the module `time` and tells the real time.
"""

import os
import struct
from collections.abc import Mapping
from pathlib import Path

_OFFSET = struct.Struct("d")

_SITE = '''\
"""Written by openclaw_voicecall.testing.clocks: the time of day of this process can be set from outside."""

import mmap
import struct
import time

with open({path!r}, "rb") as file:
    held = mmap.mmap(file.fileno(), 8, access=mmap.ACCESS_READ)


def replace(module=time, read=struct.Struct("d").unpack_from):
    seconds, nanoseconds, local, universal = module.time, module.time_ns, module.localtime, module.gmtime
    module.time = lambda: seconds() + read(held)[0]
    module.time_ns = lambda: nanoseconds() + round(read(held)[0] * 1e9)
    module.localtime = lambda at=None: local(module.time() if at is None else at)
    module.gmtime = lambda at=None: universal(module.time() if at is None else at)


replace()
'''
"""Python runs a module of the name `sitecustomize` before everything else."""


class SteppedClock:
    """The time of day of the programs that are started with `environment`.

    Args:
        folder: Where the clock is kept; it must exist as long as the programs run, and hold nothing else.
    """

    def __init__(self, folder: Path) -> None:
        self.offset = 0.0
        """Seconds that the clock is ahead of the real one."""
        self._folder = folder
        self._file = folder / "offset"
        self._file.write_bytes(_OFFSET.pack(0.0))
        (folder / "sitecustomize.py").write_text(_SITE.format(path=str(self._file)), encoding="utf-8")

    @property
    def environment(self) -> Mapping[str, str]:
        """Variables for programs that live by this clock."""
        paths = filter(None, (str(self._folder), os.environ.get("PYTHONPATH", "")))
        return {"PYTHONPATH": os.pathsep.join(paths)}

    def step(self, seconds: float) -> None:
        """Set the clock forward, or back by a negative number."""
        self.offset += seconds
        with self._file.open("r+b") as file:  # in place, because programs have it mapped
            file.write(_OFFSET.pack(self.offset))

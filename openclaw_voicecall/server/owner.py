"""Who holds a port, where the system tells us."""

from pathlib import Path

LISTEN = "0A"
"""State of a listening socket in /proc/net/tcp."""


def owner_of_port(port: int) -> str:
    """`process NAME (pid N)` of whoever listens on a TCP port; empty where that cannot be told."""
    inodes = {
        fields[9]
        for table in ("/proc/net/tcp", "/proc/net/tcp6")
        for fields in _rows(Path(table))
        if fields[3] == LISTEN and int(fields[1].rpartition(":")[2], 16) == port
    }
    wanted = {f"socket:[{inode}]" for inode in inodes}
    for process in Path("/proc").glob("[0-9]*") if wanted else ():
        try:
            if any(link.readlink().name in wanted for link in (process / "fd").iterdir()):
                name = (process / "comm").read_text().strip()
                return f"process {name} (pid {process.name})"
        except OSError:
            continue  # another user's process, or one that is gone
    return ""


def _rows(table: Path) -> list[list[str]]:
    try:
        return [line.split() for line in table.read_text().splitlines()[1:]]
    except OSError:
        return []

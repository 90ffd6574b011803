"""Memory: how much is free, and the refusal of what needs more, before it is taken.

What a file or a flag announces is multiplied out in Python's integers, which do not
overflow, and compared with what this process may still take: of the machine, of its
control group (containers, batch systems) and of the limit on its address space.
"""

import os
from pathlib import Path

from mmdiff.errors import MemoryLimitError

_GROUPS = Path("/sys/fs/cgroup")


def require(needed: int, what: str, advice: str) -> None:
    """Raise MemoryLimitError where less than so many bytes are free.

    Args:
      needed: bytes, an estimate from below.
      what: needs them, to begin a sentence with.
      advice: sentence that says what to do.
    """
    free = available()
    if free is not None and needed > free:
        raise MemoryLimitError(
            f"{what} needs about {_gigabytes(needed)} of memory, and "
            f"{_gigabytes(free)} are free. {advice}"
        )


def available() -> int | None:
    """Return the bytes that this process may still take; None where nothing tells."""
    found = [_of_machine(), _of_address_space(), *_of_groups()]
    known = [size for size in found if size is not None]
    return max(min(known), 0) if known else None


def used() -> int | None:
    """Return the bytes of address space of this process; None where nothing tells."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[0]) * _page()
    except (OSError, ValueError):
        return None


def limit(more: int | None) -> None:
    """Let this process take so many bytes more; where the system cannot, any number."""
    taken = used()
    if more is None or taken is None:
        return
    import resource

    _, most = resource.getrlimit(resource.RLIMIT_AS)
    wanted = taken + more
    if most != resource.RLIM_INFINITY:
        wanted = min(wanted, most)
    resource.setrlimit(resource.RLIMIT_AS, (wanted, most))


def _of_machine() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        sizes = dict(line.split(":") for line in lines)
        return int(sizes["MemAvailable"].split()[0]) * 1024
    except (OSError, ValueError, KeyError):
        pass
    try:  # all of it, which is better than nothing
        return os.sysconf("SC_PHYS_PAGES") * _page()
    except (OSError, ValueError):
        return None


def _of_address_space() -> int | None:
    try:
        import resource
    except ImportError:  # Windows
        return None
    limit, taken = resource.getrlimit(resource.RLIMIT_AS)[0], used()
    if limit == resource.RLIM_INFINITY or taken is None:
        return None
    return limit - taken


def _of_groups() -> list[int]:
    """Return what is left to the control group of this process and those above it."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return []
    own = next((line[3:] for line in lines if line.startswith("0::")), "/")
    folder, left = _GROUPS / own.lstrip("/"), []
    while folder.is_relative_to(_GROUPS):
        try:
            limit = int((folder / "memory.max").read_text())
            taken = int((folder / "memory.current").read_text())
            lines = (folder / "memory.stat").read_text().splitlines()
            # Files that were read stand in memory until that is needed.
            cached = int(dict(line.split() for line in lines)["inactive_file"])
            left.append(limit - taken + cached)
        except (OSError, ValueError, KeyError):  # no limit is "max"
            pass
        folder = folder.parent
    return left


def _page() -> int:
    return os.sysconf("SC_PAGE_SIZE")


def _gigabytes(size: int) -> str:
    return f"{size // 10**9} GB" if size >= 10**10 else f"{size / 1e9:.2g} GB"

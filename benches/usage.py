"""What processes use: memory, processor time and bytes written, as the kernel counts them."""

import os
import time

from host import memory_cgroups

MIB = 1024 * 1024


def pids_of(executable):
    """Every process that runs `executable`: the server and its shims."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                if os.readlink(f"/proc/{entry}/exe") == executable:
                    found.append(int(entry))
            except OSError:
                pass
    return found


def memory(pid):
    """Bytes of a process by name: Rss, Pss, Pss_Anon, Private_Dirty, …"""
    with open(f"/proc/{pid}/smaps_rollup") as file:
        fields = (line.split() for line in file.readlines()[1:])
        return {field[0].rstrip(":"): int(field[1]) * 1024 for field in fields}


def private(pid):
    sizes = memory(pid)
    return sizes["Private_Clean"] + sizes["Private_Dirty"]


def cgroup_memory(name):
    """Bytes that a cgroup holds on to: all that is charged to it, kernel memory and the pages of
    the executable included, but for the part of the page cache that no process has mapped."""
    total = 0
    for directory in memory_cgroups(name):
        unified = os.path.exists(f"{directory}/memory.current")
        with open(f"{directory}/{'memory.current' if unified else 'memory.usage_in_bytes'}") as file:
            charged = int(file.read())
        with open(f"{directory}/memory.stat") as file:
            stat = {name: int(value) for name, value in (line.split() for line in file)}
        if unified:
            total += charged - stat["file"] + stat["file_mapped"]
        else:
            total += charged - stat["total_cache"] + stat["total_mapped_file"]
    return total


def anonymous(pid):
    return memory(pid)["Anonymous"]


def cpu_seconds(pid):
    """Processor time of all threads; the clock's id is what clock_getcpuclockid(3) would return."""
    return time.clock_gettime((~pid << 3) | 2)


def bytes_written(pid):
    """Bytes that a process caused to be written to storage."""
    with open(f"/proc/{pid}/io") as file:
        counters = dict(line.split(": ") for line in file)
    return int(counters["write_bytes"]) - int(counters["cancelled_write_bytes"])

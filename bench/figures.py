"""What bench/versus and bench/disk share: lines of the guests' programs, marks by which guest's and host's clock are compared, medians."""
import os
import re
import statistics
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "tools"))
import guest  # noqa: E402


def rows_of(text):
    """Name -> value of the lines `NAME VALUE s|us`."""
    return {m[1]: float(m[2]) for m in re.finditer(r"^([a-z0-9]+) (\d+\.\d+) (?:s|us)\r?$", text, re.M)}


def say_mark(name):
    """The guest's command that `mark()` waits for."""
    return f"echo MARK {name} $(cut -d\\  -f1 /proc/uptime)"


def mark(machine, name, marks):
    """marks[name] becomes (host's seconds since the start, guest's uptime, CPU seconds, the processes)."""
    match = machine.expect(rf"^MARK {name} ([0-9.]+)\s")
    now, processes = time.monotonic() - machine.start, list(guest.family(machine.process.pid))
    marks[name] = (now, float(match[1]), guest.cpu_seconds(processes), processes)


def clock_is_off(marks, first, last):
    """What is wrong with the guest's clock between two marks, or None."""
    host, inside = (marks[last][i] - marks[first][i] for i in (0, 1))
    if abs(inside / host - 1) <= 0.01:
        return None
    return f"the guest's clock ran at {inside / host:.4f} of the host's: its times count for nothing"


def medians(runs):
    names = {name for run in runs for name in run}
    return {name: statistics.median([run[name] for run in runs if name in run]) for name in names}

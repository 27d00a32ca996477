"""Runs the guest over a file of programs, in bt or in QEMU, and takes its packets apart."""
import os
import struct
import subprocess
import time

RESULT, EVENT, DIFF, END, TALLY, DONE = 0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6
ENDS = ["last slot", "too many events", "triple fault", "harness fault", "watchdog"]
HANG = 9
EVENT_FIELDS = ["slot", "vector", "kind", "error", "eip", "cs", "eflags", "esp", "ss", "ds", "es", "fs", "gs", "eax", "ecx", "edx", "ebx", "ebp", "esi", "edi", "cr0", "cr2",
                "cr3", "cr4", "inner_esp", "inner_ss", "inner_eflags", "tr", "ldtr", "gdt_limit", "gdt_base", "idt_limit", "idt_base", "dr6", "dr7", "arithmetic", "rf", "write"]
TALLY_VECTORS = 34


class Record:
    """What one program did: its result, and with `full` its events, changed words and model-specific registers."""

    def __init__(self):
        self.result, self.events, self.diffs, self.end, self.msrs = None, [], [], None, None


def packets(data):
    at = 0
    while at + 4 <= len(data):
        head, = struct.unpack_from("<I", data, at)
        kind, count = head >> 24, head & 0xffffff
        if not RESULT <= kind <= DONE:
            raise ValueError(f"a packet of kind {kind:x} at {at}")
        if at + 4 + 4 * count > len(data):
            return
        yield kind, struct.unpack_from(f"<{count}I", data, at + 4)
        at += 4 + 4 * count


def take_apart(data):
    """(records in order, the unfinished one, tally or None)"""
    records, current, tally = [], Record(), None
    for kind, words in packets(data):
        if kind == EVENT:
            current.events.append(dict(zip(EVENT_FIELDS, words)))
        elif kind == DIFF:
            current.diffs.append(words)
        elif kind == END:
            current.msrs = words[1:]
        elif kind == RESULT:
            current.result, current.end = words, words[6] >> 8 & 0xff
            records.append(current)
            current = Record()
        elif kind == TALLY:
            tally = words
    return records, current, tally


class Side:
    """One emulator: `command` is its program and its own arguments."""

    def __init__(self, name, command, guest, folder, patience):
        self.name, self.command, self.guest, self.folder, self.patience = name, command, guest, folder, patience
        self.seconds = 0.0
        self.programs = 0

    def _start(self, data, full):
        module, output = (os.path.join(self.folder, f"{self.name}.{x}") for x in ("bin", "out"))
        with open(module, "wb") as file:
            file.write(data)
        open(output, "wb").close()
        words = self.command + ["-cpu", "n270", "-m", "64", "-kernel", self.guest, "-initrd", module, "-append", "full" if full else "hash", "-display", "none", "-nodefaults",
                                "-serial", "file:" + output, "-device", "isa-debug-exit,iobase=0xf4,iosize=4"]
        return subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE), output

    def _wait(self, child, output):
        """True: it ended by itself. False: no packet for `patience` seconds."""
        size, since = 0, time.monotonic()
        while True:
            try:
                child.wait(0.05 if time.monotonic() - since < 1 else 0.2)
                return True
            except subprocess.TimeoutExpired:
                pass
            now = os.path.getsize(output)
            if now != size:
                size, since = now, time.monotonic()
            elif time.monotonic() - since > self.patience:
                child.kill()
                child.wait()
                return False

    def run(self, programs, full=False):
        """[Record] for `programs` (bytes each), and the tally of events. A program that hangs is ended, and the rest is run after it."""
        records, tally, start = [], None, time.monotonic()
        while len(records) < len(programs):
            child, output = self._start(b"".join(programs[len(records):]), full)
            ended = self._wait(child, output)
            complaint = child.stderr.read().decode("latin-1")
            child.stderr.close()
            with open(output, "rb") as file:
                more, lost, counts = take_apart(file.read())
            records += more
            if counts:
                tally = counts
            if len(records) < len(programs):
                lost.end = HANG
                if ended:
                    lost.complaint = complaint.strip()[-300:]
                    lost.end = 10
                records.append(lost)
        self.seconds += time.monotonic() - start
        self.programs += len(programs)
        return records, tally

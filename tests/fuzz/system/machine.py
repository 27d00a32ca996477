"""Runs the guest over programs, in bt or in QEMU, and takes its packets apart."""
import os
import shutil
import struct
import subprocess
import time

RESULT, EVENT, HIDDEN, CHANGE, TALLY, DONE, START = range(0xa1, 0xa8)
ENDS = ["last slot", "too many events", "triple fault", "harness fault", "watchdog", "hang", "emulator ended", "exit"]
PROPER = (0, 1, 2, 3, 4)     # how the guest says that a program ended
TICKS = os.sysconf("SC_CLK_TCK")
END_TRIPLE, END_HARNESS, END_WATCHDOG, END_HANG, END_DIED, END_EXIT = 2, 3, 4, 5, 6, 7   # the last three are what this file says, not the guest
EXITED = 1                   # status of an emulator whose guest said that it has done, by isa-debug-exit or Bochs' shutdown: a program can lead to there
EVENT_FIELDS = ["slot", "vector", "kind", "error", "eip", "cs", "eflags", "esp", "ss", "ds", "es", "fs", "gs", "eax", "ecx", "edx", "ebx", "ebp", "esi", "edi", "cr0", "cr2",
                "cr3", "cr4", "inner_esp", "inner_ss", "inner_eflags", "tr", "ldtr", "gdt_limit", "gdt_base", "idt_limit", "idt_base", "dr6", "dr7", "arithmetic", "rf", "write"]
HIDDEN_FIELDS = ["dr0", "dr1", "dr2", "dr3", "sysenter_cs", "sysenter_esp", "sysenter_eip", "efer"]
TALLY_VECTORS = 34
# What of an event is in struct state (guest/guest.h), in the order in which it is to be written there: the base of a table is behind its limit's 16 bits.
STATE = {"eax": 0, "ecx": 4, "edx": 8, "ebx": 12, "ebp": 20, "esi": 24, "edi": 28, "eip": 32, "kind": 72, "cr0": 76, "cr3": 84, "cr4": 88, "dr7": 112,
         "gdt_limit": 116, "gdt_base": 118, "idt_limit": 124, "idt_base": 126, **{name: 132 + 4 * n for n, name in enumerate(HIDDEN_FIELDS)}}
START_SECONDS, HANG_SECONDS = 15, 0.6   # of its CPU's time without a packet (the guest's watchdog ends a program after 0.05 s, a triple fault is a reset)
OUTPUT_MOST = 256 << 20     # bytes of packets: a guest that says more never ends
IDLE_LOOKS = 15             # 0.05 s apart, at which none of its threads wants a CPU
ABSENT = {"cr0": 0xe005003f, "cr4": 0x7bc, "efer": 0x801, 0x1d000: ~0x20 & 0xffffffff}   # what QEMU has that bt has not: masks; at last the PDPT's accessed bit
FIXUP = struct.Struct("<4I")
START_BYTES = struct.pack("<3I", START << 24 | 2, 0x74736574, 0x6d657473)
MAIN, ACCESSED, FLAGS, RF_WRONG, PF_WRITES, STATUS = 1, 2, 3, 4, 5, 6   # of a result: program.h


def end_of(result):
    return result[STATUS] >> 8 & 0xff


def lost_result(end):
    return (0, 0, 0, 0, 0, 0, end << 8)


class Record:
    """What one program did: its events, each with the words {address: value} that the step up to it changed, and what there was before; and how it ended."""

    def __init__(self):
        self.result, self.events, self.changes, self.before = None, [], [], []

    @property
    def end(self):
        return end_of(self.result)


def packets(data):
    """(kind, words), from each start of the machine up to the first thing that is none: Bochs' debugger speaks between them, and a program may have got at
    the serial port, or at the guest's own memory."""
    for piece in data.split(START_BYTES)[1:]:
        yield from packets_of_one(piece)


def packets_of_one(data):
    at = 0
    while at + 4 <= len(data):
        head, = struct.unpack_from("<I", data, at)
        kind, count = head >> 24, head & 0xffffff
        if not RESULT <= kind <= DONE or at + 4 + 4 * count > len(data):
            return
        yield kind, struct.unpack_from(f"<{count}I", data, at + 4)
        at += 4 + 4 * count


def step_records(data):
    """(records in order, the unfinished one, tally or None)"""
    records, current, tally, sizes = [], Record(), None, {EVENT: len(EVENT_FIELDS), HIDDEN: len(HIDDEN_FIELDS), CHANGE: 3, RESULT: 7}
    for kind, words in packets(data):
        if len(words) != sizes.get(kind, len(words)):   # a program got at the serial port, or at the packets in memory
            break
        if kind == EVENT:
            current.events.append(dict.fromkeys(HIDDEN_FIELDS, 0) | dict(zip(EVENT_FIELDS, words)))
            current.changes.append({})
            current.before.append({})
        elif kind == HIDDEN and current.events:
            current.events[-1].update(zip(HIDDEN_FIELDS, words))
        elif kind == CHANGE and current.events:
            current.changes[-1][words[0]], current.before[-1][words[0]] = words[1:]
        elif kind == RESULT:
            if words[0] != len(records):
                break
            current.result = words
            records.append(current)
            current = Record()
        elif kind == TALLY:
            tally = words
    return records, current, tally


def hash_results(data):
    """(results in order, tally or None)"""
    results, tally = [], None
    for kind, words in packets(data):
        if kind == RESULT and len(words) == 7 and words[0] == len(results):
            results.append(words)
        tally = words if kind == TALLY else tally
    return results, tally


def cpu_seconds(pid):
    """What a process that has not been waited for has used."""
    with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
        words = file.read().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / TICKS


def asleep(pid):
    """None of its threads wants a CPU."""
    for thread in os.listdir(f"/proc/{pid}/task"):
        try:
            with open(f"/proc/{pid}/task/{thread}/stat", encoding="ascii", errors="replace") as file:
                if file.read().rpartition(")")[2].split()[0] != "S":
                    return False
        except OSError:
            return False
    return True


def fixups_of(number, record):
    """struct fixup for each word of a record's state at each event. Registers are those of the next step, which are not all of them."""
    data = []
    for n, (event, changes) in enumerate(zip(record.events, record.changes)):
        data += [(number, n, at, event[field] & ABSENT.get(field, 0xffffffff)) for field, at in STATE.items()]
        data += [(number, n, at, value & ABSENT.get(at, 0xffffffff)) for at, value in changes.items()]
    return b"".join(FIXUP.pack(*words) for words in data)


class Side:
    """One emulator: `command` is its program and its own arguments, among them the CPU's model."""

    stdout_is_output = False     # what the guest says is what it prints, not a file
    chatty = False               # says something on stderr even if nothing is wrong

    def __init__(self, name, command, guest, folder):
        self.name, self.command, self.guest, self.folder = name, command, guest, folder
        self.seconds = self.programs = 0
        self.complaint = ""
        self.crashes = []            # what was said by an emulator that died of a signal

    def _file(self, suffix, data=b""):
        path = os.path.join(self.folder, f"{self.name}.{suffix}")
        with open(path, "wb") as file:
            file.write(data)
        return path

    def _load(self, data, mode):
        """Arguments that put the guest and its programs into memory."""
        return ["-kernel", self.guest, "-initrd", self._file("bin", data), "-append", mode]

    def _execute(self, data, mode, arguments):
        """The guest's packets, and the end of the program that it was in, if it was in one."""
        output = self._file("out")
        with open(output, "wb") as said, open(os.devnull, "wb") as nothing:
            words = self._words(data, mode, arguments, output)
            with subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=said if self.stdout_is_output else nothing, stderr=subprocess.PIPE) as child:
                ended = self._wait(child, output)
                self.complaint = child.stderr.read().decode("utf-8", "replace").strip()[-300:]
        if ended and child.returncode < 0:
            self.crashes.append(f"signal {-child.returncode}: {self.complaint}")
        exited = child.returncode == EXITED and (self.chatty or not self.complaint)
        return self._said(output), END_HANG if not ended else END_EXIT if exited else END_DIED

    def _said(self, output):
        with open(output, "rb") as file:
            return file.read()

    def _progress(self, output):
        """What grows with each packet."""
        return os.path.getsize(output)

    def _words(self, data, mode, arguments, output):
        return self.command + arguments + ["-m", "64", *self._load(data, mode), "-display", "none", "-nodefaults", "-serial", "file:" + output,
                                           "-device", "isa-debug-exit,iobase=0x8e74,iosize=4"]

    def _wait(self, child, output):
        """True: it ended by itself. False: too long without a packet, in time that it had a CPU for (a busy machine changes nothing), or too many of them."""
        size, used, idle = 0, 0, 0
        while True:
            try:
                child.wait(0.05)
                return True
            except subprocess.TimeoutExpired:
                pass
            now = self._progress(output)
            if now != size and now < OUTPUT_MOST:
                size, used, idle = now, cpu_seconds(child.pid), 0
                continue
            idle = idle + 1 if asleep(child.pid) else 0
            if now >= OUTPUT_MOST or cpu_seconds(child.pid) - used > (HANG_SECONDS if size else START_SECONDS) or idle > IDLE_LOOKS:
                child.kill()
                return False

    def hashes(self, data, size, arguments=()):
        """Results of the programs in `data`, each of `size` bytes, and the tallies. A program that hangs is ended, and the rest is run after it."""
        results, tallies, start, count = [], [], time.monotonic(), len(data) // size
        while len(results) < count:
            output, end = self._execute(data[size * len(results):], "hash", list(arguments))
            more, tally = hash_results(output)
            wrecked = next((n for n, result in enumerate(more) if end_of(result) == END_HARNESS), None)
            if wrecked is not None:   # the guest is not what it was: it begins anew with the next program
                results += more[:wrecked + 1]
                continue
            results += more
            tallies += [tally] if tally else []
            if len(results) < count:
                results.append(lost_result(end))
        self.seconds += time.monotonic() - start
        self.programs += count
        return results, tallies

    def records(self, programs, arguments=(), leaders=None):
        """Records of `programs` (bytes each). Each step begins with the state in which a leader's record was then, if there are leaders."""
        records = []
        while len(records) < len(programs):
            left = programs[len(records):]
            fixups = b"".join(fixups_of(n, leader) for n, leader in enumerate(leaders[len(records):])) if leaders else b""
            output, end = self._execute(b"".join(left) + fixups, f"steps={len(left)}", list(arguments))
            more, lost, _ = step_records(output)
            wrecked = next((n for n, record in enumerate(more) if record.end == END_HARNESS), None)
            if wrecked is not None:   # as above
                records += more[:wrecked + 1]
                continue
            records += more
            if len(records) < len(programs):
                lost.result = lost_result(end)
                records.append(lost)
        return records


class Firmware(Side):
    """Boots by guest/bios.S: with SeaBIOS a triple fault costs as much as two hundred programs. Nothing but memory tells it what to do."""

    INFO, COMMAND_LINE, MODULES, PROGRAMS, STORE, STORE_INFO = 0x9000, 0x9080, 0x9040, 0x1000000, 0x2800000, 0x1000

    def _beside(self, name):
        return os.path.join(os.path.dirname(self.guest), name)

    def _files(self, data, mode):
        """[(file, address)] to be put into memory."""
        info = struct.pack("<7I", 0, 0, 0, 0, self.COMMAND_LINE, 1, self.MODULES).ljust(self.MODULES - self.INFO, b"\0")
        info += struct.pack("<2I", self.PROGRAMS, self.PROGRAMS + len(data)).ljust(self.COMMAND_LINE - self.MODULES, b"\0") + mode.encode() + b"\0"
        with open(self._beside("system.bin"), "rb") as image:
            store = info.ljust(self.STORE_INFO, b"\0") + image.read()
        return [(self._file("store", store), self.STORE), (self._file("bin", data), self.PROGRAMS)]


class Qemu(Firmware):
    """Its memory is a file, in which packets are found: a byte on its serial port costs 3 us."""

    SIZE, WRITTEN, OUTPUT = 64 << 20, 0x300000c, 0x3100000   # layout.h; the member `output` of struct persistent

    def _load(self, data, mode):
        memory = os.path.join(self.folder, self.name + ".memory")
        with open(memory, "wb") as file:
            file.truncate(self.SIZE)
        words = ["-bios", self._beside("system-bios.bin"), "-machine", "pc,memory-backend=ram", "-object", f"memory-backend-file,id=ram,size=64M,mem-path={memory},share=on"]
        for path, address in self._files(data, mode + " memory"):
            words += ["-device", f"loader,file={path},addr={address},force-raw=on"]
        return words

    def _memory(self, address, size):
        with open(os.path.join(self.folder, self.name + ".memory"), "rb") as file:
            file.seek(address)
            return file.read(size)

    def _progress(self, output):
        return 4 * int.from_bytes(self._memory(self.WRITTEN, 4), "little")

    def _said(self, output):
        return self._memory(self.OUTPUT, self._progress(output))


class Bochs(Firmware):
    """The third opinion, where bt and QEMU differ. Its debugger reads one command, "continue"; its one display library without a window listens for VNC clients."""

    stdout_is_output = chatty = True
    CONFIGURATION = """config_interface: textconfig
display_library: rfb, options="timeout=0"
romimage: file={bios}, address=0xffff0000, options=none
vgaromimage: file={vga}
vga: extension=none
cpu: model=core_duo_t2400_yonah, ips=40000000, reset_on_triple_fault=1, ignore_bad_msrs=0
memory: guest=64, host=64
clock: sync=none, time0=1577836800
port_e9_hack: enabled=1
sound: waveoutdrv=dummy, waveindrv=dummy, midioutdrv=dummy
com1: enabled=0
log: /dev/null
panic: action=report
error: action=ignore
info: action=ignore
debug: action=ignore
"""

    def __init__(self, name, command, guest, folder):
        alone = ["unshare", "--net", "--map-root-user"]   # nobody can see it there; where the kernel refuses, it listens
        refused = not shutil.which(alone[0]) or subprocess.run([*alone, "true"], stderr=subprocess.DEVNULL, check=False).returncode
        super().__init__(name, command if refused else alone + command, guest, folder)

    def _words(self, data, mode, arguments, output):
        text = self.CONFIGURATION.format(bios=self._beside("system-bios.bin"), vga=self._file("vga", bytes(2048)))
        text += "".join(f"optramimage{n}: file={path}, address={address:#x}\n" for n, (path, address) in enumerate(self._files(data, mode + " bochs"), 1))
        return self.command + ["-q", "-f", self._file("rc", text.encode()), "-rc", self._file("commands", b"c\n" * 10000)]   # it stops at each triple fault

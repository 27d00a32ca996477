"""Runs the guest over programs in bt, in QEMU or in Bochs, ends what does not end, and has its packets taken apart
(packets.py)."""
import os
import shutil
import struct
import subprocess
import time

from layout import (DEBUG_EXIT, END_HARNESS, MULTIBOOT_INFO, OUTPUT, PERSISTENT, PERSISTENT_WRITTEN, PROGRAMS, RAM_END, STORE,
                    STORE_INFO)
from packets import END_DIED, END_EXIT, END_HANG, end_of, fixups_of, hash_results, lost_result, step_records

TICKS = os.sysconf("SC_CLK_TCK")
# Status of an emulator whose guest said that it has done, by isa-debug-exit or Bochs' shutdown: a program can lead to there.
EXITED = 1
# Of its CPU's time without a packet (the guest's watchdog ends a program after 0.05 s, a triple fault is a reset).
START_SECONDS, HANG_SECONDS = 15, 0.6
OUTPUT_MOST = 256 << 20      # bytes of packets: a guest that says more never ends
IDLE_LOOKS = 15              # 0.05 s apart, at which none of its threads wants a CPU
MEGABYTES = RAM_END >> 20


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
            printed = said if self.stdout_is_output else nothing
            with subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=printed, stderr=subprocess.PIPE) as child:
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
        devices = ["-nodefaults", "-serial", "file:" + output, "-device", f"isa-debug-exit,iobase={DEBUG_EXIT:#x},iosize=4"]
        return self.command + arguments + ["-m", str(MEGABYTES), *self._load(data, mode), "-display", "none", *devices]

    def _wait(self, child, output):
        """True: it ended by itself. False: too long without a packet, in time that it had a CPU for (a busy machine changes
        nothing), or too many of them."""
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
            patience = HANG_SECONDS if size else START_SECONDS
            if now >= OUTPUT_MOST or cpu_seconds(child.pid) - used > patience or idle > IDLE_LOOKS:
                child.kill()
                return False

    def hashes(self, data, size, arguments=()):
        """Results of the programs in `data`, each of `size` bytes, and the tallies. A program that hangs is ended, and the rest
        is run after it."""
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
        """Records of `programs` (bytes each). Each step begins with the state in which a leader's record was then, if there are
        leaders."""
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
    """Boots by guest/bios.S: with SeaBIOS a triple fault costs as much as two hundred programs. Nothing but memory tells it what
    to do."""

    MODULES, COMMAND_LINE = MULTIBOOT_INFO + 0x40, MULTIBOOT_INFO + 0x80

    def _beside(self, name):
        return os.path.join(os.path.dirname(self.guest), name)

    def _files(self, data, mode):
        """[(file, address)] to be put into memory."""
        info = struct.pack("<7I", 0, 0, 0, 0, self.COMMAND_LINE, 1, self.MODULES).ljust(self.MODULES - MULTIBOOT_INFO, b"\0")
        info += struct.pack("<2I", PROGRAMS, PROGRAMS + len(data)).ljust(self.COMMAND_LINE - self.MODULES, b"\0")
        info += mode.encode() + b"\0"
        with open(self._beside("system.bin"), "rb") as image:
            store = info.ljust(STORE_INFO, b"\0") + image.read()
        return [(self._file("store", store), STORE), (self._file("bin", data), PROGRAMS)]


class Qemu(Firmware):
    """Its memory is a file, in which packets are found: a byte on its serial port costs 3 us."""

    def _load(self, data, mode):
        memory = os.path.join(self.folder, self.name + ".memory")
        with open(memory, "wb") as file:
            file.truncate(RAM_END)
        words = ["-bios", self._beside("system-bios.bin"), "-machine", "pc,memory-backend=ram",
                 "-object", f"memory-backend-file,id=ram,size={MEGABYTES}M,mem-path={memory},share=on"]
        for path, address in self._files(data, mode + " memory"):
            words += ["-device", f"loader,file={path},addr={address},force-raw=on"]
        return words

    def _memory(self, address, size):
        with open(os.path.join(self.folder, self.name + ".memory"), "rb") as file:
            file.seek(address)
            return file.read(size)

    def _progress(self, output):
        return 4 * int.from_bytes(self._memory(PERSISTENT + PERSISTENT_WRITTEN, 4), "little")

    def _said(self, output):
        return self._memory(OUTPUT, self._progress(output))


class Bochs(Firmware):
    """The third opinion, where bt and QEMU differ. Its debugger reads one command, "continue"; its one display library without a
    window listens for VNC clients."""

    stdout_is_output = chatty = True
    CONFIGURATION = """config_interface: textconfig
display_library: rfb, options="timeout=0"
romimage: file={bios}, address=0xffff0000, options=none
vgaromimage: file={vga}
vga: extension=none
cpu: model=core_duo_t2400_yonah, ips=40000000, reset_on_triple_fault=1, ignore_bad_msrs=0
memory: guest={megabytes}, host={megabytes}
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
        tried = shutil.which(alone[0]) and subprocess.run([*alone, "true"], stderr=subprocess.DEVNULL, check=False)
        refused = not tried or tried.returncode
        super().__init__(name, command if refused else alone + command, guest, folder)

    def _words(self, data, mode, arguments, output):
        vga = self._file("vga", bytes(2048))
        text = self.CONFIGURATION.format(megabytes=MEGABYTES, bios=self._beside("system-bios.bin"), vga=vga)
        for n, (path, address) in enumerate(self._files(data, mode + " bochs"), 1):
            text += f"optramimage{n}: file={path}, address={address:#x}\n"
        commands = self._file("commands", b"c\n" * 10000)   # it stops at each triple fault
        return self.command + ["-q", "-f", self._file("rc", text.encode()), "-rc", commands]

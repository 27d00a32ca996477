"""A guest at the other end of a pipe or of a terminal: start it, wait for text, type, see how it ended. Standard library only."""
import os
import pty
import re
import select
import signal
import subprocess
import tarfile
import termios
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TOOLS = os.path.join(TOP, "tests", "tools")
CACHE = os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "bt")


class Failure(Exception):
    """What a test expected and did not get, in one line."""


class Guest:
    def __init__(self, command, limit, terminal=False, stdin_closed=False):
        self.command, self.text, self.read_to = command, "", 0
        self.start = time.monotonic()
        self.deadline = self.start + limit
        self.limit, self.open, self.screen_changed = limit, True, False
        if terminal:
            self.input, slave = pty.openpty()
            self.output, self.terminal = self.input, slave
            self.mode = termios.tcgetattr(slave)
            self.process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, start_new_session=True)
        else:
            self.terminal = None
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL if stdin_closed else subprocess.PIPE, stdout=subprocess.PIPE,
                                            stderr=subprocess.STDOUT, start_new_session=True, bufsize=0)
            self.input = None if stdin_closed else self.process.stdin.fileno()
            self.output = self.process.stdout.fileno()

    def take(self, seconds):
        """Waits at most that long for output. False at its end."""
        if not select.select([self.output], [], [], max(0, seconds))[0]:
            if self.terminal is not None and self.process.poll() is not None:
                self.open = False
            return self.open
        try:
            chunk = os.read(self.output, 65536)
        except OSError:
            chunk = b""
        self.text += chunk.decode("latin1")
        self.open = bool(chunk)
        return self.open

    def left(self):
        return self.deadline - time.monotonic()

    def expect(self, pattern):
        """The match of a regular expression after what was matched before."""
        while True:
            match = re.compile(pattern, re.M).search(self.text, self.read_to)
            if match:
                self.read_to = match.end()
                return match
            if self.left() <= 0:
                raise Failure(f"no /{pattern}/ within {self.limit} s")
            if not self.open:
                raise Failure(f"ended (status {self.status()}) before /{pattern}/")
            self.take(min(self.left(), 0.2 if self.terminal is not None else 1))

    def send(self, text):
        data = text.encode("latin1")
        while data:
            try:
                data = data[os.write(self.input, data):]
            except (BrokenPipeError, OSError) as error:
                raise Failure(f"does not take input any more: {error}") from None

    def wait(self):
        """Reads to the end and gives the exit status (128 + signal where one killed it)."""
        while self.open and self.left() > 0:
            self.take(min(self.left(), 0.2 if self.terminal is not None else 1))
        try:
            self.process.wait(max(0.1, self.left()))
        except subprocess.TimeoutExpired:
            raise Failure(f"still running after {self.limit} s") from None
        return self.status()

    def status(self):
        try:
            code = self.process.wait(5)
        except subprocess.TimeoutExpired:
            return None
        return code if code >= 0 else 128 - code

    def terminal_restored(self):
        return termios.tcgetattr(self.terminal)[:4] == self.mode[:4]

    def terminate(self):
        """As a user ends it; gives the status."""
        if self.process.poll() is None:
            self.process.terminate()
        while self.open and self.left() > 0:
            self.take(0.2)
        return self.status()

    def close(self):
        if self.process.poll() is None:
            try:
                os.killpg(self.process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            self.process.wait()
        if self.terminal is not None:
            os.close(self.input)
            os.close(self.terminal)
        else:
            for pipe in (self.process.stdin, self.process.stdout):
                if pipe:
                    try:
                        pipe.close()
                    except OSError:
                        pass

    def tail(self, lines=8):
        return self.text.replace("\r", "").splitlines()[-lines:]


def make_disk(loader, out, emulator):
    """A disk that boots Debian by LOADER (tests/tools/make-disk) into the file `out`; Failure where it cannot be made."""
    done = subprocess.run([os.path.join(TOOLS, "make-disk"), "--emulator", emulator, loader, out], capture_output=True, text=True)
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["make-disk failed"])[-1]
        raise Failure(said)
    return out


def fetch(*guests):
    """The directory that holds these guests (tests/tools/fetch-guests); Failure where they cannot be had."""
    done = subprocess.run([os.path.join(TOOLS, "fetch-guests"), *guests], capture_output=True, text=True)
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["fetch-guests failed"])[-1]
        raise Failure(said)
    return done.stdout.strip()


def make_initramfs(directory, out, *files):
    subprocess.run([os.path.join(TOOLS, "make-initramfs"), os.path.join(directory, "busybox"), out, *files], check=True)
    return out


# Debian's drivers of IDE disks and CDs and of their file systems, each behind what it depends on.
STORAGE = ["scsi_common", "scsi_mod", "crct10dif_common", "crc-t10dif", "crc64", "crc64-rocksoft", "t10-pi", "libata", "ata_piix", "sd_mod",
           "cdrom", "sr_mod", "crc16", "crc32c_generic", "mbcache", "jbd2", "ext4", "isofs"]


def make_storage_initramfs(directory, modules, work, floppy=None, programs=()):
    """An initramfs in which `storage PARAMETERS-OF-LIBATA` loads the drivers, from the archive that fetch-guests made of them; with `floppy`,
    the file of that driver, in /lib/modules; with `programs`, FILE=PATH-IN-GUEST each."""
    found, pairs = {}, [f"{floppy}=lib/modules/floppy.ko", *programs] if floppy else [*programs]
    with tarfile.open(modules) as archive:
        for member in archive:
            name = os.path.basename(member.name)
            if name.endswith(".ko"):
                found[name[:-3]] = member
        for name in STORAGE:
            path = os.path.join(work, name + ".ko")
            with open(path, "wb") as file:
                file.write(archive.extractfile(found[name]).read())
            pairs.append(f"{path}=lib/modules/{name}.ko")
    script = os.path.join(work, "storage")
    with open(script, "w", encoding="ascii") as file:
        file.write("#!/bin/sh\nfor name in " + " ".join(STORAGE) + "; do\n"
                   "  [ $name = libata ] && parameters=$* || parameters=\n  insmod /lib/modules/$name.ko $parameters\ndone\n")
    return make_initramfs(directory, os.path.join(work, "storage.gz"), *pairs, f"{script}=bin/storage")


def no_sandboxes(bt):
    """Why this host cannot run user code directly; None: it can."""
    said = subprocess.run([bt, "-accel", "help"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, check=False).stdout
    found = re.search(r"--user=direct +no: (.*)", said)
    return found and found[1]


def axes(bt):
    """Name -> (groups, arguments) of tests/tools/axes.txt. Where the host has no sandboxes the axis `direct` is one of --user=auto: tests/host has hosts that do."""
    found, lacking = {}, no_sandboxes(bt)
    for line in open(os.path.join(TOOLS, "axes.txt")):
        words = line.split("#")[0].split()
        if words:
            found[words[0]] = (words[1].split(","), ["--user=auto" if lacking and word == "--user=direct" else word for word in words[2:]])
    return found


def family(root):
    """Process id -> CPU seconds (ended children included) of a process, what it started, and their session."""
    seen = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
        except OSError:
            continue
        seen[int(pid)] = (int(fields[1]), int(fields[3]), sum(map(int, fields[11:15])))

    def ours(pid):
        while pid in seen:
            if pid == root or seen[pid][1] == root:
                return True
            pid = seen[pid][0]
        return False
    return {pid: ticks / os.sysconf("SC_CLK_TCK") for pid, (_, _, ticks) in seen.items() if ours(pid)}


def cpu_by_thread(pids):
    """(process, thread) -> seconds that it has used, to the nanosecond; without threads that have ended. Empty where the host does not tell."""
    used = {}
    for pid in pids:
        try:
            for thread in os.listdir(f"/proc/{pid}/task"):
                used[pid, thread] = int(open(f"/proc/{pid}/task/{thread}/schedstat").read().split()[0]) / 1e9
        except (OSError, IndexError):
            pass
    return used


def cpu_seconds(pids):
    """What the threads of processes have used; without what has ended, and where the host does not tell, in ticks."""
    return sum(cpu_by_thread(pids).values()) or sum(family(pid).get(pid, 0) for pid in pids)


def cpu_since(before, pids):
    """Seconds since `before`, a cpu_by_thread(): of the threads that there are now, since what an ended one used goes with it."""
    return sum(seconds - before.get(thread, 0) for thread, seconds in cpu_by_thread(pids).items())


def kept_megabytes(pids):
    """What processes keep in memory together, shared pages counted once."""
    total = 0
    for pid in pids:
        try:
            total += int(re.search(r"^Pss:\s+(\d+)", open(f"/proc/{pid}/smaps_rollup").read(), re.M)[1])
        except (OSError, TypeError):
            pass
    return total / 1024

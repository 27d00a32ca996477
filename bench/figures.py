"""What the programs of bench/ share: runs of bench/guest_bench.c and its like, in a Linux guest and natively, and of the images of bench/guests;
lines of the guests' programs, marks by which guest's and host's clock are compared, medians."""
import math
import os
import re
import statistics
import struct
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "tools"))
import guest  # noqa: E402
import screen  # noqa: E402

GROUPS = {
    "integer": "fib sieve crc sort chase strings tree interp".split(),
    "floating point": "doubles sse matrix x87".split(),
    "well-known": "coremark-like dhrystone-like linpack linpack-sse sha256".split(),
    "kernel": "syscall int80 pgfault mmap mprotect divzero forkwait execwait pipe".split(),
}
PACKAGED = "bzip2 bunzip2 xz unxz gzip gunzip zlib sqlite3 python3".split()  # bench/guest_programs.c
CLOCK_IS_OFF = "the guest's clock ran at"
IMAGE_MACHINE = ["-m", "64", "-display", "none", "-serial", "stdio", "-no-reboot", "-device", "isa-debug-exit,iobase=0xf4,iosize=4"]
LOADED_AT = 0x100000
# The smallest Multiboot image: its header with addresses, and MOV AL, 16; OUT 0xf4, AL, by which it ends with status 33.
SMALLEST = struct.pack("<8I", 0x1badb002, 1 << 16, -0x1badb002 - (1 << 16) & 0xffffffff, LOADED_AT, LOADED_AT, 0, 0, LOADED_AT + 32) + b"\xb0\x10\xe6\xf4"


def rows_of(text):
    """Name -> value of the lines `NAME VALUE s|us`."""
    return {m[1]: float(m[2]) for m in re.finditer(r"^([a-z0-9-]+) (\d+\.\d+) (?:s|us)\r?$", text, re.M)}


def say_mark(name):
    """The guest's command that `mark()` waits for."""
    return f"echo MARK {name} $(cut -d\\  -f1 /proc/uptime)"


def mark(machine, name, marks):
    """marks[name] becomes (host's seconds since the start, guest's uptime, CPU seconds, the processes)."""
    match = machine.expect(rf"^MARK {name} ([0-9.]+)\s")
    now, processes = time.monotonic() - machine.start, list(guest.family(machine.process.pid))
    marks[name] = (now, float(match[1]), guest.cpu_seconds(processes), processes)


def clock_is_off(marks, first, last, tolerance=0.01):
    """What is wrong with the guest's clock between two marks, or None."""
    host, inside = (marks[last][i] - marks[first][i] for i in (0, 1))
    if abs(inside - host) <= max(tolerance * host, 0.03):  # the guest tells hundredths of a second
        return None
    return f"{CLOCK_IS_OFF} {inside / host:.4f} of the host's: its times count for nothing"


def medians(runs):
    names = {name for run in runs for name in run}
    return {name: statistics.median([run[name] for run in runs if name in run]) for name in names}


def geometric(values):
    return math.exp(sum(map(math.log, values)) / len(values)) if values else float("nan")


def parse(text):
    """(rows, answers) of guest_bench and guest_programs."""
    return rows_of(text), dict(re.findall(r"^check ([a-z0-9-]+) (\w+)\r?$", text, re.M))


def run_native(program, arguments):
    """((rows, answers), None), or (None, why not)."""
    try:
        done = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=300, check=False)
    except OSError as error:
        return None, error.strerror
    except subprocess.TimeoutExpired:
        return None, "no end within 300 s"
    return (parse(done.stdout), None) if done.returncode == 0 else (None, f"status {done.returncode}")


def linux_machine(kernel, initramfs, command, idle_seconds):
    """Arguments of a machine in which Debian's kernel runs a command, rests, and powers off."""
    script = f"{say_mark('init')}; {command}; {say_mark('idle')}; sleep {idle_seconds}; {say_mark('done')}"
    return ["-m", "256", "-kernel", kernel, "-initrd", initramfs, "-display", "none", "-serial", "stdio", "-no-reboot",
            "-append", f'console=ttyS0 quiet panic=-1 bt_run="{script}"']


def run_linux(command, limit, tolerance=0.01):
    """(rows, answers, what is wrong, all that was printed) of a linux_machine()."""
    machine, marks, memory = guest.Guest(command, limit, stdin_closed=True), {}, 0
    try:
        mark(machine, "init", marks)
        mark(machine, "idle", marks)
        memory = guest.kept_megabytes(marks["idle"][3])
        mark(machine, "done", marks)
        status = machine.wait()
    except guest.Failure as failure:
        return {}, {}, f"{failure}; last words: {' / '.join(machine.tail(3))}", machine.text
    finally:
        machine.close()
    rows, answers = parse(machine.text)
    rows["boot"], rows["mem"] = marks["init"][0], memory
    rows["idle"] = 100 * (marks["done"][2] - marks["idle"][2]) / (marks["done"][0] - marks["idle"][0])
    wrong = f"ended with status {status}" if status else clock_is_off(marks, "init", "done", tolerance)
    return rows, answers, wrong, machine.text


def image_rows(text):
    """label -> [figures] of an image's lines "label: text"."""
    found = {}
    for line in text.replace("\r", "").splitlines():
        match = re.match(r"([\w .,/()-]+): (.*)", line)
        numbers = re.findall(r"(?<![\w.])\d+(?:\.\d+)?(?![\w.])", match[2]) if match else []
        if numbers:
            found[match[1]] = [float(n) for n in numbers]
    return found


def run_image(command, limit):
    """(image_rows(), what went wrong or None); an image ends with status 1."""
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=limit, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return {}, str(error)
    found = image_rows(done.stdout.decode("latin-1"))
    if done.returncode == 1 and found:  # bt's own status for a bad command line is 1, too
        return found, None
    return found, f"status {done.returncode}: {done.stderr.decode('latin-1').strip()[-200:]}"


def run_host_nano(program):
    """(label -> cycles of bench/host_nano.c, bits of the code of callret, what went wrong or None). nano's is 32-bit code: that is preferred."""
    found, bits = {}, 64
    for name in (program, program + "32"):
        try:
            done = subprocess.run([name], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            wrong = str(error)
        else:
            wrong = f"status {done.returncode}" if done.returncode else None
        if wrong and name == program:
            return {}, bits, wrong
        if not wrong:
            found.update({label: values[0] for label, values in image_rows(done.stdout).items()})
            bits = 64 if name == program else 32
    return found, bits, None


def wait_for_screen(command, pattern, limit, pause):
    """Seconds from the start of bt or QEMU until its text screen shows that."""
    machine = screen.Machine(command, limit)
    try:
        while not re.search(pattern, "\n".join(machine.screen()), re.M):
            if machine.left() < 0:
                raise guest.Failure(f"no /{pattern}/ on its screen within {limit:.0f} s: {' / '.join(filter(None, machine.said))}")
            time.sleep(pause)
        return time.monotonic() - machine.start
    finally:
        machine.close()


def refusal(command, directory):
    """Why bt does not even begin with these arguments, or None. No command: None."""
    if not command:
        return None
    image = os.path.join(directory, "smallest")
    with open(image, "wb") as file:
        file.write(SMALLEST)
    try:
        done = subprocess.run([*command, "-kernel", image, *IMAGE_MACHINE], stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return None if done.returncode == 33 else done.stderr.decode("latin-1").strip()[-200:] or f"status {done.returncode}"

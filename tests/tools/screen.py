"""A machine looked at from outside, as one sits in front of a PC: its screen read through the machine monitor, keys pressed there. bt or QEMU.
Standard library only."""
import os
import re
import select
import signal
import socket
import subprocess
import tempfile
import time
import zlib

from guest import Failure

WHOLE = 204  # rows of 80 columns in the 32 KiB of a text mode's memory
PROMPT = re.compile(r"\((?:bt|qemu)\) ")
SHIFTED = dict(zip('~!@#$%^&*()_+{}|:"<>?', "`1234567890-=[]\\;',./"))
NAMES = {" ": "spc", "`": "grave_accent", "-": "minus", "=": "equal", "[": "bracket_left", "]": "bracket_right", "\\": "backslash", ";": "semicolon",
         "'": "apostrophe", ",": "comma", ".": "dot", "/": "slash", "\r": "ret", "\t": "tab", "\x1b": "esc"}


def keys(text):
    """sendkey's names of what is typed on an American keyboard; <NAME> is a key or a chord by its name: dir<ret>, <ctrl-alt-delete>."""
    for name, char in re.findall(r"<([a-z0-9_-]+)>|(.)", text, re.S):
        if name:
            yield name
            continue
        shift = char in SHIFTED or char.isupper()
        char = SHIFTED.get(char, char.lower())
        yield ("shift-" if shift else "") + NAMES.get(char, char)


class Monitor:
    """The machine monitor of a bt or a QEMU that was started with `arguments(path)`. `left`: a function, the seconds that its machine still has."""

    def __init__(self, path, process, left):
        self.process, self.left = process, left
        self.said = []  # the screen's lines, when it was last looked at
        self.monitor = socket.socket(socket.AF_UNIX)
        while True:
            try:
                self.monitor.connect(path)
                break
            except OSError:
                if process.poll() is not None or left() <= 0:
                    raise Failure(f"has no monitor (status {process.poll()})") from None
                time.sleep(0.02)
        self.answer()

    @staticmethod
    def arguments(path):
        return ["-monitor", f"unix:{path},server=on,wait=off"]

    def answer(self):
        """What the monitor says up to its next prompt."""
        said, end = "", time.monotonic() + 30
        while True:
            match = PROMPT.search(said)
            if match:
                return said[:match.start()].replace("\r", "")
            if not select.select([self.monitor], [], [], max(0, end - time.monotonic()))[0]:
                raise Failure("its monitor does not answer")
            try:
                chunk = self.monitor.recv(65536)
            except ConnectionError:
                chunk = b""
            if not chunk:
                raise Failure(f"has ended (status {self.process.wait(5)})")
            said += chunk.decode("latin1")

    def ask(self, line):
        """A command's answer, without its echo."""
        self.monitor.sendall(line.encode() + b"\n")
        return self.answer().split("\n", 1)[-1]

    def press(self, text):
        for name in keys(text):
            self.ask("sendkey " + name)
            time.sleep(0.03)  # a BIOS has room for 15 keys

    def bios_has_keys(self):
        """A BIOS's buffer (40:1A, its head, is not 40:1C, its tail) has keys that nobody has read."""
        head, tail = self.ask("xp /2hx 0x41a").partition(":")[2].split()
        return head != tail

    def type(self, text, hold=10, pause=0.04):
        """As press(), for a guest that reads its keys by the BIOS: at its pace, so that a busy host loses none."""
        for name in keys(text):
            while self.bios_has_keys() and self.left() > 0:
                time.sleep(0.02)
            held = 400 if re.match("alt-|ctrl-", name) else hold  # ms; programs look whether they are still held down
            self.ask(f"sendkey {name} {held}")
            time.sleep(held / 1000 + pause)

    def screen(self, rows=25, columns=80):
        """The lines of the text page at B8000h, blanks at their ends cut off; WHOLE rows where a console scrolls by the start address."""
        said = self.ask(f"xp /{rows * columns}hx 0xb8000")
        cells = [int(cell, 16) for line in said.splitlines() for cell in line.partition(":")[2].split()]
        text = "".join(bytes([cell & 0xff]).decode("cp437") if cell & 0xff else " " for cell in cells)
        self.said = [text[at:at + columns].rstrip() for at in range(0, len(text), columns)]
        return self.said

    def wait_for(self, pattern, seconds=None, rows=25):
        """The match of a regular expression on the text screen (lines end in \\n)."""
        seconds = self.left() if seconds is None else min(self.left(), seconds)
        end = time.monotonic() + seconds
        while True:
            shown = "\n".join(self.screen(rows))
            match = re.search(pattern, shown, re.M)
            if match:
                return match
            if time.monotonic() >= end:
                shown = "\n".join(line for line in shown.splitlines() if line)
                raise Failure(f"no /{pattern}/ on its screen within {seconds:.0f} s:\n{shown}")
            time.sleep(0.1)

    def picture(self):
        """(width, height, bytes R, G, B) of its screen now."""
        with tempfile.TemporaryDirectory() as work:
            path = os.path.join(work, "picture.ppm")
            said = self.ask("screendump " + path)
            if not os.path.exists(path):
                raise Failure("screendump: " + (said.strip() or "no picture"))
            return read_ppm(path)


class Machine(Monitor):
    """An emulator with its monitor at a socket of ours. `command`: without -display and -monitor. What it prints is in `output()`."""

    def __init__(self, command, limit):
        self.work = tempfile.TemporaryDirectory()
        path = os.path.join(self.work.name, "monitor")
        self.command = [*command, "-display", "none", *Monitor.arguments(path)]
        self.limit, self.start = limit, time.monotonic()
        self.log = open(os.path.join(self.work.name, "log"), "w+b")
        self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=self.log, stderr=subprocess.STDOUT, start_new_session=True)
        try:
            super().__init__(path, self.process, self.left)
        except Failure as failure:
            raise Failure(self.output().strip() or str(failure)) from None

    def left(self):
        return self.start + self.limit - time.monotonic()

    def output(self):
        self.log.flush()
        self.log.seek(0)
        return self.log.read().decode("latin1")

    def stop(self):
        self.ask("stop")

    def cpu(self):
        """Seconds of CPU that the emulator has used, all its threads together."""
        fields = open(f"/proc/{self.process.pid}/stat").read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def load(self, seconds):
        """Part of a core that it takes, over so many seconds."""
        before, start = self.cpu(), time.monotonic()
        time.sleep(seconds)
        return (self.cpu() - before) / (time.monotonic() - start)

    def terminate(self):
        """As a user ends it; gives the status."""
        self.process.terminate()
        try:
            code = self.process.wait(10)
        except subprocess.TimeoutExpired:
            return None
        return code if code >= 0 else 128 - code

    def close(self):
        self.monitor.close()
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self.log.close()
        self.work.cleanup()


def read_ppm(path):
    """(width, height, bytes R, G, B)"""
    with open(path, "rb") as file:
        data = file.read()
    head = re.match(rb"P6\s+(\d+)\s+(\d+)\s+255\s", data)
    return int(head[1]), int(head[2]), data[head.end():]


def write_png(path, picture):
    """So that people can look at it."""
    width, height, pixels = picture

    def chunk(kind, data):
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")
    lines = b"".join(b"\0" + pixels[at:at + 3 * width] for at in range(0, len(pixels), 3 * width))
    head = width.to_bytes(4, "big") + height.to_bytes(4, "big") + b"\x08\x02\0\0\0"
    with open(path, "wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b""))


def masked(picture, boxes):
    """The picture with black boxes (x, y, width, height, in pixels) where something moves."""
    width, height, pixels = picture
    pixels = bytearray(pixels)
    for x, y, w, h in boxes:
        w = min(w, width - x)
        for line in range(y, min(y + h, height)):
            pixels[3 * (line * width + x):3 * (line * width + x + w)] = bytes(3 * w)
    return width, height, bytes(pixels)


def difference(ours, theirs):
    """What is not the same in two pictures, in a line; None if nothing."""
    if ours[:2] != theirs[:2]:
        return f"bt's picture is {ours[0]}x{ours[1]}, QEMU's {theirs[0]}x{theirs[1]}"
    wrong = [i for i in range(0, len(ours[2]), 3) if ours[2][i:i + 3] != theirs[2][i:i + 3]] if ours[2] != theirs[2] else []
    if not wrong:
        return None
    at, width = wrong[0] // 3, ours[0]
    return (f"{len(wrong)} pixels differ, the first at {at % width},{at // width}: bt {ours[2][wrong[0]:wrong[0] + 3].hex()}, "
            f"QEMU {theirs[2][wrong[0]:wrong[0] + 3].hex()}")

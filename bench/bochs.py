"""Bochs without a window, its screen read from outside: bench/run's column `bochs`.

Debian's Bochs is the one with the debugger. That is stopped by SIGINT, asked for the memory of the text mode, and let go on. Of its display
libraries only rfb needs no screen; it listens for VNC clients, so that Bochs gets a network of its own, or is not run. Its firmware is
Debian's SeaBIOS, as bt's and QEMU's, which finds a VGA's ROM on a PCI adapter only and here asks no emulator what to boot from: it shows its
menu and tries each kind of disk. Guest time counts instructions (IPS a second), so that such waits, at HLT, cost the host little."""
import os
import re
import select
import signal
import subprocess
import time

from figures import guest

IPS = 2000000
FOLDERS = ["/usr/share/seabios", "/usr/share/qemu"]
ALONE = ["unshare", "--net", "--map-root-user"]
CELLS, LAST_LINE = 2000, rb"b8f90 .*\n"  # of the page's memory, eight cells a line
CONFIGURATION = """config_interface: textconfig
display_library: rfb, options="timeout=0"
romimage: file={bios}, options=none
vgaromimage: file={vga}
vga: extension=vbe
pci: enabled=1, chipset=i440fx, slot1=pcivga
cpu: model=core_duo_t2400_yonah, ips={ips}, reset_on_triple_fault=1, ignore_bad_msrs=1
memory: guest={megabytes}, host={megabytes}
clock: sync=none
floppya: {floppy}
ata0: enabled=0
ata1: enabled=0
boot: {boot}
sound: waveoutdrv=dummy, waveindrv=dummy, midioutdrv=dummy
com1: enabled=0
log: /dev/null
panic: action=fatal
error: action=ignore
info: action=ignore
debug: action=ignore
"""


def rom(name):
    return next((path for path in (os.path.join(folder, name) for folder in FOLDERS) if os.path.exists(path)), None)


def refusal(program):
    """Why it cannot be run here, or None."""
    if not rom("bios.bin") or not rom("vgabios-stdvga.bin"):
        return "its firmware is not there (Debian: seabios)"
    try:
        done = subprocess.run([*ALONE, program, "--help"], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    if "bochsrc options" not in done.stdout + done.stderr:
        return "the host gives it no network of its own, and its display would listen on the host's: " + done.stderr.strip()[-100:]
    return None


class Bochs:
    """A machine of so many megabytes that boots from a floppy's image or, where that is None, finds nothing to boot from."""

    def __init__(self, command, megabytes, floppy, work, limit):
        path = os.path.join(work, "bochsrc")
        with open(path, "w", encoding="utf-8") as file:
            file.write(CONFIGURATION.format(bios=rom("bios.bin"), vga=rom("vgabios-stdvga.bin"), ips=IPS, megabytes=megabytes, boot="floppy" if floppy else "disk",
                                            floppy=f"1_44={floppy}, status=inserted" if floppy else "type=none"))
        # Its own input is not for commands: rfb without a client writes there.
        commands, self.commands = os.pipe()
        self.limit, self.start, self.text, self.name = limit, time.monotonic(), b"", None
        self.process = subprocess.Popen([*ALONE, *command, "-q", "-f", path, "-rc", f"/proc/self/fd/{commands}"], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, pass_fds=[commands], start_new_session=True, bufsize=0)
        os.close(commands)

    def hear(self, pattern):
        """Reads up to what it says there, and gives all since the last time."""
        while not re.search(pattern, self.text):
            left = self.start + self.limit - time.monotonic()
            chunk = os.read(self.process.stdout.fileno(), 65536) if select.select([self.process.stdout], [], [], max(left, 0))[0] else b""
            if not chunk:
                words = self.text.decode("latin1").strip().splitlines()[-2:]
                raise guest.Failure(f"{'no' if left <= 0 else 'ended before'} /{pattern.decode()}/; last words: {' / '.join(words)}")
            self.text += chunk
        said, self.text = self.text, b""
        return said.decode("latin1")

    def say(self, command):
        try:
            os.write(self.commands, command + b"\n")
        except BrokenPipeError:
            raise guest.Failure("it has ended") from None

    def screen(self):
        """The 25 lines of the text page at B8000h."""
        self.process.send_signal(signal.SIGINT)
        self.say(b"xp /%dhx 0xb8000" % CELLS)
        said = self.hear(LAST_LINE)
        self.say(b"c")
        cells = [int(word, 16) for line in said.splitlines() for word in re.findall(r"\t(0x[0-9a-f]{4})\b", line)]
        text = "".join(chr(cell & 0xff) if cell & 0xff else " " for cell in cells)
        return [text[at:at + 80].rstrip() for at in range(0, len(text), 80)]

    def wait_for(self, pattern, pause):
        """Seconds from the start until the screen shows that."""
        name = re.search(r"Bochs x86 Emulator [0-9.]+", self.hear(rb"Next at t="))
        self.name = name[0] if name else "Bochs"
        self.say(b"c")
        while True:
            time.sleep(pause)
            if re.search(pattern, "\n".join(self.screen()), re.M):
                return time.monotonic() - self.start
            if time.monotonic() - self.start > self.limit:
                raise guest.Failure(f"no /{pattern}/ on its screen within {self.limit:.0f} s")

    def close(self):
        os.close(self.commands)
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.process.stdout.close()

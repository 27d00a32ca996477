"""A program (struct program of program.h) as a Python object, as bytes for the guest, and as the text of a kept case."""
import re
import struct

SLOTS, SLOT_SIZE, PATCHES = 16, 32, 72
MODES = ["k32", "u32", "k16", "u16", "r1", "v86"]
REGISTERS = ["eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi"]
HEAD = struct.Struct("<2I4I I 8I 4I I 3I")
FIELDS = ["seed_low", "seed_high", "patch_count", "cr0", "cr3", "cr4", "eflags"] + REGISTERS + ["dr0", "dr1", "dr2", "dr3", "dr7", "sysenter_cs", "sysenter_esp", "sysenter_eip"]
SIZE = HEAD.size + 2 * SLOTS + 8 * PATCHES + SLOTS * SLOT_SIZE
NOPS = b"\x90" * SLOT_SIZE


class Program:
    def __init__(self, registers, modes, idioms, patches, slots):
        self.registers, self.modes, self.idioms, self.patches, self.slots = registers, modes, idioms, patches, slots

    @staticmethod
    def unpack(data):
        registers = dict(zip(FIELDS, HEAD.unpack_from(data)))
        at = HEAD.size
        modes, idioms = list(data[at:at + SLOTS]), list(data[at + SLOTS:at + 2 * SLOTS])
        at += 2 * SLOTS
        patches = [struct.unpack_from("<2I", data, at + 8 * i) for i in range(min(registers["patch_count"], PATCHES))]
        at += 8 * PATCHES
        return Program(registers, modes, idioms, patches, [data[at + SLOT_SIZE * i:at + SLOT_SIZE * (i + 1)] for i in range(SLOTS)])

    def pack(self):
        self.registers["patch_count"] = len(self.patches)
        body = b"".join(struct.pack("<2I", *p) for p in self.patches).ljust(8 * PATCHES, b"\0")
        return HEAD.pack(*(self.registers[f] for f in FIELDS)) + bytes(self.modes) + bytes(self.idioms) + body + b"".join(self.slots)

    def copy(self):
        return Program.unpack(self.pack())

    @property
    def seed(self):
        return self.registers["seed_low"] | self.registers["seed_high"] << 32


def to_text(program):
    lines = [f"{f} {program.registers[f]:x}" for f in FIELDS if f != "patch_count" and program.registers[f]]
    lines += [f"patch {at:x} {value:x}" for at, value in program.patches]
    for i in range(SLOTS):
        code = program.slots[i].rstrip(b"\x90")
        lines.append(f"slot {i} {MODES[program.modes[i]]} {program.idioms[i]} {code.hex() or '-'}")
    return "\n".join(lines) + "\n"


def from_text(text):
    registers, patches = dict.fromkeys(FIELDS, 0), []
    modes, idioms, slots = [0] * SLOTS, [0xff] * SLOTS, [NOPS] * SLOTS
    for line in text.splitlines():
        words = re.sub("#.*", "", line).split()
        if not words:
            continue
        if words[0] == "patch":
            patches.append((int(words[1], 16), int(words[2], 16)))
        elif words[0] == "slot":
            i = int(words[1])
            modes[i], idioms[i] = MODES.index(words[2]), int(words[3])
            slots[i] = (b"" if words[4] == "-" else bytes.fromhex(words[4])).ljust(SLOT_SIZE, b"\x90")
        elif words[0] in registers:
            registers[words[0]] = int(words[1], 16)
        else:
            raise ValueError("no such line in a kept case: " + line)
    return Program(registers, modes, idioms, patches, slots)

"""A program (struct program of program.h) as a Python object, as bytes for the guest, and as the text of a kept case."""
import re

import layout
from layout import CONSTANTS, PATCHES, SLOT_SIZE, SLOTS

PROGRAM = layout.STRUCTS["program"]
SIZE = PROGRAM.size
MODES = [name.removeprefix("MODE_").lower() for name in CONSTANTS if name.startswith("MODE_") and name != "MODE_COUNT"]
REGISTERS = ["eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi"]
ARRAYS = {"seed": ["seed_low", "seed_high"], "gpr": REGISTERS, "dr": ["dr0", "dr1", "dr2", "dr3"],
          "sysenter": ["sysenter_cs", "sysenter_esp", "sysenter_eip"]}   # how their elements are called
BEHIND = ("mode", "idiom", "patches", "code")   # the members that are no registers
MEMBERS = [name for name in PROGRAM.names if name not in BEHIND]
FIELDS = [field for name in MEMBERS for field in ARRAYS.get(name, [name])]
NOPS = b"\x90" * SLOT_SIZE


class Program:
    """`registers`: {one of FIELDS: value}; `modes` and `idioms`: a number for each slot; `patches`: [(address, value)]; `slots`:
    bytes each."""

    def __init__(self, registers, modes, idioms, patches, slots):
        self.registers, self.modes, self.idioms, self.patches, self.slots = registers, modes, idioms, patches, slots

    @staticmethod
    def unpack(data):
        members = PROGRAM.unpack(data)
        words = [members[name] if name in ARRAYS else (members[name],) for name in MEMBERS]
        registers = dict(zip(FIELDS, (word for piece in words for word in piece)))
        patches = list(zip(members["patches"][::2], members["patches"][1::2]))[:registers["patch_count"]]
        slots = [members["code"][SLOT_SIZE * i:SLOT_SIZE * (i + 1)] for i in range(SLOTS)]
        return Program(registers, list(members["mode"]), list(members["idiom"]), patches, slots)

    def pack(self):
        self.registers["patch_count"] = len(self.patches)
        members = {name: self.registers[name] for name in MEMBERS if name not in ARRAYS}
        members |= {name: [self.registers[field] for field in fields] for name, fields in ARRAYS.items()}
        words = [word for patch in self.patches for word in patch]
        members |= {"mode": bytes(self.modes), "idiom": bytes(self.idioms), "code": b"".join(self.slots),
                    "patches": words + [0] * (2 * PATCHES - len(words))}
        return PROGRAM.pack(members)

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

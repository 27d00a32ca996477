"""What instruction a program has at an address: enough of a decoder for the predicates of deviations.py."""
import programs

ARENA, SLOTS_AT = 0x10000, 0x10f00
VM, BASED = 1 << 17, (0x38, 0x48)   # code segments with base ARENA
PREFIXES = {0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66, 0x67, 0xf0, 0xf2, 0xf3}


class Instruction:
    """`opcode`: 0fxx for the two-byte map; `reg`, `mod`, `rm`: of the byte behind it, whether it is a ModRM byte or not."""

    def __init__(self, code):
        at = 0
        while at < len(code) and code[at] in PREFIXES:
            at += 1
        self.prefixes = code[:at]
        code = code[at:].ljust(12, b"\x90")
        self.opcode = 0x0f00 | code[1] if code[0] == 0x0f else code[0]
        self.operands = code[2:] if code[0] == 0x0f else code[1:]
        self.mod, self.reg, self.rm = self.operands[0] >> 6, self.operands[0] >> 3 & 7, self.operands[0] & 7

    @property
    def memory(self):
        return self.mod != 3


def code_of(program, record=None):
    """The slots' bytes; with a record, as the program left them."""
    code = bytearray(b"".join(program.slots))
    for address, value in record.diffs.items() if record else ():
        if SLOTS_AT <= address < SLOTS_AT + len(code):
            code[address - SLOTS_AT:address - SLOTS_AT + 4] = value.to_bytes(4, "little")
    return bytes(code)


def linear_eip(event):
    if event["eflags"] & VM:
        return (event["cs"] << 4) + event["eip"] & 0xffffffff
    return event["eip"] + (ARENA if event["cs"] & ~7 in BASED else 0) & 0xffffffff


def instruction_at(program, event, record=None):
    """At an event's EIP; None where it is not in the slots."""
    at = linear_eip(event) - SLOTS_AT
    if not 0 <= at < programs.SLOTS * programs.SLOT_SIZE:
        return None
    return Instruction(code_of(program, record)[at:at + 20])


def touches_ports(code):
    return any(byte in code for byte in (0xe4, 0xe5, 0xec, 0xed, 0x6c, 0x6d))


def writes_after_reading(i):
    """Reads its memory operand and writes it back."""
    if not i.memory:
        return False
    if i.opcode < 0x40:
        return i.opcode & 7 < 2 and i.opcode < 0x38
    if i.opcode in (0x80, 0x81, 0x82, 0x83):
        return i.reg != 7
    groups = {0xfe: (0, 1), 0xff: (0, 1), 0xf6: (2, 3), 0xf7: (2, 3), 0x0fba: (5, 6, 7), 0x0fc7: (1,)}
    if i.opcode in groups:
        return i.reg in groups[i.opcode]
    return i.opcode in (0x86, 0x87, 0xc0, 0xc1, 0xd0, 0xd1, 0xd2, 0xd3, 0x0fa4, 0x0fa5, 0x0fab, 0x0fac, 0x0fad, 0x0fb0, 0x0fb1, 0x0fb3, 0x0fbb, 0x0fc0, 0x0fc1)


def transfers(i):
    """Sets EIP from an operand or from the stack."""
    if i.opcode == 0xff:
        return i.reg in (2, 3, 4, 5)
    return i.opcode in (0x9a, 0xea, 0xc2, 0xc3, 0xca, 0xcb, 0xcf, 0xe8, 0xe9)


def transfers_far(i):
    return i.opcode in (0x9a, 0xea, 0xca, 0xcb, 0xcc, 0xcd, 0xce, 0xcf, 0x0f34, 0x0f35) or (i.opcode == 0xff and i.reg in (3, 5))

"""What instruction a program has at an address: enough of a decoder for the predicates of deviations.py."""
import functools

import programs

ARENA, SLOTS_AT = 0x10000, 0x10f00
VM, BASED = 1 << 17, (0x38, 0x48)   # code segments with base ARENA
PREFIXES = {0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66, 0x67, 0xf0, 0xf2, 0xf3}
# Opcodes with a ModRM byte that may name memory (SDM 2D, A.3), and those whose ModRM byte names registers only.
MODRM = {*(row + column for row in range(0, 0x40, 8) for column in range(4)), 0x62, 0x63, 0x69, 0x6b, *range(0x80, 0x90), 0xc0, 0xc1, *range(0xc4, 0xc8),
         *range(0xd0, 0xd4), *range(0xd8, 0xe0), 0xf6, 0xf7, 0xfe, 0xff, *range(0x0f00, 0x0f04), 0x0f0d, *range(0x0f10, 0x0f20), *range(0x0f28, 0x0f30),
         *range(0x0f38, 0x0f77), *range(0x0f78, 0x0f80), *range(0x0f90, 0x0fa0), *range(0x0fa3, 0x0fa6), *range(0x0fab, 0x0fc8), *range(0x0fd0, 0x1000)}
REGISTERS_ONLY = set(range(0x0f20, 0x0f27))
# Those with an immediate operand of a byte, of the operand size (`RELATIVE`: a distance, in either), and of other sizes.
BYTES = {*range(0x04, 0x40, 8), 0x6a, 0x6b, *range(0x70, 0x80), 0x80, 0x82, 0x83, 0xa8, *range(0xb0, 0xb8), 0xc0, 0xc1, 0xc6, 0xcd, 0xd4, 0xd5, *range(0xe0, 0xe8), 0xeb,
         0x0f3a, *range(0x0f70, 0x0f74), 0x0fa4, 0x0fac, 0x0fba, 0x0fc2, 0x0fc4, 0x0fc5, 0x0fc6}
WORDS = {*range(0x05, 0x40, 8), 0x68, 0x69, 0x81, 0xa9, *range(0xb8, 0xc0), 0xc7, 0xe8, 0xe9, *range(0x0f80, 0x0f90)}
RELATIVE = {*range(0x70, 0x80), *range(0xe0, 0xe4), 0xe8, 0xe9, 0xeb, *range(0x0f80, 0x0f90)}
FAR, OFFSETS, OTHERS = {0x9a, 0xea}, set(range(0xa0, 0xa4)), {0xc2: 2, 0xca: 2, 0xc8: 3}


class Instruction:
    """`opcode`: 0fxx for the two-byte map; `reg`, `mod`, `rm`: of the byte behind it, whether it is a ModRM byte or not."""

    def __init__(self, code):
        at = 0
        while at < len(code) and code[at] in PREFIXES:
            at += 1
        self.prefixes = code[:at]
        code = code[at:].ljust(12, b"\x90")
        self.opcode = 0x0f00 | code[1] if code[0] == 0x0f else code[0]
        self.opcode_size = 1 if code[0] != 0x0f else 3 if code[1] in (0x38, 0x3a) else 2
        self.operands = code[self.opcode_size:]
        self.mod, self.reg, self.rm = self.operands[0] >> 6, self.operands[0] >> 3 & 7, self.operands[0] & 7

    @property
    def memory(self):
        """Whether it has a ModRM byte, and that names memory."""
        return self.opcode in MODRM and self.mod != 3

    def length(self, small):
        """In bytes, in code whose default size is 16 bits or not (SDM 2A, 2.1)."""
        word, address = (2 if small != (prefix in self.prefixes) else 4 for prefix in (0x66, 0x67))
        immediate = 1 if self.opcode in BYTES else word if self.opcode in WORDS else word + 2 if self.opcode in FAR else address if self.opcode in OFFSETS else 0
        if self.opcode in (0xf6, 0xf7) and self.reg < 2:
            immediate = word if self.opcode & 1 else 1
        return len(self.prefixes) + self.opcode_size + self.addressing_size(address) + OTHERS.get(self.opcode, immediate)

    def addressing_size(self, address):
        """Of ModRM, SIB and displacement."""
        if self.opcode in REGISTERS_ONLY:
            return 1
        if self.opcode not in MODRM or self.mod == 3:
            return self.opcode in MODRM
        if address == 2:
            return 1 + (self.mod if self.mod else 2 * (self.rm == 6))
        sib = self.rm == 4
        bare = not self.mod and (self.operands[1] & 7 if sib else self.rm) == 5
        return 1 + sib + (4 if bare or self.mod == 2 else self.mod)


@functools.lru_cache(maxsize=16)
def walk(code, starts):
    """[(offset, instruction)] of what may be run: from the begin of each slot and from `starts` on, and from where relative jumps and calls lead, as 16- and as
    32-bit code."""
    found = {}
    for small in (False, True):
        ways = [*range(0, len(code), programs.SLOT_SIZE), *starts]
        while ways:
            at = ways.pop()
            while 0 <= at < len(code) and (at, small) not in found:
                i = found[at, small] = Instruction(code[at:at + 20])
                at += i.length(small)
                if i.opcode in RELATIVE:
                    ways.append(at + signed(i.operands[:1 if i.opcode in BYTES else 2 if small != (0x66 in i.prefixes) else 4]))
    return list({at: i for (at, _), i in found.items()}.items())


def code_of(program, words=None):
    """The slots' bytes, with words {address: value} that have changed."""
    code = bytearray(b"".join(program.slots))
    for address, value in (words or {}).items():
        if SLOTS_AT <= address < SLOTS_AT + len(code):
            code[address - SLOTS_AT:address - SLOTS_AT + 4] = value.to_bytes(4, "little")
    return bytes(code)


def is_based(event):
    """Code in a 16-bit segment: SYSENTER's and SYSEXIT's CS is flat, whatever its selector."""
    return event["cs"] & ~7 in BASED and event["eip"] < ARENA


def linear_eip(event):
    if event["eflags"] & VM:
        return (event["cs"] << 4) + event["eip"] & 0xffffffff
    return event["eip"] + (ARENA if is_based(event) else 0) & 0xffffffff


def instruction_at(program, event, words=None):
    """At an event's EIP; None where it is not in the slots."""
    at = linear_eip(event) - SLOTS_AT
    if not 0 <= at < programs.SLOTS * programs.SLOT_SIZE:
        return None
    return Instruction(code_of(program, words)[at:at + 20])


# Those that push or pop; 0f34 and the like not.
STACK = {6, 7, 0xe, 0x16, 0x17, 0x1e, 0x1f, 0x60, 0x61, 0x68, 0x6a, 0x8f, 0x9a, 0x9c, 0x9d, 0xc2, 0xc3, 0xc8, 0xc9, 0xca, 0xcb, 0xcc, 0xcd, 0xce, 0xcf, 0xe8, 0xff,
         0x0fa0, 0x0fa1, 0x0fa8, 0x0fa9, *range(0x50, 0x60)}
PUSHES = {0x60, 0x9a, 0xc8, 0xcc, 0xcd, 0xce, 0xff}                # more than one store, or a load and a store
STRINGS = {*range(0x6c, 0x70), *range(0xa4, 0xa8), *range(0xaa, 0xb0)}
BASES32 = ("eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi")
BASES16 = (("ebx", "esi"), ("ebx", "edi"), ("ebp", "esi"), ("ebp", "edi"), ("esi",), ("edi",), ("ebp",), ("ebx",))


def signed(data):
    return int.from_bytes(data, "little", signed=True)


def effective(i, event):
    """The offset of the operand that ModRM names, if it is one."""
    small = bool(event["eflags"] & VM or is_based(event)) != (0x67 in i.prefixes)
    mod, rm, code = i.mod, i.rm, i.operands[1:]
    if small:
        at = sum(event[r] for r in BASES16[rm]) if mod or rm != 6 else 0
        at += signed(code[:2]) if mod == 2 or (not mod and rm == 6) else signed(code[:1]) if mod == 1 else 0
        return at & 0xffff
    at, bare = 0, not mod and rm == 5
    if rm == 4:
        sib, code = code[0], code[1:]
        bare = not mod and sib & 7 == 5
        at += event[BASES32[sib >> 3 & 7]] << (sib >> 6) if sib >> 3 & 7 != 4 else 0
        rm = sib & 7
    at += 0 if bare else event[BASES32[rm]]
    return at + (signed(code[:4]) if mod == 2 or bare else signed(code[:1]) if mod == 1 else 0) & 0xffffffff


def touched(i, event):
    """[(first, end)]: offsets that the instruction at an event may access, as ranges that hold what lies in more than one piece."""
    size = 128 if 0xd8 <= i.opcode < 0xe0 else 8
    ranges = [(at, at + size) for at in ([effective(i, event)] if i.memory else [])]
    if i.opcode in STACK:
        ranges.append((event["esp"] - (0x90 if i.opcode in PUSHES else 8), event["esp"] + 0x40))
    if i.opcode in STRINGS:
        ranges += [(event[r] - 8, event[r] + 8) for r in ("esi", "edi")]
    if i.opcode in (0xc8, 0xc9):
        ranges.append((event["ebp"] - 0x90, event["ebp"] + 8))
    if 0xa0 <= i.opcode < 0xa4:
        ranges.append((int.from_bytes(i.operands[:4], "little"),) * 2)
    return [(a, max(a + 1, b)) for a, b in ranges]


def bases_of(event):
    """What segments of programs may be based at."""
    return {0, ARENA, *(event[s] << 4 for s in ("ds", "es", "ss", "fs", "gs") if event["eflags"] & VM)}


def touches_word(i, event, address):
    """In its page: pages are mapped more than once."""
    def near(a, b, base):
        return (address + 3 - a - base) % 4096 < b - a + 3
    return any(near(a, b, base) for a, b in touched(i, event) for base in bases_of(event))


def touches_page(i, event, index, mask):
    """A page whose number is `index` modulo what a page table holds."""
    return any((page & mask) == index for a, b in touched(i, event) for base in bases_of(event) for page in range(a + base >> 12, (b - 1 + base >> 12) + 1))


def reads_ports(i):
    return i.opcode in (0xe4, 0xe5, 0xec, 0xed)


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



"""What an instruction accesses at an event, for the predicates of deviations/: addresses, in every segment that programs have, as
ranges that hold what lies in more than one piece; and what kind of access it is."""
from instructions import is_small
from layout import ACCESS_RW, ARENA, FLAG_VM, NO_REGISTER
from programs import REGISTERS

# Those that push or pop; 0f34 and the like not.
STACK = {6, 7, 0xe, 0x16, 0x17, 0x1e, 0x1f, *range(0x50, 0x62), 0x68, 0x6a, 0x8f, 0x9a, 0x9c, 0x9d, 0xc2, 0xc3,
         *range(0xc8, 0xd0), 0xe8, 0xff, 0x0fa0, 0x0fa1, 0x0fa8, 0x0fa9}
PUSHES = {0x60, 0x9a, 0xc8, 0xcc, 0xcd, 0xce, 0xff}                # more than one store, or a load and a store
STRINGS = {*range(0x6c, 0x70), *range(0xa4, 0xa8), *range(0xaa, 0xb0)}


def effective(i, event):
    """The offset of the operand that ModRM names, if it is one."""
    i = i.as_code(is_small(event))
    at = i.displacement + (event[REGISTERS[i.base]] if i.base != NO_REGISTER else 0)
    at += event[REGISTERS[i.index]] << i.scale if i.index != NO_REGISTER else 0
    return at & (0xffff if i.address == 2 else 0xffffffff)


def touched(i, event):
    """[(first, end)]: offsets that the instruction at an event may access, as ranges that hold what lies in more than one
    piece."""
    size = 128 if 0xd8 <= i.opcode < 0xe0 else 8
    ranges = [(at, at + size) for at in ([effective(i, event)] if i.memory else [])]
    if i.opcode in STACK:
        ranges.append((event["esp"] - (0x90 if i.opcode in PUSHES else 8), event["esp"] + 0x40))
    if i.opcode in STRINGS:
        ranges += [(event[r] - 8, event[r] + 8) for r in ("esi", "edi")]
    if i.opcode in (0xc8, 0xc9):
        ranges.append((event["ebp"] - 0x90, event["ebp"] + 8))
    if 0xa0 <= i.opcode < 0xa4:
        ranges.append((i.as_code(is_small(event)).displacement,) * 2)
    return [(a, max(a + 1, b)) for a, b in ranges]


def bases_of(event):
    """What segments of programs may be based at."""
    return {0, ARENA, *(event[s] << 4 for s in ("ds", "es", "ss", "fs", "gs") if event["eflags"] & FLAG_VM)}


def touches_word(i, event, address):
    """In its page: pages are mapped more than once."""
    def near(a, b, base):
        return (address + 3 - a - base) % 4096 < b - a + 3
    return any(near(a, b, base) for a, b in touched(i, event) for base in bases_of(event))


def touches_page(i, event, index, mask):
    """A page whose number is `index` modulo what a page table holds."""
    ranges = [(a + base, b - 1 + base) for a, b in touched(i, event) for base in bases_of(event)]
    return any((page & mask) == index for first, last in ranges for page in range(first >> 12, (last >> 12) + 1))


def reads_ports(i):
    return i.opcode in (0xe4, 0xe5, 0xec, 0xed)


def writes_after_reading(i):
    """Reads its memory operand and writes it back, whatever it read: ARPL does not."""
    return i.access == ACCESS_RW and i.opcode != 0x63


def transfers(i):
    """Sets EIP from an operand or from the stack."""
    if i.opcode == 0xff:
        return i.reg in (2, 3, 4, 5)
    return i.opcode in (0x9a, 0xea, 0xc2, 0xc3, 0xca, 0xcb, 0xcf, 0xe8, 0xe9)



"""Rows about EFLAGS in events and in memory: RF, and flags that an instruction leaves undefined."""
from deviations.rows import Chapter, instructions_since, word_at
from layout import FLAG_AF, FLAG_CF, FLAG_OF, FLAG_ZF, FLAGS_ARITH, SLOTS

SHIFTS_BY_ONE = (0xd0, 0xd1)
SHIFTS = (0xc0, 0xc1, *SHIFTS_BY_ONE, 0xd2, 0xd3, 0x0fa4, 0x0fa5, 0x0fac, 0x0fad)
FIXED, ALWAYS = 0x802a, 2    # bits of an EFLAGS that are always the same

flags = Chapter()


@flags("3B, 17.3.1.1", "a fault's EFLAGS are pushed with RF; QEMU pushes it as it was", harmless=True, choice=True)
def rf(d):
    return d.only("rf") and d.bt["rf"] and not d.qemu["rf"]


@flags("2B, SAL", "AF behind a shift, all flags behind a division, and the like", harmless=True, choice=True)
def undefined_flags(d):
    """Flags that an instruction since the event before leaves undefined; as they were pushed, or as a task switch saved them."""
    if d.kind == "memory":
        n = pushed_flags(d)
        if n is None:
            return False
        changed = (d.bt ^ d.qemu) >> 8 * n if n >= 0 else (d.bt ^ d.qemu) << -8 * n
        return changed & ~undefined_by(instructions_since(d, range(SLOTS))) == 0
    return d.only("arithmetic") and (d.bt["arithmetic"] ^ d.qemu["arithmetic"]) & ~undefined_by(instructions_since(d)) == 0


def undefined_by(instructions):
    """Arithmetic flags that one of these leaves undefined: shifts AF and OF, MUL all but CF and OF, DIV all, BSF and BSR all but
    ZF."""
    undefined = 0
    for i in instructions:
        if i.opcode in SHIFTS:
            undefined |= FLAG_AF | (FLAG_OF if i.opcode not in SHIFTS_BY_ONE else 0)
        elif i.opcode in (0xf6, 0xf7) and i.reg > 3:
            undefined |= FLAGS_ARITH if i.reg > 5 else FLAGS_ARITH & ~(FLAG_CF | FLAG_OF)
        elif i.opcode in (0x69, 0x6b, 0x0faf):
            undefined |= FLAGS_ARITH & ~(FLAG_CF | FLAG_OF)
        elif i.opcode in (0x0fbc, 0x0fbd):
            undefined |= FLAGS_ARITH & ~FLAG_ZF
    return undefined


def pushed_flags(d):
    """How far a differing word of memory is off from a pushed EFLAGS, at any address, that differs in arithmetic flags only;
    None: it is no such thing."""
    for n in range(-3, 4):
        mask = (FLAGS_ARITH << 8 * n if n >= 0 else FLAGS_ARITH >> -8 * n) & 0xffffffff
        value, known = word_at(d, 0, d.address + n)
        if (d.bt ^ d.qemu) & ~mask == 0 and known & 0xffff == 0xffff and value & FIXED == ALWAYS:
            return n
    return None

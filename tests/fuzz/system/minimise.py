"""Makes a program that differs smaller: candidates with one thing less are run all at once, and what can go goes together as far
as it can."""
import programs

YIELD = b"\xcd\x7f"   # INT 7Fh: on to the next slot, entered afresh


def without_slots(program):
    for i in range(programs.SLOTS):
        for code in (programs.NOPS, YIELD.ljust(programs.SLOT_SIZE, b"\x90")):
            if program.slots[i] != code and program.slots[i].rstrip(b"\x90"):
                yield lambda p, i=i, code=code: p.slots.__setitem__(i, code)


def without_patches(program):
    for patch in program.patches:
        yield lambda p, patch=patch: p.patches.remove(patch) if patch in p.patches else None


def without_registers(program):
    for name, value in program.registers.items():
        if value and name not in ("seed_low", "seed_high", "patch_count", "cr3"):
            for simple in (0, 1, 0x31 if name == "cr0" else 0x10):
                if simple < value:
                    yield lambda p, name=name, simple=simple: p.registers.__setitem__(name, simple)


def shorter_slots(program):
    for i in range(programs.SLOTS):
        used = len(program.slots[i].rstrip(b"\x90"))
        for at in range(used - 1, 0, -1):
            if program.slots[i][at] != 0x90:
                yield lambda p, i=i, at=at: p.slots.__setitem__(i, p.slots[i][:at].ljust(programs.SLOT_SIZE, b"\x90"))


STEPS = [without_slots, without_patches, without_registers, shorter_slots]


class Shrinker:
    def __init__(self, pair, wanted, axis):
        self.pair, self.wanted, self.axis = pair, wanted.signature(), axis

    def differences(self, candidates):
        """For each: its first unexplained difference, if it is still the one."""
        packed = [p.pack() for p in candidates]
        found = [verdict.failure for verdict in self.pair.verdicts(packed, self.pair.records(packed, self.axis), self.axis)]
        return [d if d is not None and d.signature() == self.wanted else None for d in found]

    def step(self, program, changes):
        """The program after as many of the changes as leave the difference there, and whether there were any."""
        single = [apply(program, [change]) for change in changes]
        good = [change for change, d in zip(changes, self.differences(single)) if d is not None] if single else []
        if not good:
            return program, False
        together = [apply(program, good[:n]) for n in range(1, len(good) + 1)]
        worked = [p for p, d in zip(together, self.differences(together)) if d is not None]
        return worked[-1] if worked else apply(program, good[:1]), True


def apply(program, changes):
    smaller = program.copy()
    for change in changes:
        change(smaller)
    return smaller


def minimise(pair, program, difference, axis):
    """(smaller program, its difference)"""
    shrinker = Shrinker(pair, difference, axis)
    for _ in range(3):
        before = program.pack()
        for step in STEPS:
            program, _ = shrinker.step(program, list(step(program)))
        if program.pack() == before:
            break
    return program, shrinker.differences([program])[0] or difference

"""Compares what a program did on both sides: results at once in `hash` mode, and in `full` mode event by event.

Some differences are so frequent, and so harmless, that `hash` mode forgives them in the one direction that QEMU is known for; one program in
FORGIVEN_ONE_IN is looked at in `full` mode all the same, where a row of deviations.py must explain it."""
from collections import Counter

import machine
from machine import ACCESSED, FLAGS, MAIN, PF_WRITES, RF_WRONG, STATUS

FORGIVEN_ONE_IN = 64
UPPER_PDPT = 1 << 15
VOTED = "bochs_agrees"
LOST = (machine.END_TRIPLE, machine.END_HARNESS, machine.END_WATCHDOG, machine.END_HANG)
MINOR = {"arithmetic", "rf", "write"}
TSS, TSS_SIZE, RF, ARITHMETIC = 0x16000, 0x200, 1 << 16, 0x8d5


def sure(result):
    """Not ended by a clock."""
    return machine.end_of(result) in (0, 1, 2, 3)


def suspects(bt, qemu, exact_flags, forgiven):
    """Numbers of the programs that must be looked at in full mode. `forgiven` (Counter) is told what was not."""
    found = []
    for i, (a, b) in enumerate(zip(bt, qemu)):
        if a[1:] == b[1:] and not a[RF_WRONG]:
            continue
        upper_a, upper_b = a[STATUS] >> 16, b[STATUS] >> 16
        if a[MAIN] != b[MAIN] or a[ACCESSED] != b[ACCESSED] or (a[STATUS] ^ b[STATUS]) & 0xffff or a[RF_WRONG] or upper_a & ~upper_b or upper_a & UPPER_PDPT:
            found.append(i)
        elif b[PF_WRITES] & ~a[PF_WRITES] or (exact_flags and a[FLAGS] != b[FLAGS]):
            found.append(i)
        else:
            minor = {"rf": b[RF_WRONG], "directory_accessed": upper_a != upper_b, "fault_of_rmw": a[PF_WRITES] != b[PF_WRITES], "dead_flags": a[FLAGS] != b[FLAGS]}
            forgiven.update(name for name, is_so in minor.items() if is_so)
            if (minor["directory_accessed"] or minor["fault_of_rmw"]) and i % FORGIVEN_ONE_IN == 0:
                found.append(i)
    return found


def clock_of_one(bt, qemu):
    """The guest's watchdog ended one side and not the other one."""
    ends = {bt.end, qemu.end}
    return machine.END_WATCHDOG in ends and bool(ends & {0, 1, 2, 3})


class Difference:
    """One thing that differs. `kind`: event (`fields` differ, or one of `bt` and `qemu` is None), end, memory (`address`, values), msr."""

    def __init__(self, kind, program, records, **facts):
        self.kind, self.program, self.records = kind, program, records
        self.index, self.fields, self.address, self.bt, self.qemu = None, frozenset(), None, None, None
        self.code = records[0]       # with whose changes the program's code is read
        self.__dict__.update(facts)

    def only(self, *fields):
        return bool(self.fields) and self.fields <= set(fields)

    def at_word(self, address):
        """As if the difference was one of memory, with all events before it."""
        return Difference("memory", self.program, self.records, address=address, code=self.code)

    def signature(self):
        vectors = tuple(e and e["vector"] for e in (self.bt, self.qemu)) if self.kind == "event" else ()
        return self.kind, vectors, tuple(sorted(self.fields))

    def text(self):
        if self.kind == "event" and self.bt and self.qemu:
            slot, eip = self.bt["slot"], self.bt["eip"]
            words = [f"{f} {self.bt[f]:x}/{self.qemu[f]:x}" for f in machine.EVENT_FIELDS if f in self.fields]
            return f"event {self.index} (slot {slot}, vector {self.bt['vector']}, eip {eip:x}), bt/QEMU: " + ", ".join(words)
        if self.kind == "event":
            return f"event {self.index}: only on {'bt' if self.bt else 'QEMU'}: {self.bt or self.qemu}; ends: {self.ends()}"
        if self.kind == "memory":
            return f"memory at {self.address:x}, bt/QEMU: {self.bt:x}/{self.qemu:x}"
        return f"{self.kind}, bt/QEMU: {self.ends() if self.kind == 'end' else f'{self.bt}/{self.qemu}'}"

    def ends(self):
        return "/".join(machine.ENDS[r.end] for r in self.records)


def event_differences(program, records, exact_flags):
    """Differences of events in order, minor fields apart from the others."""
    a, b = (r.events for r in records)
    for i in range(max(len(a), len(b))):
        x, y = (e[i] if i < len(e) else None for e in (a, b))
        if x is None or y is None:
            yield Difference("event", program, records, index=i, bt=x, qemu=y)
            return
        if x == y:
            continue
        fields = {f for f in machine.EVENT_FIELDS if x[f] != y[f]}
        if fields - MINOR:
            yield Difference("event", program, records, index=i, bt=x, qemu=y, fields=frozenset(fields - MINOR))
        for field in sorted(fields & MINOR - ({"arithmetic"} if not exact_flags else set())):
            if x["vector"] == y["vector"]:
                yield Difference("event", program, records, index=i, bt=x, qemu=y, fields=frozenset({field}))


def undefined_bits(address, exact_flags):
    """EFLAGS in task state segments: RF, and without exact flags the arithmetic ones; in 16-bit ones at offset 16."""
    task, offset = divmod(address - TSS, TSS_SIZE)
    if not 0 <= task < 4 or offset != (16 if task == 2 else 36):
        return 0
    return (RF if task != 2 else 0) | (0 if exact_flags else ARITHMETIC)


def final_differences(program, records, exact_flags):
    a, b = records
    if a.end != b.end:
        yield Difference("end", program, records)
        return
    if not sure(a.result):
        return
    for address in sorted(set(a.diffs) | set(b.diffs)):
        before = a.before.get(address, b.before.get(address))
        x, y = a.diffs.get(address, before), b.diffs.get(address, before)
        undefined = undefined_bits(address, exact_flags)
        if x != y and (not undefined or x & ~undefined != y & ~undefined):
            yield Difference("memory", program, records, address=address, bt=x, qemu=y)
    if a.msrs != b.msrs:
        yield Difference("msr", program, records, bt=a.msrs, qemu=b.msrs)


def alike(x, y, minor):
    """bt's or QEMU's event and Bochs', but for what is minor, and for which of an instruction's accesses it began with."""
    if x is None or y is None:
        return False
    near = {"cr2"} if x["vector"] == y["vector"] == 14 and abs(x["cr2"] - y["cr2"]) < 64 else set()
    return all(x[f] == y[f] for f in machine.EVENT_FIELDS if f not in (MINOR | near) - minor)


def sides_with(difference, bochs, exact_flags):
    """"bt" or "QEMU": whose word Bochs has at a difference, having gone the same way up to there. None: it has another one, or went another way."""
    bt, qemu = difference.records
    minor = difference.fields & (MINOR | {"cr2"} if difference.only(*MINOR, "cr2", "error") else MINOR)
    upto = len(bt.events) if difference.index is None else difference.index
    if len(bochs.events) < upto or not all(alike(x, y, frozenset()) for x, y in zip(bt.events[:upto], bochs.events)):
        return None
    if difference.kind == "event":
        third = bochs.events[upto] if upto < len(bochs.events) else None
        for name, event, record in (("bt", difference.bt, bt), ("QEMU", difference.qemu, qemu)):
            if alike(event, third, minor) or (event is None and third is None and record.end == bochs.end):
                return name
        return None
    if len(bochs.events) != upto or (difference.kind != "end" and bochs.end != bt.end):
        return None
    if difference.kind == "memory":
        bits = ~undefined_bits(difference.address, exact_flags)
        before = next(r.before[difference.address] for r in (bt, qemu) if difference.address in r.before)
        third, words = bochs.diffs.get(difference.address, before) & bits, (difference.bt & bits, difference.qemu & bits)
    else:
        third, words = (bochs.end, (bt.end, qemu.end)) if difference.kind == "end" else (bochs.msrs, (bt.msrs, qemu.msrs))
    return "bt" if third == words[0] else "QEMU" if third == words[1] else None


def dead_flags_first(inexact, exact):
    """bt's records without and with --exact-flags part in arithmetic flags only: in EFLAGS, or where a program has put or loaded a pushed EFLAGS (docs/design.md, D2).
    What is behind the first event that differs may follow from them: a frame's flags may be read as an address, or run as code."""
    def dead(field, x, y):
        pushed = (y & 0x802a == 2 and field not in ("vector", "eip")) or field in ("arithmetic", "error")
        return x == y or (pushed and (x ^ y) & ~ARITHMETIC == 0)
    for x, y in zip(inexact.events, exact.events):
        if x != y:
            return all(dead(f, x[f], y[f]) for f in machine.EVENT_FIELDS)
    if inexact.end != exact.end or len(inexact.events) != len(exact.events) or inexact.msrs != exact.msrs:
        return False
    words = {**inexact.before, **exact.before}   # unaligned too
    return all(any((inexact.diffs.get(a, old) ^ exact.diffs.get(a, old)) & ~(ARITHMETIC << n | ARITHMETIC >> 32 - n) & 0xffffffff == 0 for n in range(0, 32, 8))
               for a, old in words.items())


class Verdict:
    """`failure`: the first difference that no row explains, or None. `cut`: the row at whose event the comparison ended, or None.
    `hits`: rows that explained something. `voted`: differences that no row explains, and in which Bochs has what bt has. `votes`: (row, with whom Bochs sides)."""

    def __init__(self):
        self.failure, self.cut, self.hits, self.voted, self.votes = None, None, set(), [], []

    def end(self, difference, cut):
        """At a difference that a row explains (`cut`), or none."""
        self.cut, self.failure = (cut, None) if cut else (None, difference)
        return self


def qemu_stopped(difference, records):
    """QEMU got no further than to here, by itself."""
    names = {machine.END_DIED: "qemu_died", machine.END_HANG: "qemu_hung"} | ({machine.END_WATCHDOG: "qemu_hung"} if sure(records[0].result) else {})
    return names.get(records[1].end) if difference.kind == "end" or (difference.kind == "event" and difference.qemu is None) else None


def examine(program, records, table, exact_flags=False, bochs=None):
    """The first difference decides: behind it the states of both sides have parted. A `harmless` row is about what an event reports and not about
    the state behind it. Words of memory are looked at one by one. With a record of Bochs', what no row explains is QEMU's if Bochs has what bt has; and a row
    explains nothing that Bochs has as QEMU has it, unless it says so."""
    verdict = Verdict()

    def name_of(difference, row):
        """The row that counts, or None."""
        side = sides_with(difference, bochs, exact_flags) if bochs else None
        if row and side == "QEMU" and not row.choice:
            row = table.explain(difference, choice=True)
        if row and (side != "QEMU" or row.choice):
            verdict.votes += [(row.name, side)] if bochs else []
            return row.name
        if row or side != "bt":
            return None
        verdict.voted.append(difference)
        return VOTED
    both_lost = records[0].end == machine.END_HANG and records[1].end in LOST   # the program has wrecked the guest
    if records[0].end not in machine.PROPER and not both_lost:
        verdict.failure = Difference("end", program, records)
        return verdict
    for difference in event_differences(program, records, exact_flags):
        row = table.explain(difference)
        name = qemu_stopped(difference, records) or name_of(difference, row)
        if name is None:
            return verdict.end(difference, None)
        verdict.hits.add(name)
        if not row or not row.harmless:
            return verdict.end(difference, name)
    for difference in final_differences(program, records, exact_flags):
        name = qemu_stopped(difference, records) or name_of(difference, table.explain(difference))
        if name is None:
            return verdict.end(difference, None)
        verdict.hits.add(name)
        if difference.kind == "end":
            return verdict.end(difference, name)
    return verdict

"""Compares what a program did on both sides: results at once in `hash` mode, and in `full` mode event by event.

Some differences are so frequent, and so harmless, that `hash` mode forgives them in the one direction that QEMU is known for; one program in
FORGIVEN_ONE_IN is looked at in `full` mode all the same, where a row of deviations.py must explain it."""
from collections import Counter

import machine
from machine import ACCESSED, FLAGS, MAIN, PF_WRITES, RF_WRONG, STATUS

FORGIVEN_ONE_IN = 16
UPPER_PDPT = 1 << 15
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


class Difference:
    """One thing that differs. `kind`: event (`fields` differ, or one of `bt` and `qemu` is None), end, memory (`address`, values), msr."""

    def __init__(self, kind, program, records, **facts):
        self.kind, self.program, self.records = kind, program, records
        self.index, self.fields, self.address, self.bt, self.qemu = None, frozenset(), None, None, None
        self.__dict__.update(facts)

    def only(self, *fields):
        return bool(self.fields) and self.fields <= set(fields)

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
            return f"memory at {self.address:x}, bt/QEMU: " + "/".join("unchanged" if v is None else f"{v:x}" for v in (self.bt, self.qemu))
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
        x, y = a.diffs.get(address), b.diffs.get(address)
        undefined = undefined_bits(address, exact_flags)
        if x != y and (not undefined or (x or 2) & ~undefined != (y or 2) & ~undefined):
            yield Difference("memory", program, records, address=address, bt=x, qemu=y)
    if a.msrs != b.msrs:
        yield Difference("msr", program, records, bt=a.msrs, qemu=b.msrs)


def examine(program, records, table, exact_flags=False):
    """(first difference that no row of `table` explains or None, Counter of the rows that explained one). A row that says so is no reason to
    stop: what comes after it is still comparable."""
    hits = Counter()
    for difference in event_differences(program, records, exact_flags):
        row = table.explain(difference)
        if row is None:
            return difference, hits
        hits[row.name] = 1   # programs, not words
        if not row.harmless:
            return None, hits
    for difference in final_differences(program, records, exact_flags):
        row = table.explain(difference)
        if row is None:
            return difference, hits
        hits[row.name] = 1   # programs, not words
    return None, hits


def ends_early(program, records, table, exact_flags):
    """Whether the comparison of events ends before the last one."""
    differences = event_differences(program, records, exact_flags)
    return any(not (row := table.explain(d)) or not row.harmless for d in differences)

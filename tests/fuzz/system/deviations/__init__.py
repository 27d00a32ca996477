"""Where QEMU 7.2 (TCG) is known to differ from the manual, or where the manual leaves a choice: a difference that a row explains
is counted under it and is no failure; one that no row explains is. Sections are those of the SDM.

A row looks at the event that differs, or at the word of memory; what it says of a program's other events is where such a word
comes from. Rows stand in the files of this folder by subject, each at its predicate (rows.py)."""
from deviations.consequences import consequences
from deviations.flags import flags
from deviations.marks import marks
from deviations.memory import accesses, places
from deviations.registers import registers, undefined
from deviations.rows import Table, at
from deviations.segments import segments
from deviations.tasks import tasks
from layout import A_GDT, A_IDT, A_LDT, A_PD, A_POINTERS, A_DATA, A_STACK0, A_TRAP_TOP, A_TSS, ARENA_END, EVENT_DOUBLE_FAULT

# The first row that fits counts: code that is no memory comes before what it does, and what follows from other rows comes last.
TABLE = Table([places, flags, accesses, marks, segments, undefined, tasks, registers, consequences])

REGIONS = ((A_DATA, "slots"), (A_GDT, "data"), (A_LDT, "GDT"), (A_POINTERS, "LDT"), (A_IDT, "pointers"), (A_TSS, "IDT"),
           (A_STACK0, "tasks"), (A_TRAP_TOP, "ring 0's stack"), (A_PD, "stacks"), (ARENA_END, "page tables"))


def kind_of(d):
    """What a difference is about, for counting."""
    if d.kind != "event":
        return f"{d.kind} {region_of(d.address)}" if d.kind == "memory" else d.kind
    vectors = "/".join(vector_of(e) for e in (d.bt, d.qemu))
    return f"event of vector {vectors} at opcode {at(d).opcode:x} ({' '.join(sorted(d.fields)[:6])})"


def vector_of(event):
    return str(event["vector"]) + ("df" if event["kind"] == EVENT_DOUBLE_FAULT else "") if event else "-"


def region_of(address):
    return next(name for end, name in REGIONS if address < end)

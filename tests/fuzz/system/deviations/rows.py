"""What a row is, and what a row's predicate can ask of a difference (compare.py) and of the step that it is in.

A row stands at its predicate, as a decorator that names the chapter; the function's name is the row's. Within a chapter rows are
asked in the order in which they stand in the file; the order of chapters is that of deviations.TABLE."""
from instructions import BASED, NONE, instruction_at, linear_eip
from layout import A_SLOTS, ARENA, CODE_SIZE, EVENT_DOUBLE_FAULT, FLAG_VM, S_TSS, SLOT_SIZE, SLOTS
from programs import REGISTERS

GENERAL = (*REGISTERS, "inner_esp")
SELECTORS = ("ds", "es", "fs", "gs", "ss")
ACCESSED_DIRTY = 0x60        # of page-table entries
CR0_TS = 8
DB, UD, DF, TS, NP, SS, GP, PF, AC = 1, 6, 8, 10, 11, 12, 13, 14, 17   # vectors


class Row:
    """`choice`: the manual leaves it open, or Bochs is known to do as QEMU: elsewhere what both of them have against bt is
    explained by no row. `harmless`: it is about what an event reports, not about the state behind it: the comparison goes on
    behind it."""

    def __init__(self, explains, section, reason, harmless, choice):
        self.name, self.explains = explains.__name__, explains
        self.section, self.reason, self.harmless, self.choice = section, reason, harmless, choice


class Chapter:
    """Rows of one subject. Called it is the decorator: section of the SDM, what QEMU does otherwise or the manual leaves open."""

    def __init__(self):
        self.rows = []

    def __call__(self, section, reason, harmless=False, choice=False):
        def add(explains):
            self.rows.append(Row(explains, section, reason, harmless, choice))
            return explains
        return add


class Table:
    """Chapters in the order in which they are asked: the first row that fits counts."""

    def __init__(self, chapters):
        self.rows = [row for chapter in chapters for row in chapter.rows]

    def explain(self, difference, choice=False):
        """With the program's code as the step left it, or as it was before. `choice`: by such a row only."""
        step = difference.step
        for changes in ({**step.before, **step.changes[0]}, step.before) if step.changes[0] else (step.before,):
            difference.read_code(changes)
            row = next((row for row in self.rows if row.choice >= choice and row.explains(difference)), None)
            if row:
                return row
        return None


# ---- the difference ----

def on_both(d):
    """It is in events of both sides."""
    return d.kind == "event" and bool(d.bt) and bool(d.qemu)


def vector(d, *vectors):
    """Both sides have the same of these."""
    return on_both(d) and d.bt["vector"] == d.qemu["vector"] and d.bt["vector"] in vectors


def bt_faults(d, number, error=None):
    """bt has this fault, and QEMU another one or none."""
    if d.kind != "event" or not d.bt or d.bt["vector"] != number or d.bt["kind"] or error not in (None, d.bt["error"]):
        return False
    return d.qemu is None or not d.fields.isdisjoint({"vector", "error", "eip", "kind"})


def qemu_has(d, number):
    """And QEMU has that in its place, and no more is different."""
    return d.only("vector") and d.qemu["vector"] == number


def differs_in(d, fields, mask):
    """In bits of `mask` only, in each of these fields that differs."""
    return all((d.bt[f] ^ d.qemu[f]) & ~mask == 0 for f in fields)


def at(d):
    """The instruction at bt's EIP."""
    return (instruction_at(d.code, d.bt) if d.kind == "event" and d.bt else None) or NONE


def at_fault(d, number, error=None):
    """Likewise, if bt has this fault and QEMU has not."""
    return at(d) if bt_faults(d, number, error) else NONE


# ---- the step ----

def all_events(d):
    """[(event, its instruction)] of the step, bt's and QEMU's."""
    return [(e, instruction_at(d.code, e) or NONE) for e in d.events]


def faulted(d):
    """Of those, page faults."""
    return [(e, i) for e, i in all_events(d) if e["vector"] == PF]


def double_fault(d):
    return any(e["kind"] == EVENT_DOUBLE_FAULT for e in d.events)


def switched(d):
    """CR0.TS, or another task: a task switch happened."""
    return any(e["cr0"] & CR0_TS or e["tr"] & ~3 != S_TSS for e in d.events)


def is_outside(event):
    """Not in the slots."""
    return not 0 <= linear_eip(event) - A_SLOTS < CODE_SIZE


def in_16_bits(event):
    """In a 16-bit segment's selector, or in V86 mode."""
    return event["cs"] & ~7 in BASED or bool(event["eflags"] & FLAG_VM)


def slots_since(d):
    """Of the step, from where it began to where its events are."""
    last = SLOTS - 1
    ends = [e["slot"] if e["slot"] < SLOTS else last for e in d.events] + [min(d.step.first_slot, last)]
    return range(min(ends), max(ends) + 1)


def instructions_since(d, slots=None):
    """Those of the step's slots, or of others. They may begin where events are, and where words of the code and of memory may
    lead to: frames, gates, pointers."""
    code, slots = d.code.data, slots or slots_since(d)
    words = {int.from_bytes(code[n:n + 2], "little") for n in range(len(code))}
    words |= {value >> n & 0xffff for _, value in d.program.patches for n in (0, 16)}
    starts = {linear_eip(e) - A_SLOTS for e in d.events} | {ARENA + word - A_SLOTS for word in words}
    led_to = frozenset(start for start in starts if 0 <= start < CODE_SIZE)
    return [d.code.instruction(place, small) for place, small in d.code.walk(led_to).items() if place // SLOT_SIZE in slots]


# ---- words of the arena ----

def word_at(d, side, address):
    """(what is known of four bytes of the arena as bt (0) or QEMU (1) left them; the mask of what is known)"""
    value = mask = 0
    for n in range(4):
        held = d.step.word(side, address + n & ~3)
        if held is not None:
            value |= (held >> 8 * (address + n & 3) & 0xff) << 8 * n
            mask |= 0xff << 8 * n
    return value, mask


def entry_changed(d, address):
    """In this step, by more than its accessed and dirty bits."""
    changes = d.step.changes[0]
    return address in changes and (changes[address] ^ d.step.before[address]) & ~ACCESSED_DIRTY != 0

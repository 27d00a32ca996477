"""Rows about what follows from the others, or from a place where nothing can be compared: old translations, frames that were
read, ports, code that is no program, programs that the clock ended. They are asked last, because they look least closely."""
from accesses import STRINGS, reads_ports
from packets import LOST
from deviations.flags import ALWAYS, FIXED, undefined_by
from deviations.memory import beyond_ram, firmware, physical
from deviations.rows import (ACCESSED_DIRTY, DF, GENERAL, PF, SELECTORS, Chapter, at, differs_in, entry_changed, in_16_bits,
                             instructions_since, is_outside, word_at)
from instructions import linear_eip
from layout import (A_PAE_PD, A_PAE_PT, A_PAE_PT2, A_PD, A_PD2, A_PT, A_PT2, ARENA, ARENA_END, EVENT_DOUBLE_FAULT, FLAG_RF,
                    FLAG_VM, FLAGS_ARITH, PLAY)

PAGES = (*range(ARENA >> 12, ARENA_END >> 12), *range(0x100, 0x140))   # that entries lead to
BASES = (0, ARENA)           # of segments
WROTE_USER = 6               # W and U of a page fault's error code

consequences = Chapter()


# ---- page faults by old translations ----

def leaf_changed(d, page):
    """The arena's or the guest's, below PLAY."""
    return entry_changed(d, A_PT + 4 * page) or entry_changed(d, A_PAE_PT + 8 * (page & 0x1ff))


def directory_changed(d, page):
    entries = (A_PD + 4 * (page >> 10), A_PD2 + 4 * (page >> 10), A_PAE_PD + 8 * (page >> 9), A_PAE_PD + 8 * (page >> 9) + 4)
    return any(entry_changed(d, a) for a in entries)


def play_changed(d, page):
    return entry_changed(d, A_PT2 + 4 * (page & 0x3ff)) or entry_changed(d, A_PAE_PT2 + 8 * (page & 0x1ff))


def is_page_fault(event):
    """Or a double or triple fault by it."""
    return not event or event["vector"] == PF or event["kind"] == EVENT_DOUBLE_FAULT


@consequences("3A, 4.10.2", "a store into a page table without INVLPG: old and new translation are both allowed", choice=True)
def stale_tlb(d):
    """One side has a #PF in a page whose entry the program changed without INVLPG: PLAY's by a string instruction, or the
    arena's. Or it is the page of the code or of the stack: one side goes on in the old page, the other in the new one."""
    if d.kind != "event":
        return False
    if any(leaf_changed(d, page) for page in pages_in_use(d)):
        return True
    if not is_page_fault(d.bt) and not is_page_fault(d.qemu):
        return False
    fault = next((e for e in d.events if e["vector"] == PF), None) or d.bt or d.qemu
    page = fault["cr2"] >> 12
    if page < PLAY >> 12 and (directory_changed(d, page) or leaf_changed(d, page)):
        return True
    return at(d).opcode in STRINGS and play_changed(d, page)


def pages_in_use(d):
    """Linear pages of what ran at the event and of its stacks, in segments from 0 or from 64 KiB on, where the arena is."""
    places = [place for e in d.events for place in (e["eip"], e["esp"] - 4, e["inner_esp"] - 4)]
    linear = [place + base for place in places for base in BASES]
    return {address >> 12 for address in linear if 0 <= address < PLAY}


# ---- frames ----

@consequences("3B, 17.3.1.1",
              "the pushed RF of row rf, and in a frame the other bits of EFLAGS and of error codes that may differ, compared as "
              "memory")
def rf_in_memory(d):
    """A pushed EFLAGS that differs in RF, wherever it is; or what a fault's frame has else, where its stack is compared."""
    if d.kind != "memory":
        return False
    changed = d.bt ^ d.qemu
    if pushed_rf(d, changed):
        return True
    bits = pushed_bits(d)
    return all(changed >> 8 * n & 0xff & ~bits.get((d.address + n) % 4096, 0) == 0 for n in range(4))


def pushed_bits(d):
    """{address modulo 4096: bits} of what in the frames of the step's events may differ: RF, flags that were dead, and who read
    what in a #PF's error code."""
    bits = {}
    for e in d.events:
        v86, inner = e["eflags"] & FLAG_VM, e["cs"] & 3
        top = e["inner_esp"] - (28 if v86 else 12 if inner else 4)
        words = [(top, FLAG_RF | FLAGS_ARITH)] + ([(top - 12, WROTE_USER)] if e["vector"] == PF else [])
        for first, mask in words:
            for n in range(4):   # all bases are multiples of 4096
                place = (first + n) % 4096
                bits[place] = bits.get(place, 0) | mask >> 8 * n & 0xff
    return bits


def pushed_rf(d, changed):
    """RF of an EFLAGS at any address: it has the bits around it that EFLAGS has always."""
    if changed not in (1, 0x100, FLAG_RF, 0x1000000) or not d.bt & changed:
        return False
    low, known = word_at(d, 0, d.address + (changed.bit_length() - 1) // 8 - 2)
    return not known & 0xff or low & 0x2a == 2   # a word that never changed may hold anything


@consequences("-", "a frame was pushed where there is no memory, and the vector popped from there", choice=True)
def no_stack(d):
    """Nonsense was popped in the place of a vector, or the stack is in what is no memory."""
    if d.kind != "event" or not d.bt:
        return False
    if any(e["vector"] > 255 or firmware(physical(e, e["inner_esp"])) for e in d.events):
        return True
    stacks = [e[esp] for e in d.events for esp in ("esp", "inner_esp")]
    return not d.bt["cr0"] >> 31 and any(firmware(esp) or beyond_ram(esp) or esp < 0x60 for esp in stacks)


# ---- what a program has read ----

@consequences("-", "ports of devices that one side does not have", choice=True)
def no_port(d):
    """Ports of devices that one side does not have, or that count: what an IN since the event before read."""
    return d.only("eax") and any(map(reads_ports, instructions_since(d)))


@consequences("3A, 4.10.2", "words and flags behind an access by the old translation or by the new one, as row stale_tlb",
              choice=True)
def stale_words(d):
    """What an access through such an entry of PLAY's has read or written: the sides have marked the entry differently."""
    if d.kind != "memory" and not d.only("arithmetic"):
        return False
    entries = [a for a in d.step.changes[0] if A_PT2 <= a < A_PD2 or a >= A_PAE_PT2]
    return any(entry_changed(d, a) and marked_differently(d, a) for a in entries)


def marked_differently(d, address):
    changed = d.step.word(0, address) ^ d.step.word(1, address)
    return changed != 0 and changed & ~ACCESSED_DIRTY == 0


@consequences("3A, 4.8", "a register that the program loaded from a page table: accessed and dirty bits of the rows above",
              choice=True)
def read_accessed(d):
    """Entries of page tables that a program has loaded or copied."""
    if d.kind == "memory":
        return d.address < A_PD and (d.bt ^ d.qemu) & ~ACCESSED_DIRTY == 0 and d.bt >> 12 in PAGES
    return d.only(*GENERAL, *SELECTORS) and differs_in(d, d.fields, ACCESSED_DIRTY)


@consequences("3B, 17.3.1.1", "a register or selector that the program loaded from a pushed EFLAGS with undefined flags",
              choice=True)
def read_pushed_flags(d):
    """A register, or a selector in an error code, that is a pushed EFLAGS or part of one: it differs in flags that were
    undefined."""
    if not d.only(*GENERAL, "error") or not all(is_like_eflags(d, f) for f in d.fields):
        return False
    return differs_in(d, d.fields, undefined_by(instructions_since(d)))


def is_like_eflags(d, field):
    """By the bits that an EFLAGS always has; an error code lacks the lowest."""
    fixed = FIXED if field != "error" else FIXED & ~ALWAYS
    return d.bt[field] & fixed == fixed & ALWAYS


# ---- what is no program any more ----

@consequences("-", "the program wrote over what records events", choice=True)
def guest_damaged(d):
    """A program wrote over the guest's own descriptors: vector 8 comes by a task gate, or not at all."""
    return d.kind == "event" and any(e["vector"] == DF and not e["kind"] for e in d.events)


@consequences("3A, 4.8", "what page-table entries do as code follows from their accessed and dirty bits", choice=True)
def table_code(d):
    """An event of code that is page-table entries."""
    return d.kind == "event" and any(A_PD <= linear_eip(e) < ARENA_END for e in d.events)


@consequences("-", "ended by the watchdog while it ran through memory that is no program: how far it came is a matter of speed",
              choice=True)
def by_the_clock(d):
    """A side got lost in memory that is no program, or went beyond 64 KiB in 16-bit code (where QEMU wraps), and was ended by the
    clock: how far it came is a matter of speed. The end itself is another when the way out was a jump into the guest's own
    memory."""
    ends = {r.end for r in d.records}
    if d.kind == "end":
        return ends <= LOST
    if d.kind != "event" or (d.bt and d.qemu) or LOST.isdisjoint(ends):
        return False
    lost = d.bt or d.qemu
    return ends <= LOST or is_outside(lost) or in_16_bits(lost)

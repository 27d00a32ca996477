"""Rows about words of memory that a faulting access leaves behind: accessed and dirty bits, and stores that were half done."""
from accesses import touches_page, touches_word
from deviations.rows import ACCESSED_DIRTY, UD, Chapter, all_events, double_fault, faulted, instructions_since
from layout import (A_GDT, A_PAE_PD, A_PAE_PT, A_PD, A_PD2, A_PDPT, A_PT, A_TSS, A_TSS_SIZE, ARENA_END)

ACCESSED, DIRTY = 0x20, 0x40
TASKS32, TASK16 = (0, 1, 3), 2   # task state segments from A_TSS on
TSS_ESP0, TSS_ESP1, TSS_ESP2, TSS_ESP, TSS16_SP = 4, 12, 20, 56, 24
DIRECTORIES = ((A_PD, A_PT), (A_PD2, A_PDPT), (A_PAE_PD, A_PAE_PT))

marks = Chapter()


def sets_more(d, bits):
    """QEMU has more of these bits set in a word of memory, and that is all."""
    return d.kind == "memory" and d.bt | bits == d.qemu | bits and not d.bt & bits & ~d.qemu


def leaf_of(address):
    """(page number modulo the table's size, mask) of a word in a page table that holds entries; None elsewhere."""
    if A_PT <= address < A_PD2:
        return address % 4096 // 4, 0x3ff
    return (address % 4096 // 8, 0x1ff) if A_PAE_PT <= address < ARENA_END else None


def leaf_marked_by_bt(d):
    """A page's entry is accessed in bt, and in QEMU is not."""
    return d.kind == "memory" and leaf_of(d.address) and d.bt & ACCESSED_DIRTY == ACCESSED and d.qemu == d.bt & ~ACCESSED


# ---- accessed and dirty bits ----

@marks("3A, 4.8", "QEMU marks a directory's entry before it knows whether the access faults, bt afterwards: both may",
       choice=True)
def directory_accessed(d):
    return sets_more(d, ACCESSED) and any(first <= d.address < end for first, end in DIRECTORIES)


@marks("3A, 4.8",
       "QEMU does a part of an access (one page of two, the reading half, one operand of two) before another part faults",
       choice=True)
def leaf_marked(d):
    """Of a page that an instruction with a #PF, or an #UD with an operand, accesses; of the stack in a double fault."""
    leaf = leaf_of(d.address) if d.kind == "memory" else None
    if not leaf or not sets_more(d, ACCESSED_DIRTY):
        return False
    events = faulted(d) + [(e, i) for e, i in all_events(d) if e["vector"] == UD and i.memory]
    return any(touches_page(i, e, *leaf) for e, i in events) or double_fault(d)


@marks("3A, 4.4.1", "entries of the PDPT have no accessed bit; QEMU sets it", choice=True)
def pdpt_accessed(d):
    return sets_more(d, ACCESSED) and d.address == A_PDPT


@marks("2A, CMPS", "the same, where the second operand faults", choice=True)
def cmps_marked(d):
    """The page of CMPS's first operand, whose second one faults."""
    return leaf_marked_by_bt(d) and any(i.opcode in (0xa6, 0xa7) for _, i in faulted(d))


@marks("2A, CALL", "a call gate's parameters are read before the new stack is written; QEMU and Bochs begin with the new stack",
       choice=True)
def parameters_marked(d):
    """The page of the stack from which a call gate's parameters are, where then something else faults."""
    return leaf_marked_by_bt(d) and any(i.opcode in (0x9a, 0xff) for i in instructions_since(d))


# ---- what is half written ----

@marks("3A, 6.5", "a faulting instruction has no effect; QEMU stores what lies in the page that does not fault, as Bochs",
       choice=True)
def half_written(d):
    """A word of the operand or frame of an instruction with a #PF."""
    return d.kind == "memory" and any(touches_word(i, e, d.address) for e, i in faulted(d))


@marks("3A, 6.15, #DF",
       "the same of a frame: QEMU and Bochs have pushed a part of it before they find that there is no room", choice=True)
def frame_half_written(d):
    """A word of the stack on which an exception could not be delivered: near the ESP that the task has saved, or just below those
    that it has for inner rings."""
    if d.kind != "memory" or not double_fault(d):
        return False
    saved = task_words(d, TASKS32, TSS_ESP) + [word >> 16 for word in task_words(d, (TASK16,), TSS16_SP)]
    inner = task_words(d, TASKS32, TSS_ESP0, TSS_ESP1, TSS_ESP2)
    if any((esp - d.address - 1) % 4096 < 0x40 for esp in inner):
        return True
    return any((esp + 0x94 - d.address) % 4096 < 0x128 for esp in saved)


def task_words(d, tasks, *offsets):
    """What is known of these words of task state segments, on both sides."""
    words = [d.step.word(side, A_TSS + A_TSS_SIZE * n + offset) for n in tasks for offset in offsets for side in (0, 1)]
    return [word for word in words if word is not None]


@marks("3A, 6.5", "the same over the state of the task, whose stack the fault is delivered on", choice=True)
def half_written_stack(d):
    """Over the stack pointer of the fault's own handler, in the task's state."""
    stack = next((a for a in (A_TSS + 4, A_TSS + 8) if d.step.word(0, a) != d.step.word(1, a)), None)
    return d.kind == "event" and stack is not None and any(touches_word(i, e, stack) for e, i in faulted(d))


# ---- what instructions mark ----

@marks("2A, ARPL", "ARPL writes if it changes something; QEMU always", choice=True)
def arpl_dirty(d):
    return sets_more(d, DIRTY) and d.address >= A_PT and b"\x63" in d.code.data


@marks("3A, 3.4.5.1", "the page of the GDT is dirty where only one side set a descriptor's accessed bit")
def gdt_dirty(d):
    """The page of the GDT, by the accessed bits of descriptors in it that rows below explain."""
    entries = (A_PT + 4 * (A_GDT >> 12), A_PAE_PT + 8 * (A_GDT >> 12))
    return d.kind == "memory" and d.address in entries and (d.bt ^ d.qemu) & ~ACCESSED_DIRTY == 0

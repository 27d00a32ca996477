"""Rows about task switches: what a new task has loaded when it faults, its flags, what is marked of descriptors, what a double
fault's switch saved."""
from deviations.rows import (CR0_TS, DF, GENERAL, GP, NP, SS, TS, Chapter, at, differs_in, double_fault, on_both, switched)
from layout import (A_GDT, A_PD, A_POINTERS, A_SLOTS_END, A_STACK0, A_TSS, A_TSS_SIZE, ARENA, EVENT_DOUBLE_FAULT, FLAGS_ARITH)

TSS_EIP, TSS_LDT, TSS16_IP = 32, 96, 14
DESCRIPTOR_ACCESSED, DESCRIPTOR_NO_SYSTEM = 0x100, 0x1000   # in its upper word
DR7_LE = 0x155               # LE and the local enables
TO_TASKS = (0x9a, 0xea, 0xff, 0xcd, 0xcf)

tasks = Chapter()


def task_entries(program):
    """EIP of each task, as the program or the arena sets it."""
    patches = [(place - A_TSS, value) for place, value in program.patches if A_TSS <= place < A_STACK0]
    eips = {value for offset, value in patches if offset % A_TSS_SIZE == TSS_EIP}
    eips |= {value >> 16 for offset, value in patches if offset == 2 * A_TSS_SIZE + TSS16_IP - 2}   # the 16-bit task's
    return eips | {A_SLOTS_END, A_SLOTS_END - ARENA}


@tasks("3A, 7.3",
       "a fault of a new task's segments is at its first instruction; QEMU has the EIP of the jump, in a half-switched state")
def task_fault(d):
    """A fault while a new task's segments are loaded, in the new task's context or lost in a double fault."""
    if d.kind != "event" or not d.bt or not d.bt["cr0"] & CR0_TS:
        return False
    of_segments = {TS, NP, SS, GP}
    if d.bt["vector"] in of_segments and d.bt["eip"] in task_entries(d.program):
        if d.qemu is None or not d.fields.isdisjoint({"eip", "kind", "ss", "vector"}):
            return True
    return d.qemu is not None and {d.bt["vector"], d.qemu["vector"]} <= {DF, *of_segments} and "kind" in d.fields


@tasks("3A, 6.15, #TS",
       "a new task's CS that is no code: in bt its SS is not loaded then and there is no stack for #TS; QEMU and Bochs load it "
       "first. A handler must not rely on either", choice=True)
def task_code_fault(d):
    """The selector that is complained of is that of CS; in bt it became a double fault."""
    if not on_both(d) or d.bt["kind"] != EVENT_DOUBLE_FAULT:
        return False
    return d.qemu["vector"] in (TS, NP) and d.qemu["error"] & ~3 == d.qemu["cs"] & ~3


@tasks("3A, 7.2.2", "a task state segment of 2 GiB or more: QEMU takes its limit for a negative number, and has #TS")
def wide_task(d):
    """JMP and CALL to a task state segment of 2 GiB or more."""
    if not on_both(d) or d.qemu["vector"] != TS or "vector" not in d.fields or "eip" in d.fields:
        return False
    return at(d).opcode in TO_TASKS


@tasks("3A, 7.3", "the same, as a double fault's task switch saved it")
def task_fault_saved(d):
    """EIP to GS of a task that a double fault left."""
    if d.kind != "memory" or not A_TSS <= d.address < A_STACK0:
        return False
    return TSS_EIP <= (d.address - A_TSS) % A_TSS_SIZE < TSS_LDT and double_fault(d)


@tasks("3A, 3.4.5.1", "what a transfer or a task switch loads is marked accessed; QEMU does that in MOV, POP and LDS only")
def descriptor_accessed(d):
    """What a transfer loaded into CS or SS, or a task switch into any register."""
    if d.kind != "memory" or not A_GDT <= d.address < A_POINTERS:
        return False
    both = DESCRIPTOR_NO_SYSTEM | DESCRIPTOR_ACCESSED
    return d.bt & both == both and d.qemu == d.bt & ~DESCRIPTOR_ACCESSED


@tasks("3A, 7.3", "a task switch loads EFLAGS; QEMU mixes in flags of the instruction before")
def task_flags(d):
    """Arithmetic flags behind a task switch, as they are or as PUSHF and another switch stored them."""
    if d.kind == "memory":   # QEMU's have reserved bits too
        return d.address < A_PD and (d.bt ^ d.qemu) & ~(FLAGS_ARITH | 0x28) == 0 and switched(d)
    if not on_both(d) or not switched(d):
        return False
    return d.only("arithmetic") or (d.only(*GENERAL) and differs_in(d, d.fields, FLAGS_ARITH))


@tasks("3B, 17.2.4", "a task switch clears DR7.LE; QEMU leaves it", harmless=True, choice=True)
def task_le(d):
    return d.only("dr7") and differs_in(d, ("dr7",), DR7_LE) and d.bt["dr7"] & ~d.qemu["dr7"] == 0 and switched(d)

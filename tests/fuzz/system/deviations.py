"""Where QEMU 7.2 (TCG) is known to differ from the manual, or where the manual leaves a choice: a difference that a row explains is counted under it
and is no failure; one that no row explains is. The first row that fits counts. Sections are those of the SDM.

`harmless` rows change nothing but what they are about: the comparison goes on behind them."""
import machine
from instructions import instruction_at, transfers_far, writes_after_reading


class Row:
    def __init__(self, name, section, reason, explains, harmless=False):
        self.name, self.section, self.reason, self.explains, self.harmless = name, section, reason, explains, harmless


class Table:
    def __init__(self, rows):
        self.rows = rows

    def explain(self, difference):
        return next((row for row in self.rows if row.explains(difference)), None)


def vector(d, *vectors):
    return d.kind == "event" and d.bt and d.qemu and d.bt["vector"] == d.qemu["vector"] and d.bt["vector"] in vectors


def at(d):
    return instruction_at(d.program, d.bt)


def rf(d):
    return d.only("rf") and d.bt["rf"] and not d.qemu["rf"]


def fault_of_rmw(d):
    return d.only("write") and vector(d, 14) and d.bt["write"] and not d.qemu["write"] and writes_after_reading(at(d))


PD, PT, PT2, PD2, PDPT, PAE_PD, PAE_PT, PAE_PT2, TABLES_END = 0x19000, 0x1a000, 0x1b000, 0x1c000, 0x1d000, 0x1e000, 0x1f000, 0x20000, 0x21000
GDT, POINTERS, TSS, TSS_SIZE, STACK0, SLOTS_END = 0x14000, 0x14800, 0x16000, 0x200, 0x17000, 0x11100
TSS_SELECTORS, TSS16_SELECTOR, CONFORMING, LAST_VECTOR = (0x28, 0xa8, 0xb0, 0xb8), 0xb0, 0x78, 31
VM, USER = 1 << 17, 4


def sets_more(d, bits):
    """QEMU has more of these bits set in a word of memory, and that is all."""
    return d.kind == "memory" and d.qemu is not None and (d.qemu & bits) != 0 and (d.bt is None or d.bt | bits == d.qemu | bits) and not (d.bt or 0) & bits & ~d.qemu


def directory_accessed(d):
    return d.kind == "memory" and (PD <= d.address < PT or PD2 <= d.address < PDPT or PAE_PD <= d.address < PAE_PT) and sets_more(d, 0x20)


def pdpt_accessed(d):
    return d.kind == "memory" and d.address == PDPT and sets_more(d, 0x20)


def faults_near(d, index):
    """A page fault was taken (or lost in a double fault) in the page of this number in its table, or beside it."""
    events = d.records[0].events + d.records[1].events
    return any(e["kind"] == 2 or (e["vector"] == 14 and abs((e["cr2"] >> 12 & 0x1ff) - index) <= 1) for e in events)


def leaf_marked(d):
    if d.kind != "memory" or not (PT <= d.address < PD2 or PAE_PT <= d.address < TABLES_END) or not sets_more(d, 0x60):
        return False
    return faults_near(d, d.address >> (3 if d.address >= PAE_PT else 2) & 0x1ff)


def supervisor_stack(d):
    return vector(d, 14) and d.only("error") and d.bt["error"] ^ d.qemu["error"] == USER and d.bt["error"] & USER and at(d).opcode in (0xca, 0xcb, 0xcf)


def pusha_order(d):
    return vector(d, 14) and d.only("error", "cr2") and at(d).opcode in (0x60, 0x61)


def enter_write(d):
    return d.kind == "event" and d.bt and d.bt["vector"] == 14 and at(d).opcode == 0xc8


def upper_halves(d):
    """Registers of 16 bits after a switch to the 16-bit task."""
    registers = ("eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi", "inner_esp")
    return d.only(*registers) and any(d.bt[r] >> 16 == 0xffff and (d.bt[r] ^ d.qemu[r]) & 0xffff == 0 for r in d.fields)


def reserved_register(d):
    """MOV to and from DR4 and DR5 with CR4.DE, and control registers that do not exist."""
    if d.kind != "event" or not d.bt or d.bt["vector"] != 6 or not d.only("vector"):
        return False
    i = at(d)
    return d.qemu["vector"] == 13 and ((i.opcode in (0x0f21, 0x0f23) and i.reg in (4, 5) and d.bt["cr4"] & 8) or (i.opcode in (0x0f20, 0x0f22) and i.reg in (1, 5, 6, 7)))


def v86_to_ring1(d):
    return bt_faults(d, 13, 0x58) and d.bt["eflags"] & VM and at(d).opcode == 0xcd


def bt_faults(d, number, error=None):
    return bool(d.kind == "event" and d.bt and d.bt["vector"] == number and not d.bt["kind"] and error in (None, d.bt["error"]))


def conforming_gate(d):
    return d.kind == "event" and d.bt and d.qemu and "cs" in d.fields and d.bt["cs"] & ~3 == d.qemu["cs"] & ~3 == CONFORMING


def task_in_ldt(d):
    i = at(d) if bt_faults(d, 13) else None
    return i is not None and (i.opcode in (0x9a, 0xea) or (i.opcode == 0xff and i.reg in (3, 5))) and d.bt["error"] & 4 and d.only("vector") and d.qemu["vector"] == 10


def v86_limit(d):
    return bt_faults(d, 13, 0) and d.bt["eflags"] & VM and transfers_far(at(d))


def pdptes(d):
    i = at(d) if bt_faults(d, 13, 0) else None
    return i is not None and i.opcode in (0x0f20, 0x0f22) and d.bt["cr4"] & 0x20


def undefined_group(d):
    """#UD of an undefined row with a memory operand that cannot be read."""
    i = at(d) if bt_faults(d, 6) else None
    return i is not None and d.qemu and i.opcode == 0x0fba and i.reg < 4 and i.memory and d.qemu["vector"] in (13, 14)


def null_segment(d):
    """Memory through a data segment register that holds no segment (as after an interrupt out of V86 mode, or a return to an outer ring)."""
    return bt_faults(d, 13, 0) and not d.bt["eflags"] & VM and (d.bt["ds"] < 4 or d.bt["es"] < 4) and "error" not in d.fields


def task_entries(program):
    """EIP of each task, as the program or the arena sets it."""
    eips = {value for at_, value in program.patches if TSS <= at_ < STACK0 and (at_ - TSS) % TSS_SIZE == 32}
    return eips | {SLOTS_END, SLOTS_END - 0x10000} | {value >> 16 for at_, value in program.patches if at_ == TSS + 2 * TSS_SIZE + 12}


def task_fault(d):
    """A fault while a new task's segments are loaded."""
    return d.kind == "event" and d.bt and d.bt["vector"] in (10, 11, 12, 13) and d.bt["eip"] in task_entries(d.program) and (d.qemu is None or d.qemu["kind"] == 2 or "eip" in d.fields)


def task_fault_saved(d):
    return d.kind == "memory" and TSS <= d.address < STACK0 and (d.address - TSS) % TSS_SIZE == 32 and any(e["kind"] == 2 for e in d.records[0].events)


def task_accessed(d):
    if d.kind != "memory" or not GDT <= d.address < POINTERS or d.bt is None or d.bt & 0x1100 != 0x1100 or (d.qemu is not None and d.qemu != d.bt & ~0x100):
        return False
    return any(e["cr0"] & 8 for e in d.records[0].events)   # TS: a task switch happened


def by_the_clock(d):
    """One side got lost in memory that is no program and was ended by the clock: how far it came is a matter of speed."""
    ends = [r.end for r in d.records]
    lost = d.bt or d.qemu
    return d.kind == "event" and not (d.bt and d.qemu) and machine.END_WATCHDOG in ends and (ends[0] == ends[1] or lost["slot"] == 255)


TABLE = Table([
    Row("rf", "3B, 17.3.1.1", "a fault's EFLAGS are pushed with RF; QEMU pushes it as it was", rf, True),
    Row("fault_of_rmw", "3A, 4.7", "QEMU reads the operand first and reports a read; a processor asks for both rights at once", fault_of_rmw, True),
    Row("directory_accessed", "3A, 4.8", "QEMU marks a directory's entry before it knows whether the access faults, bt afterwards: both may", directory_accessed),
    Row("leaf_marked", "3A, 4.8", "QEMU does half of an access that crosses pages, or the reading half of one that also writes, before the other half faults", leaf_marked),
    Row("pdpt_accessed", "3A, 4.4.1", "entries of the PDPT have no accessed bit; QEMU sets it", pdpt_accessed),
    Row("supervisor_stack", "3A, 4.6", "RETF and IRET read the stack with the privilege of CPL; QEMU reads it as a supervisor", supervisor_stack, True),
    Row("pusha_order", "2B, PUSHA", "QEMU begins with the lowest word; the manual's operation begins with EAX", pusha_order, True),
    Row("enter_write", "2A, ENTER", "ENTER faults if a write at the final ESP would; QEMU does not try", enter_write),
    Row("upper_halves", "3A, 7.6", "a 16-bit task loads FFFFh into the upper halves (as Bochs does); QEMU leaves what was there", upper_halves),
    Row("reserved_register", "2B, MOV", "#UD for a register that does not exist comes before #GP for CPL; QEMU tests CPL first", reserved_register, True),
    Row("v86_to_ring1", "3A, 20.3.3", "an interrupt from V86 mode through a gate to a ring other than 0 is #GP; QEMU goes there", v86_to_ring1),
    Row("conforming_gate", "3A, 5.8.1", "a gate to a conforming segment leaves CPL as it is; QEMU goes to ring 0", conforming_gate),
    Row("task_in_ldt", "2A, JMP", "a task state segment in the LDT is #GP; QEMU has #TS", task_in_ldt, True),
    Row("v86_limit", "3A, 20.2", "segments have 64 KiB in V86 mode; QEMU jumps beyond", v86_limit),
    Row("pdptes", "3A, 4.4.1", "reserved bits in a PDPTE are #GP when CR3 is loaded; QEMU finds out when it walks", pdptes),
    Row("undefined_group", "2D, A.4", "an undefined row of a group is #UD at once; QEMU reads its operand first", undefined_group),
    Row("task_fault", "3A, 7.3", "a fault of a new task's segments is at its first instruction; QEMU has the EIP of the jump, in a half-switched state", task_fault),
    Row("task_fault_saved", "3A, 7.3", "the same, as a double fault's task switch saved it", task_fault_saved),
    Row("task_accessed", "3A, 3.4.5.1", "a segment that a task switch loads is marked accessed; QEMU does not", task_accessed),
    Row("null_segment", "3A, 5.4.1", "an access through a null segment is #GP; QEMU lets it through", null_segment),
    Row("by_the_clock", "-", "ended by the watchdog while it ran through memory that is no program: how far it came is a matter of speed", by_the_clock),
])

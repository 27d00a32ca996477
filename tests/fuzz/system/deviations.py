"""Where QEMU 7.2 (TCG) is known to differ from the manual, or where the manual leaves a choice: a difference that a row explains is counted under it
and is no failure; one that no row explains is. The first row that fits counts. Sections are those of the SDM.

A row looks at the event that differs, or at the word of memory; what it says of a program's other events is where such a word comes from.
`harmless` rows are about what an event reports, not about the state behind it: the comparison goes on behind them."""
import machine
import programs
from instructions import ARENA, BASED, BASES32, SLOTS_AT, STRINGS, Instruction, bases_of, code_of, effective, instruction_at, linear_eip, reads_ports, touched, touches_page, touches_word, transfers, walk, writes_after_reading


class Row:
    """`choice`: the manual leaves it open, or Bochs is known to do as QEMU: elsewhere what both of them have against bt is explained by no row."""

    def __init__(self, name, section, reason, explains, harmless=False, choice=False):
        self.name, self.section, self.reason, self.explains, self.harmless, self.choice = name, section, reason, explains, harmless, choice


class Table:
    def __init__(self, rows):
        self.rows = rows

    def explain(self, difference, choice=False):
        """With the program's code as the step left it, or as it was before. `choice`: by such a row only."""
        step = difference.step
        for changes in ({**step.before, **step.changes[0]}, step.before) if step.changes[0] else (step.before,):
            difference.code = changes
            row = next((row for row in self.rows if row.choice >= choice and row.explains(difference)), None)
            if row:
                return row
        return None


def vector(d, *vectors):
    return d.kind == "event" and d.bt and d.qemu and d.bt["vector"] == d.qemu["vector"] and d.bt["vector"] in vectors


PD, PT, PT2, PD2, PDPT, PAE_PD, PAE_PT, PAE_PT2, TABLES_END = 0x19000, 0x1a000, 0x1b000, 0x1c000, 0x1d000, 0x1e000, 0x1f000, 0x20000, 0x21000
DATA, GDT, POINTERS, TSS, TSS_SIZE, STACK0, SLOTS_END = 0x12000, 0x14000, 0x14800, 0x16000, 0x200, 0x17000, 0x11100
CONFORMING = 0x78
CODE_PAGES = (0x0a, 0x0c, 0x10, 0x11, 0, 1)   # of PLAY, of the arena, in segments based there
LOST = {machine.END_WATCHDOG, machine.END_HANG, machine.END_HARNESS, machine.END_TRIPLE, machine.END_EXIT}
SELECTORS = ("ds", "es", "fs", "gs", "ss")
PAGES = (*range(0x10, 0x21), *range(0x100, 0x140))   # that entries lead to
VM, NT, USER = 1 << 17, 1 << 14, 4
FRAMES, FRAMES_END = 0x14800, 0x15000   # what idioms return through, 40h bytes a slot
UNWRITABLE = (0x08, 0x18, 0x38, 0x48, 0x58, 0x68, 0x78, 0x80, 0x88, 0x108, 0x118)   # code, read-only, empty
BIG_PAGES, RAM_END, EFER, RF, ARITHMETIC = (0xc00000, 0x1000000), 0x4000000, 0xc0000080, 1 << 16, 0x8d5
MSRS = (0x174, 0x175, 0x176, 0xc0000080)
GENERAL = ("eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi", "inner_esp")
NONE = Instruction(b"\x90\xc0")   # where nobody knows: a NOP


def at(d):
    """The instruction at bt's EIP."""
    return (instruction_at(d.program, d.bt, d.code) if d.kind == "event" and d.bt else None) or NONE


def slots_since(d):
    """Of the step, from where it began to where its events are."""
    ends = [e["slot"] if e["slot"] < 16 else 15 for e in d.events] + [min(d.step.first_slot, 15)]
    return range(min(ends), max(ends) + 1)


def instructions_since(d, slots=None):
    """Those of the step's slots, or of others. They may begin where events are, and where words of the code and of memory may lead to: frames, gates, pointers."""
    code, slots = code_of(d.program, d.code), slots or slots_since(d)
    words = {int.from_bytes(code[n:n + 2], "little") for n in range(len(code))} | {value >> n & 0xffff for _, value in d.program.patches for n in (0, 16)}
    starts = {linear_eip(e) - SLOTS_AT for e in d.events} | {ARENA + word - SLOTS_AT for word in words}
    return [i for at_, i in walk(code, frozenset(starts)) if at_ // programs.SLOT_SIZE in slots]


def all_events(d):
    """[(event, its instruction)] of the step, bt's and QEMU's."""
    return [(e, instruction_at(d.program, e, d.code) or NONE) for e in d.events]


def faulted(d):
    """Of those, page faults."""
    return [(e, i) for e, i in all_events(d) if e["vector"] == 14]


def outside(program, event):
    return instruction_at(program, event) is None


def bt_faults(d, number, error=None):
    """bt has this fault, and QEMU another one or none."""
    if d.kind != "event" or not d.bt or d.bt["vector"] != number or d.bt["kind"] or error not in (None, d.bt["error"]):
        return False
    return d.qemu is None or not d.fields.isdisjoint({"vector", "error", "eip", "kind"})


def kind_of(d):
    """What a difference is about, for counting."""
    if d.kind != "event":
        return f"{d.kind} {region_of(d.address)}" if d.kind == "memory" else d.kind
    vectors = "/".join(str(e["vector"]) + ("df" if e["kind"] == 2 else "") if e else "-" for e in (d.bt, d.qemu))
    return f"event of vector {vectors} at opcode {at(d).opcode:x} ({' '.join(sorted(d.fields)[:6])})"


def region_of(address):
    names = ((0x12000, "slots"), (GDT, "data"), (0x14400, "GDT"), (POINTERS, "LDT"), (0x15000, "pointers"), (TSS, "IDT"), (0x17000, "tasks"), (0x18000, "ring 0's stack"),
             (PD, "stacks"), (TABLES_END, "page tables"))
    return next(name for end, name in names if address < end)


# ---- EFLAGS and page faults ----

def rf(d):
    return d.only("rf") and d.bt["rf"] and not d.qemu["rf"]


def fault_of_rmw(d):
    """Outside the slots programs run through tables and data, which are mostly ADDs to memory."""
    return d.only("write") and vector(d, 14) and d.bt["write"] and not d.qemu["write"] and (outside(d.program, d.bt) or writes_after_reading(at(d)))


def adjacent(d):
    """The second page's first byte is what QEMU complains of, bt of the first page's."""
    return d.qemu["cr2"] & 0xfff == 0 and 0 < d.qemu["cr2"] - d.bt["cr2"] < 16


def first_of_two_pages(d):
    """Also of an instruction that accesses memory more than once: QEMU may begin with another of its words."""
    return d.only("cr2", "error") and "cr2" in d.fields and vector(d, 14) and (adjacent(d) or abs(d.bt["cr2"] - d.qemu["cr2"]) < 64)


def supervisor_stack(d):
    return vector(d, 14) and d.only("error") and d.bt["error"] ^ d.qemu["error"] == USER and d.bt["error"] & USER and at(d).opcode in (0x9a, 0xca, 0xcb, 0xcc, 0xcd, 0xce, 0xcf, 0xff)


def supervisor_parameters(d):
    """The parameters of a call gate."""
    return bt_faults(d, 14) and d.bt["error"] & USER and at(d).opcode in (0x9a, 0xff)


def supervisor_push(d):
    """A call to a conforming segment."""
    return supervisor_parameters(d) and d.qemu is not None and d.qemu["cs"] & ~3 == CONFORMING


def own_code(d):
    """A repeated string instruction that writes over itself, or just behind, at its own address or through PLAY's pages 10 and 12. EDI is where it left off, and one
    side at least is still there."""
    if d.kind != "event" or not any(i.opcode in STRINGS and 0xf3 in i.prefixes for i in instructions_since(d)):
        return False
    if d.bt and d.qemu and (d.bt["cs"] & ~7 in BASED or d.bt["eflags"] & VM) and not d.bt["ecx"] & 0xffff and d.qemu["ecx"] & 0xffff:
        return True   # all of 64 KiB
    return any(e["edi"] >> 12 & 0xff in CODE_PAGES and abs((e["edi"] & 0xfff) - (place["eip"] & 0xfff)) < 128 for e in d.events for place in d.events)


def pusha_order(d):
    return vector(d, 14) and d.only("error", "cr2") and at(d).opcode in (0x60, 0x61)


def cmps_order(d):
    return vector(d, 14) and d.only("error", "cr2") and at(d).opcode in (0xa6, 0xa7)


def enter_write(d):
    return bt_faults(d, 14) and at(d).opcode == 0xc8


# ---- accessed and dirty bits ----

def sets_more(d, bits):
    """QEMU has more of these bits set in a word of memory, and that is all."""
    return d.kind == "memory" and d.bt | bits == d.qemu | bits and not d.bt & bits & ~d.qemu


def directory_accessed(d):
    return d.kind == "memory" and (PD <= d.address < PT or PD2 <= d.address < PDPT or PAE_PD <= d.address < PAE_PT) and sets_more(d, 0x20)


def pdpt_accessed(d):
    return d.kind == "memory" and d.address == PDPT and sets_more(d, 0x20)


def leaf_of(address):
    """(page number modulo the table's size, mask) of a word in a page table that holds entries; None elsewhere."""
    if PT <= address < PD2:
        return address % 4096 // 4, 0x3ff
    return (address % 4096 // 8, 0x1ff) if PAE_PT <= address < TABLES_END else None


def leaf_marked(d):
    """Of a page that an instruction with a #PF, or an #UD with an operand, accesses; of the stack in a double fault."""
    leaf = leaf_of(d.address) if d.kind == "memory" else None
    if not leaf or not sets_more(d, 0x60):
        return False
    events = faulted(d) + [(e, i) for e, i in all_events(d) if e["vector"] == 6 and i.memory]
    return any(touches_page(i, e, *leaf) for e, i in events) or double_fault(d)


def parameters_marked(d):
    """The page of the stack from which a call gate's parameters are, where then something else faults."""
    if d.kind != "memory" or not leaf_of(d.address) or d.bt & 0x60 != 0x20 or d.qemu != d.bt & ~0x20:
        return False
    return any(i.opcode in (0x9a, 0xff) for i in instructions_since(d))


def cmps_marked(d):
    """The page of CMPS's first operand, whose second one faults."""
    if d.kind != "memory" or not leaf_of(d.address) or d.bt & 0x60 != 0x20 or d.qemu != d.bt & ~0x20:
        return False
    return any(i.opcode in (0xa6, 0xa7) for _, i in faulted(d))


def double_fault(d):
    return any(e["kind"] == 2 for e in d.events)


def half_written(d):
    """A word of the operand or frame of an instruction with a #PF."""
    return d.kind == "memory" and any(touches_word(i, e, d.address) for e, i in faulted(d))


def frame_half_written(d):
    """A word of the stack on which an exception could not be delivered: near the ESP that the task has saved, or just below those that it has for inner rings."""
    if d.kind != "memory" or not double_fault(d):
        return False
    saved = [d.step.word(side, TSS + TSS_SIZE * n + 56) for n in (0, 1, 3) for side in (0, 1)]
    saved += [word >> 16 for word in (d.step.word(side, TSS + TSS_SIZE * 2 + 24) for side in (0, 1)) if word is not None]   # the 16-bit one's SP
    inner = [d.step.word(side, TSS + TSS_SIZE * n + at_) for n in (0, 1, 3) for at_ in (4, 12, 20) for side in (0, 1)]
    return any(esp is not None and (esp - d.address - 1) % 4096 < 0x40 for esp in inner) or any(esp is not None and (esp + 0x94 - d.address) % 4096 < 0x128 for esp in saved)


def word_at(d, side, address):
    """(what is known of four bytes of the arena as bt (0) or QEMU (1) left them; the mask of what is known)"""
    value = mask = 0
    for n in range(4):
        held = d.step.word(side, address + n & ~3)
        if held is not None:
            value, mask = value | (held >> 8 * (address + n & 3) & 0xff) << 8 * n, mask | 0xff << 8 * n
    return value, mask


def read_accessed(d):
    """Entries of page tables that a program has loaded or copied."""
    if d.kind == "memory":
        return d.address < PD and (d.bt ^ d.qemu) & ~0x60 == 0 and d.bt >> 12 in PAGES
    return d.only(*GENERAL, *SELECTORS) and all((d.bt[f] ^ d.qemu[f]) & ~0x60 == 0 for f in d.fields)


def half_written_stack(d):
    """Over the stack pointer of the fault's own handler, in the task's state."""
    at_ = next((a for a in (TSS + 4, TSS + 8) if d.step.word(0, a) != d.step.word(1, a)), None)
    return d.kind == "event" and at_ is not None and any(touches_word(i, e, at_) for e, i in faulted(d))


def arpl_dirty(d):
    return d.kind == "memory" and d.address >= PT and sets_more(d, 0x40) and b"\x63" in code_of(d.program, d.code)


def gdt_dirty(d):
    """The page of the GDT, by the accessed bits of descriptors in it that rows below explain."""
    return d.address in (PT + 4 * (GDT >> 12), PAE_PT + 8 * (GDT >> 12)) and d.kind == "memory" and d.bt & ~0x60 == d.qemu & ~0x60


# ---- segments and transfers ----

def upper_halves(d):
    """Registers of 16 bits after a switch to the 16-bit task."""
    if d.kind != "event" or not d.bt or not d.qemu or not switched(d):
        return False
    halves = [r for r in GENERAL if d.bt[r] >> 16 == 0xffff != d.qemu[r] >> 16 and (d.bt[r] ^ d.qemu[r]) & 0xffff == 0]
    return len(halves) > 3 or (bool(halves) and d.only(*GENERAL, "eflags", "inner_eflags"))


def reserved_register(d):
    """MOV to and from DR4 and DR5 with CR4.DE, and control registers that do not exist."""
    if not bt_faults(d, 6) or not d.only("vector") or d.qemu["vector"] != 13:
        return False
    i = at(d)
    return (i.opcode in (0x0f21, 0x0f23) and i.reg in (4, 5) and d.bt["cr4"] & 8) or (i.opcode in (0x0f20, 0x0f22) and i.reg in (1, 5, 6, 7))


def v86_to_ring1(d):
    return bt_faults(d, 13, 0x58) and d.bt["eflags"] & VM and at(d).opcode == 0xcd


def conforming_gate(d):
    if d.kind == "memory":   # CS as the gate's user pushed it
        return d.bt & ~3 == d.qemu & ~3 == CONFORMING
    return d.kind == "event" and d.bt and d.qemu and "cs" in d.fields and d.bt["cs"] & ~3 == d.qemu["cs"] & ~3 == CONFORMING


def task_in_ldt(d):
    i = at(d) if bt_faults(d, 13) else NONE
    return (i.opcode in (0x9a, 0xea) or (i.opcode == 0xff and i.reg in (3, 5))) and d.bt["error"] & 4 and d.only("vector") and d.qemu["vector"] == 10


def task_return(d):
    """IRET with NT."""
    return bt_faults(d, 10) and d.only("vector") and d.qemu["vector"] == 11 and at(d).opcode == 0xcf and d.bt["eflags"] & NT


def v86_limit(d):
    i = at(d)
    beyond = (bt_faults(d, 13, 0) and (transfers(i) or i.memory or i.opcode in STRINGS)) or (bt_faults(d, 12, 0) and i.opcode in (0xc8, 0xc9))
    return beyond and d.bt["eflags"] & VM


def wrapped_table(d):
    """SGDT and SIDT that end beyond FFFFh in 16-bit addresses."""
    i = at(d) if bt_faults(d, 13, 0) or bt_faults(d, 12, 0) else NONE
    return i.opcode == 0x0f01 and i.memory and i.reg < 2 and effective(i, d.bt) > 0xfffa


def iret_to_v86(d):
    """IRET outside ring 0 with a frame that has VM set, or in ring 0 to an EIP beyond 64 KiB."""
    if bt_faults(d, 13, 0) and at(d).opcode == 0xcf and not d.bt["cs"] & 3:
        return bool(d.qemu and (d.qemu["eflags"] & VM or d.qemu["kind"] == 2))   # or it cannot deliver the fault of the first fetch
    if not bt_faults(d, 13) or d.bt["eflags"] & VM or not d.bt["cs"] & 3 or at(d).opcode != 0xcf:
        return False
    return any(at_ & 0x3f == 8 and value & VM for at_, value in d.program.patches if FRAMES <= at_ < FRAMES_END)


def absent_stack(d):
    """RETF and IRET with a stack segment that is not present."""
    return bt_faults(d, 12) and d.only("vector") and d.qemu["vector"] == 11 and at(d).opcode in (0xca, 0xcb, 0xcf)


def sysenter_null(d):
    """CS of the MSR, and EDX: bt has #GP(0) at the instruction, and QEMU goes on."""
    return bt_faults(d, 13, 0) and at(d).opcode in (0x0f34, 0x0f35) and d.bt["eip"] != (d.qemu or {}).get("eip")


def null_segment(d):
    """Memory through a data segment register that holds no segment (as after an interrupt out of V86 mode, or a return to an outer ring)."""
    return bt_faults(d, 13, 0) and not d.bt["eflags"] & VM and (d.bt["ds"] < 4 or d.bt["es"] < 4)


def segment_rights(d):
    """A store through CS, or through a DS or ES that holds code or read-only data."""
    if not bt_faults(d, 13, 0) or d.bt["eflags"] & VM:
        return False
    i = at(d)
    return 0x2e in i.prefixes or d.bt["ds"] & ~7 in UNWRITABLE or (i.opcode in STRINGS and d.bt["es"] & ~7 in UNWRITABLE)


def fast_call_code(d):
    """The same through a CS that SYSENTER or SYSEXIT has loaded."""
    return segment_rights(d) and 0x2e in at(d).prefixes


def beyond_64k(d):
    """16-bit code beyond 64 KiB, or an instruction that ends there."""
    if d.kind != "event" or not d.bt or not d.qemu or "eip" not in d.fields or d.bt["cs"] != d.qemu["cs"]:
        return False
    return d.bt["eip"] - d.qemu["eip"] == 0x10000 or (d.bt["eip"] >> 16 and d.qemu["vector"] == 14 and d.qemu["cr2"] & 0xffff == d.qemu["eip"] < 0x10000)


# ---- undefined instructions and registers ----

def undefined_group(d):
    """#UD of an undefined row with a memory operand, or of a MOV or POP with a ModRM.reg other than 0."""
    i = at(d) if bt_faults(d, 6) else NONE
    return (d.qemu and i.memory and d.qemu["vector"] in (13, 14) and "eip" not in d.fields) or (i.opcode in (0xc6, 0xc7, 0x8f) and i.reg)


def alignment(d):
    return bt_faults(d, 17) and d.bt["cs"] & 3 == 3 and d.bt["eflags"] & 1 << 18 and d.bt["cr0"] & 1 << 18


def lock_ignored(d):
    return bt_faults(d, 6) and 0xf0 in at(d).prefixes


def no_vme(d):
    i = at(d) if bt_faults(d, 13, 0) else NONE
    return i.opcode == 0x0f22 and i.reg == 4 and d.bt[BASES32[i.rm]] & 0x43


def reserved_bits(d):
    """CR3 that leads to reserved bits of a PDPTE, or reserved bits of CR4."""
    if bt_faults(d, 13, 0) and 0x100000 <= d.bt["eip"] < 0x108000:   # the guest's own MOV CR0: the program wrote into the PDPT
        return bool((d.step.word(0, PDPT) or 1) & 0x1e6)
    i = at(d) if bt_faults(d, 13, 0) else NONE
    eax = d.bt["eax"] if i.opcode == 0x0f22 and i.reg == 0 else 0
    return (i.opcode in (0x0f20, 0x0f22) and d.bt["cr4"] & 0x20) or (i.opcode == 0x0f22 and i.reg == 4) or eax >> 31 > eax & 1 or eax >> 29 & 3 == 1


def pdpt_reload(d):
    """The program changed the PDPT: one side has read it again and lost its memory."""
    return d.kind == "event" and (not d.bt or bool(d.bt["cr4"] & 0x20)) and entry_changed(d, PDPT) and machine.END_TRIPLE in [r.end for r in d.records]


def cr0_reserved(d):
    """Bits of CR0 that do not exist, there and in the register that it was read into."""
    return d.only("cr0", *GENERAL) and "cr0" in d.fields and all((d.bt[f] ^ d.qemu[f]) & ~0x1ffaffc0 == 0 for f in d.fields)


def unknown_msr(d):
    """An MSR that does not exist, or reserved bits of EFER."""
    opcode = at(d).opcode if bt_faults(d, 13, 0) else 0
    return (opcode in (0x0f30, 0x0f32) and d.bt["ecx"] not in MSRS) or (opcode == 0x0f30 and d.bt["ecx"] == EFER and (d.bt["edx"] or d.bt["eax"] & ~0x801))


def int1(d):
    """F1: #DB behind it."""
    code = instruction_at(d.program, d.qemu, d.code) if bt_faults(d, 1) and d.qemu else None
    return code is not None and code.opcode == 0xf1 and d.qemu["vector"] == 6


def unaligned_watch(d):
    """An unaligned store (or SGDT, SIDT, which end in one) in the page of a data breakpoint."""
    if d.kind != "event" or not d.qemu or d.qemu["vector"] != 1 or not d.qemu["dr7"] & 0xff or not d.qemu["dr7"] >> 16 or d.qemu["slot"] >= 16:
        return False
    slot = d.program.slots[d.qemu["slot"]]
    addresses = [int.from_bytes(slot[i:i + 4], "little") for i in range(len(slot) - 3)]
    return b"\x0f\x01" in slot or any(DATA <= a < GDT and a & 3 for a in addresses)


def watched_stack(d):
    """At the first instruction of the guest's own handler."""
    return d.kind == "event" and bool(d.bt) and bool(d.qemu) and d.qemu["vector"] == 1 != d.bt["vector"] and 0x100000 <= d.qemu["eip"] < 0x108000


def general_detect(d):
    return bool(d.kind == "event" and d.bt and d.bt["vector"] == 1 and d.bt["dr6"] & 0x2000)


def sysenter_cs(d):
    """What WRMSR put into the upper half of SYSENTER_CS."""
    if d.only("sysenter_cs"):
        return d.bt["sysenter_cs"] & 0xffff == d.qemu["sysenter_cs"]
    if d.kind == "event" and d.qemu and d.qemu["vector"] == 14 and d.qemu["cr2"] == d.qemu["eax"] < 0x10000:   # as an address
        return b"\x0f\x32" in code_of(d.program, d.code)
    return d.only("eax") and d.bt["eax"] >> 16 and d.bt["eax"] & 0xffff == d.qemu["eax"] and b"\x0f\x32" in code_of(d.program, d.code)


def setcc_flags(d):
    """A SETcc or a rotation that faulted."""
    return d.only("arithmetic") and vector(d, 14) and (0x0f90 <= at(d).opcode < 0x0fa0 or at(d).opcode in (0xc0, 0xc1, 0xd0, 0xd1, 0xd2, 0xd3))


def null_rpl(d):
    """DS to GS that held a null selector when a return left the ring; or as a task switch saved it."""
    if d.kind == "memory":
        return TSS <= d.address < STACK0 and d.bt < 4 and not d.qemu and switched(d)
    return d.only("ds", "es", "fs", "gs") and all(d.bt[f] < 4 and d.qemu[f] == 0 for f in d.fields)


def small_segment(d):
    """DS of V86 mode, which SYSENTER leaves as it is, with its limit."""
    return bt_faults(d, 13, 0) and not d.bt["eflags"] & VM and d.bt["ds"] == 0x1000


def sticky_vif(d):
    """VIF and VIP, once an IRET to V86 mode has set them: no POPF and no IRET of QEMU clears them, not even for the next program."""
    return d.only("eflags", "inner_eflags") and all((d.bt[f] ^ d.qemu[f]) & ~0x180000 == 0 for f in d.fields)


def dr6_more(d):
    return d.only("dr6") and d.bt["dr6"] & ~d.qemu["dr6"] == 0 and d.qemu["dr6"] & ~d.bt["dr6"] & ~15 == 0


def guest_damaged(d):
    """A program wrote over the guest's own descriptors: vector 8 comes by a task gate, or not at all."""
    return d.kind == "event" and any(e and e["vector"] == 8 and not e["kind"] for e in (d.bt, d.qemu))


def dr7_reserved(d):
    return d.only("dr7") and (d.bt["dr7"] ^ d.qemu["dr7"]) & ~0xdc00 == 0


def external_bit(d):
    """#GP and others while an exception is delivered."""
    return d.only("error") and d.bt["error"] ^ d.qemu["error"] == 1 and d.bt["error"] & 1


def null_task(d):
    i = at(d) if bt_faults(d, 13, 0) else NONE
    return i.opcode == 0x0f00 and i.reg == 3 and "tr" in d.fields and d.qemu["tr"] < 4


def signed_release(d):
    if d.only("esp", "inner_esp") and all(d.bt[f] - d.qemu[f] & 0xffffffff == 0x10000 for f in d.fields):
        return True
    return bt_faults(d, 14) and at(d).opcode in (0xc2, 0xca) and at(d).operands[1] >= 0x80


def stale_tlb(d):
    """One side has a #PF (or a double or triple fault by it) in a page whose entry the program changed without INVLPG: PLAY's by a string instruction, or
    the arena's. Or it is the page of the code or of the stack: one side goes on in the old page, the other in the new one."""
    if d.kind == "event" and any(entry_changed(d, PT + 4 * page) or entry_changed(d, PAE_PT + 8 * (page & 0x1ff)) for page in pages_in_use(d)):
        return True
    if d.kind != "event" or sum(not e or e["vector"] == 14 or e["kind"] == 2 for e in (d.bt, d.qemu)) not in (1, 2):
        return False
    fault = next((e for e in (d.bt, d.qemu) if e and e["vector"] == 14), None) or d.bt or d.qemu
    page = fault["cr2"] >> 12
    if any(entry_changed(d, a) for a in (PD + 4 * (page >> 10), PD2 + 4 * (page >> 10), PAE_PD + 8 * (page >> 9), PAE_PD + 8 * (page >> 9) + 4) if page < 0x400):
        return True
    play = entry_changed(d, PT2 + 4 * (page & 0x3ff)) or entry_changed(d, PAE_PT2 + 8 * (page & 0x1ff))
    arena = page < 0x400 and (entry_changed(d, PT + 4 * page) or entry_changed(d, PAE_PT + 8 * (page & 0x1ff)))
    return (play and at(d).opcode in STRINGS) or arena


def pages_in_use(d):
    """Linear pages of what ran at the event and of its stacks, in segments from 0 or from 64 KiB on, where the arena is."""
    linear = {e["eip"] + base for e in (d.bt, d.qemu) if e for base in (0, 0x10000)}
    linear |= {e[esp] - 4 + base for e in (d.bt, d.qemu) if e for esp in ("esp", "inner_esp") for base in (0, 0x10000)}
    return {address >> 12 for address in linear if 0 <= address < 0x400000}


def stale_words(d):
    """What an access through such an entry of PLAY's has read or written: the sides have marked the entry differently."""
    if d.kind != "memory" and not d.only("arithmetic"):
        return False
    entries = [a for a in d.step.changes[0] if PT2 <= a < PD2 or a >= PAE_PT2]
    return any(entry_changed(d, a) and 0 != d.step.word(0, a) ^ d.step.word(1, a) == (d.step.word(0, a) ^ d.step.word(1, a)) & 0x60 for a in entries)


def entry_changed(d, address):
    """In this step, by more than its accessed and dirty bits."""
    return address in d.step.changes[0] and (d.step.changes[0][address] ^ d.step.before[address]) & ~0x60 != 0


def read_pushed_flags(d):
    """A register, or a selector in an error code, that is a pushed EFLAGS or part of one: it differs in flags that were undefined."""
    if not d.only(*GENERAL, "error"):
        return False
    bits = undefined_by(instructions_since(d))
    def like_eflags(f):   # by the bits that an EFLAGS always has; an error code lacks the lowest
        return d.bt[f] & 0x8028 == 0 and (f == "error" or d.bt[f] & 2 == 2)
    return all((d.bt[f] ^ d.qemu[f]) & ~bits == 0 and like_eflags(f) for f in d.fields)


def undefined_by(instructions):
    """Arithmetic flags that one of these leaves undefined: shifts AF and OF, MUL all but CF and OF, DIV all, BSF and BSR all but ZF."""
    undefined = 0
    for i in instructions:
        if i.opcode in (0xc0, 0xc1, 0xd0, 0xd1, 0xd2, 0xd3, 0x0fa4, 0x0fa5, 0x0fac, 0x0fad):
            undefined |= 0x810 if i.opcode not in (0xd0, 0xd1) else 0x10
        elif i.opcode in (0xf6, 0xf7) and i.reg > 3:
            undefined |= ARITHMETIC if i.reg > 5 else 0xd4
        elif i.opcode in (0x69, 0x6b, 0x0faf):
            undefined |= 0xd4
        elif i.opcode in (0x0fbc, 0x0fbd):
            undefined |= ARITHMETIC & ~0x40
    return undefined


def pushed_flags(d):
    """How far a differing word of memory is off from a pushed EFLAGS, at any address, that differs in arithmetic flags only; None: it is no such thing."""
    for n in range(-3, 4):
        mask = (ARITHMETIC << 8 * n if n >= 0 else ARITHMETIC >> -8 * n) & 0xffffffff
        value, known = word_at(d, 0, d.address + n)
        if (d.bt ^ d.qemu) & ~mask == 0 and known & 0xffff == 0xffff and value & 0x802a == 2:
            return n
    return None


def undefined_flags(d):
    """Flags that an instruction since the event before leaves undefined; as they were pushed, or as a task switch saved them."""
    if d.kind == "memory":
        n = pushed_flags(d)
        changed = None if n is None else (d.bt ^ d.qemu) >> 8 * n if n >= 0 else (d.bt ^ d.qemu) << -8 * n
        return changed is not None and changed & ~undefined_by(instructions_since(d, range(programs.SLOTS))) == 0
    return d.only("arithmetic") and (d.bt["arithmetic"] ^ d.qemu["arithmetic"]) & ~undefined_by(instructions_since(d)) == 0


def pushed_bits(d):
    """{address modulo 4096: bits} of what in the frames of bt's events may differ: RF, flags that were dead, and who read what in a #PF's error code."""
    bits = {}
    for e in d.events:
        v86, inner = e["eflags"] & VM, e["cs"] & 3
        top = e["inner_esp"] - (28 if v86 else 12 if inner else 4)
        fields = [(top, RF | ARITHMETIC)] + ([(top - 12, 6)] if e["vector"] == 14 else [])
        for base in (0, 0x10000):
            for first, mask in fields:
                for n in range(4):
                    bits[(first + base + n) % 4096] = bits.get((first + base + n) % 4096, 0) | mask >> 8 * n & 0xff
    return bits


def pushed_rf(d, changed):
    """RF of an EFLAGS at any address: it has the bits around it that EFLAGS has always."""
    if changed not in (1, 0x100, RF, 0x1000000) or not d.bt & changed:
        return False
    at_ = d.address + (changed.bit_length() - 1) // 8 - 2
    low, known = word_at(d, 0, at_)
    return not known & 0xff or low & 0x2a == 2   # a word that never changed may hold anything


def rf_in_memory(d):
    """A pushed EFLAGS that differs in RF, wherever it is; or what a fault's frame has else, where its stack is compared."""
    if d.kind != "memory":
        return False
    changed = d.bt ^ d.qemu
    if pushed_rf(d, changed):
        return True
    bits = pushed_bits(d)
    return all(changed >> 8 * n & 0xff & ~bits.get((d.address + n) % 4096, 0) == 0 for n in range(4))


# ---- tasks ----

def task_entries(program):
    """EIP of each task, as the program or the arena sets it."""
    eips = {value for at_, value in program.patches if TSS <= at_ < STACK0 and (at_ - TSS) % TSS_SIZE == 32}
    return eips | {SLOTS_END, SLOTS_END - 0x10000} | {value >> 16 for at_, value in program.patches if at_ == TSS + 2 * TSS_SIZE + 12}


def task_fault(d):
    """A fault while a new task's segments are loaded, in the new task's context or lost in a double fault."""
    if d.kind != "event" or not d.bt or not d.bt["cr0"] & 8:
        return False
    entered = d.bt["vector"] in (10, 11, 12, 13) and d.bt["eip"] in task_entries(d.program)
    mixed = d.qemu is not None and {d.bt["vector"], d.qemu["vector"]} <= {8, 10, 11, 12, 13}
    return (entered and (d.qemu is None or not d.fields.isdisjoint({"eip", "kind", "ss", "vector"}))) or (mixed and "kind" in d.fields)


def task_code_fault(d):
    """The selector that is complained of is that of CS; in bt it became a double fault."""
    return d.kind == "event" and bool(d.bt) and bool(d.qemu) and d.bt["kind"] == 2 and d.qemu["vector"] in (10, 11) and d.qemu["error"] & ~3 == d.qemu["cs"] & ~3


def wide_task(d):
    """JMP and CALL to a task state segment of 2 GiB or more."""
    return d.kind == "event" and bool(d.bt) and bool(d.qemu) and d.qemu["vector"] == 10 and "vector" in d.fields and "eip" not in d.fields and (
        at(d).opcode in (0x9a, 0xea, 0xff, 0xcd, 0xcf))


def task_fault_saved(d):
    """EIP to GS of a task that a double fault left."""
    return d.kind == "memory" and TSS <= d.address < STACK0 and 32 <= (d.address - TSS) % TSS_SIZE < 96 and double_fault(d)


def task_flags(d):
    """Arithmetic flags behind a task switch, as they are or as PUSHF and another switch stored them."""
    if d.kind == "memory":   # QEMU's have reserved bits too
        return d.address < PD and (d.bt ^ d.qemu) & ~(ARITHMETIC | 0x28) == 0 and switched(d)
    if d.kind != "event" or not d.bt or not d.qemu or not switched(d):
        return False
    return d.only("arithmetic") or (d.only(*GENERAL) and all((d.bt[f] ^ d.qemu[f]) & ~ARITHMETIC == 0 for f in d.fields))


def switched(d):
    """CR0.TS, or another task: a task switch happened."""
    return any(e["cr0"] & 8 or e["tr"] & ~3 != 0x28 for e in d.events)


def descriptor_accessed(d):
    """What a transfer loaded into CS or SS, or a task switch into any register."""
    return d.kind == "memory" and GDT <= d.address < POINTERS and d.bt & 0x1100 == 0x1100 and d.qemu == d.bt & ~0x100


def task_le(d):
    return d.only("dr7") and (d.bt["dr7"] ^ d.qemu["dr7"]) & ~0x155 == 0 and d.bt["dr7"] & ~d.qemu["dr7"] == 0 and switched(d)


# ---- the machine ----

def firmware(address):
    return 0xa0000 <= address < 0x100000 or address >= 0xfffe0000


def beyond_ram(address):
    return address >= RAM_END


def physical(event, linear):
    """With paging: through the arena's big pages, which begin at 0; elsewhere what is neither firmware nor beyond RAM."""
    if not event["cr0"] >> 31:
        return linear & 0xffffffff
    return next((linear - base for base in BIG_PAGES if 0 <= linear - base < 0x400000), 0)


def read_firmware(d):
    """Code or an operand is in firmware, at the end of the first or of the last MiB. Without paging: or what was read there was stored, or is a selector."""
    if d.kind == "memory":
        return all((d.bt ^ d.qemu) >> n & 0xff == 0 or d.bt >> n & 0xff == 0xff for n in (0, 8, 16, 24)) and any(not e["cr0"] >> 31 for e in d.events)
    return led_to(d, firmware) or in_firmware(d) or (bt_faults(d, 13, 0xfffc) and not d.bt["cr0"] >> 31)


def in_firmware(d):
    return d.kind == "event" and any(firmware(physical(e, at_)) for e in d.events for at_ in (e["eip"], linear_eip(e), e["eip"] + 0x10000))


def no_memory(d):
    """The same beyond RAM."""
    return led_to(d, beyond_ram)


def led_to(d, place):
    if d.kind != "event" or not d.bt:
        return False
    if any(place(physical(e, e["eip"])) for e in d.events):
        return True
    if not d.only(*GENERAL, "arithmetic"):
        return False
    events = d.records[1].events[max(0, d.index - 1):d.index] + d.events
    return any(place(physical(e, a + base)) for i in instructions_since(d) for e in events for a, _ in touched(i, e) for base in bases_of(e))


def no_stack(d):
    """Nonsense was popped in the place of a vector, or the stack is in what is no memory."""
    if d.kind != "event" or not d.bt:
        return False
    if any(e["vector"] > 255 or firmware(physical(e, e["inner_esp"])) for e in d.events):
        return True
    return not d.bt["cr0"] >> 31 and any(e and (firmware(e[r]) or beyond_ram(e[r]) or e[r] < 0x60) for e in (d.bt, d.qemu) for r in ("esp", "inner_esp"))


def no_port(d):
    """Ports of devices that one side does not have, or that count: what an IN since the event before read."""
    return d.only("eax") and any(map(reads_ports, instructions_since(d)))


def table_code(d):
    """An event of code that is page-table entries."""
    return d.kind == "event" and any(e and PD <= linear_eip(e) < TABLES_END for e in (d.bt, d.qemu))


def by_the_clock(d):
    """A side got lost in memory that is no program, or went beyond 64 KiB in 16-bit code (where QEMU wraps), and was ended by the clock: how far it came is a
    matter of speed. The end itself is another when the way out was a jump into the guest's own memory."""
    ends = [r.end for r in d.records]
    if d.kind == "end":
        return set(ends) <= LOST
    lost = d.bt or d.qemu
    return d.kind == "event" and not (d.bt and d.qemu) and not LOST.isdisjoint(ends) and (set(ends) <= LOST or outside(d.program, lost) or bool(lost["cs"] & ~7 in BASED or lost["eflags"] & VM))


TABLE = Table([
    Row("read_firmware", "-", "firmware is another, and what was read there is in registers or flags", read_firmware, choice=True),
    Row("no_memory", "-", "memory that does not exist reads as ones, in QEMU as zeros", no_memory),
    Row("rf", "3B, 17.3.1.1", "a fault's EFLAGS are pushed with RF; QEMU pushes it as it was", rf, True, choice=True),
    Row("fault_of_rmw", "3A, 4.7", "QEMU reads the operand first and reports a read; a processor asks for both rights at once", fault_of_rmw, True, choice=True),
    Row("supervisor_stack", "3A, 4.6", "far transfers access the stack with the privilege of CPL; QEMU does it as a supervisor, Bochs with the new segment's DPL", supervisor_stack, True, choice=True),
    Row("supervisor_push", "3A, 4.6", "the same in Bochs, where the stack's page is a supervisor's: neither faults", supervisor_push, choice=True),
    Row("supervisor_parameters", "3A, 4.6", "a call gate's parameters are read with the privilege of CPL; QEMU reads them as a supervisor", supervisor_parameters),
    Row("undefined_flags", "2B, SAL", "AF behind a shift, all flags behind a division, and the like", undefined_flags, True, choice=True),
    Row("own_code", "3A, 8.1.3", "a repeated string instruction that is overwritten by itself: QEMU goes on with the new bytes", own_code, choice=True),
    Row("pusha_order", "2B, PUSHA", "QEMU begins with the lowest word; the manual's operation begins with EAX", pusha_order, True, choice=True),
    Row("cmps_order", "2A, CMPS", "QEMU reads its second operand first", cmps_order, True, choice=True),
    Row("first_of_two_pages", "3A, 4.7", "both pages of an access fault: QEMU tries the second one first", first_of_two_pages, True, choice=True),
    Row("enter_write", "2A, ENTER", "ENTER faults if a write at the final ESP would; QEMU does not try", enter_write),
    Row("directory_accessed", "3A, 4.8", "QEMU marks a directory's entry before it knows whether the access faults, bt afterwards: both may", directory_accessed, choice=True),
    Row("leaf_marked", "3A, 4.8", "QEMU does a part of an access (one page of two, the reading half, one operand of two) before another part faults", leaf_marked, choice=True),
    Row("pdpt_accessed", "3A, 4.4.1", "entries of the PDPT have no accessed bit; QEMU sets it", pdpt_accessed, choice=True),
    Row("cmps_marked", "2A, CMPS", "the same, where the second operand faults", cmps_marked, choice=True),
    Row("parameters_marked", "2A, CALL", "a call gate's parameters are read before the new stack is written; QEMU and Bochs begin with the new stack", parameters_marked, choice=True),
    Row("half_written", "3A, 6.5", "a faulting instruction has no effect; QEMU stores what lies in the page that does not fault, as Bochs", half_written, choice=True),
    Row("frame_half_written", "3A, 6.15, #DF", "the same of a frame: QEMU and Bochs have pushed a part of it before they find that there is no room", frame_half_written, choice=True),
    Row("half_written_stack", "3A, 6.5", "the same over the state of the task, whose stack the fault is delivered on", half_written_stack, choice=True),
    Row("arpl_dirty", "2A, ARPL", "ARPL writes if it changes something; QEMU always", arpl_dirty, choice=True),
    Row("gdt_dirty", "3A, 3.4.5.1", "the page of the GDT is dirty where only one side set a descriptor's accessed bit", gdt_dirty),
    Row("upper_halves", "3A, 7.6", "a 16-bit task loads FFFFh into the upper halves (as Bochs does); QEMU leaves what was there", upper_halves),
    Row("reserved_register", "2B, MOV", "#UD for a register that does not exist comes before #GP for CPL; QEMU tests CPL first", reserved_register, True),
    Row("v86_to_ring1", "3A, 20.3.3", "an interrupt from V86 mode through a gate to a ring other than 0 is #GP; QEMU goes there", v86_to_ring1),
    Row("conforming_gate", "3A, 5.8.1", "a gate to a conforming segment leaves CPL as it is; QEMU goes to ring 0", conforming_gate),
    Row("task_in_ldt", "2A, JMP", "a task state segment in the LDT is #GP; QEMU has #TS", task_in_ldt, True),
    Row("task_return", "2A, IRET", "a back link to what is no busy TSS is #TS, present or not; QEMU has #NP, as Bochs", task_return, True, choice=True),
    Row("v86_limit", "3A, 20.2", "segments have 64 KiB in V86 mode; QEMU jumps beyond", v86_limit),
    Row("wrapped_table", "2B, SGDT", "six bytes from FFFBh on, in 16-bit addresses: the base is beyond the limit; in QEMU and Bochs its address wraps", wrapped_table, choice=True),
    Row("iret_to_v86", "2A, IRET", "VM in a frame counts in ring 0 only; QEMU goes to V86 mode from every ring", iret_to_v86, choice=True),
    Row("absent_stack", "2B, RET", "a stack segment that is not present is #SS; QEMU has #NP", absent_stack, True, choice=True),
    Row("sysenter_null", "2B, SYSENTER", "an MSR with a null selector is #GP; QEMU tests for 0 only", sysenter_null),
    Row("null_segment", "3A, 5.4.1", "an access through a null segment is #GP; QEMU lets it through", null_segment),
    Row("segment_rights", "3A, 5.3", "a store through a code or read-only segment is #GP; QEMU stores", segment_rights),
    Row("fast_call_code", "2B, SYSENTER", "the CS that SYSENTER and SYSEXIT load is no data segment; Bochs stores through it too", fast_call_code, choice=True),
    Row("beyond_64k", "2A, JMP", "EIP beyond 64 KiB in 16-bit code: QEMU goes on with 16 bits of it where a translated block ends", beyond_64k),
    Row("undefined_group", "2D, A.4", "an undefined row of a group is #UD at once; QEMU reads its operand first, or ignores ModRM.reg", undefined_group),
    Row("alignment", "3A, 6.15, #AC", "QEMU has no alignment check", alignment),
    Row("lock_ignored", "2A, LOCK", "LOCK before what cannot be locked is #UD; QEMU ignores it before some instructions", lock_ignored),
    Row("no_vme", "3A, 2.5", "bt's models have no virtual-mode extensions and no machine-check exception: CR4.VME, PVI and MCE are reserved; QEMU and Bochs have them", no_vme, choice=True),
    Row("reserved_bits", "3A, 4.4.1", "reserved bits of PDPTEs and of CR4 are #GP when they are loaded; QEMU checks them later, or not", reserved_bits),
    Row("pdpt_reload", "3A, 4.4.1", "a MOV to CR0 that changes neither PG, CD nor NW leaves the PDPTEs as they are; QEMU reads them at each walk, Bochs at each MOV to CR0", pdpt_reload, choice=True),
    Row("cr0_reserved", "3A, 2.5", "bits of CR0 that do not exist stay 0; QEMU keeps them", cr0_reserved),
    Row("unknown_msr", "2B, RDMSR", "an MSR or a bit of EFER that does not exist is #GP; QEMU ignores it", unknown_msr),
    Row("task_fault", "3A, 7.3", "a fault of a new task's segments is at its first instruction; QEMU has the EIP of the jump, in a half-switched state", task_fault),
    Row("task_code_fault", "3A, 6.15, #TS", "a new task's CS that is no code: in bt its SS is not loaded then and there is no stack for #TS; QEMU and Bochs load it first. "
        "A handler must not rely on either", task_code_fault, choice=True),
    Row("wide_task", "3A, 7.2.2", "a task state segment of 2 GiB or more: QEMU takes its limit for a negative number, and has #TS", wide_task),
    Row("task_fault_saved", "3A, 7.3", "the same, as a double fault's task switch saved it", task_fault_saved),
    Row("descriptor_accessed", "3A, 3.4.5.1", "what a transfer or a task switch loads is marked accessed; QEMU does that in MOV, POP and LDS only", descriptor_accessed),
    Row("task_flags", "3A, 7.3", "a task switch loads EFLAGS; QEMU mixes in flags of the instruction before", task_flags),
    Row("task_le", "3B, 17.2.4", "a task switch clears DR7.LE; QEMU leaves it", task_le, True, choice=True),
    Row("int1", "3A, 6.5.1", "F1h is #DB; QEMU has #UD", int1),
    Row("general_detect", "3B, 17.2.4", "DR7.GD makes MOV DR a #DB, also the guest's own; QEMU has no such thing", general_detect),
    Row("watched_stack", "3B, 17.2.4", "a data breakpoint that a frame is pushed over, or near: QEMU has #DB at the handler's first instruction", watched_stack),
    Row("unaligned_watch", "3B, 17.2.5", "unaligned stores hit data breakpoints in QEMU that they do not touch", unaligned_watch),
    Row("sysenter_cs", "2B, SYSENTER", "the MSR has 32 bits; QEMU keeps 16", sysenter_cs),
    Row("setcc_flags", "2B, SETcc", "a SETcc or a rotation that faults leaves the flags alone; in QEMU they are others then", setcc_flags, True, choice=True),
    Row("null_rpl", "2B, RET", "a segment register that is null already is not touched; QEMU clears its RPL", null_rpl, True, choice=True),
    Row("small_segment", "2B, SYSENTER", "data segments of V86 mode stay behind SYSENTER, with limits of 64 KiB; QEMU checks none", small_segment),
    Row("sticky_vif", "2A, IRET", "IRET in ring 0 loads VIF and VIP; QEMU does that on the way to V86 mode only", sticky_vif, True),
    Row("dr6_more", "3B, 17.2.3", "B0 to B3 may be set for breakpoints that are not enabled", dr6_more, True, choice=True),
    Row("dr7_reserved", "3B, 17.2.4", "reserved bits of DR7 stay 0; QEMU keeps them, Bochs bit 11", dr7_reserved, True, choice=True),
    Row("external_bit", "3A, 6.13", "EXT is set for a fault while an exception is delivered; QEMU leaves it 0", external_bit, True),
    Row("null_task", "2A, LTR", "a null selector is #GP; QEMU loads it", null_task),
    Row("signed_release", "2B, RET", "the operand of RET is unsigned; QEMU subtracts from 32768 on", signed_release),
    Row("stale_tlb", "3A, 4.10.2", "a store into a page table without INVLPG: old and new translation are both allowed", stale_tlb, choice=True),
    Row("rf_in_memory", "3B, 17.3.1.1", "the pushed RF of row rf, and in a frame the other bits of EFLAGS and of error codes that may differ, compared as memory", rf_in_memory),
    Row("no_stack", "-", "a frame was pushed where there is no memory, and the vector popped from there", no_stack, choice=True),
    Row("no_port", "-", "ports of devices that one side does not have", no_port, choice=True),
    Row("stale_words", "3A, 4.10.2", "words and flags behind an access by the old translation or by the new one, as row stale_tlb", stale_words, choice=True),
    Row("read_accessed", "3A, 4.8", "a register that the program loaded from a page table: accessed and dirty bits of the rows above", read_accessed, choice=True),
    Row("read_pushed_flags", "3B, 17.3.1.1", "a register or selector that the program loaded from a pushed EFLAGS with undefined flags", read_pushed_flags, choice=True),
    Row("guest_damaged", "-", "the program wrote over what records events", guest_damaged, choice=True),
    Row("table_code", "3A, 4.8", "what page-table entries do as code follows from their accessed and dirty bits", table_code, choice=True),
    Row("by_the_clock", "-", "ended by the watchdog while it ran through memory that is no program: how far it came is a matter of speed", by_the_clock, choice=True),
])

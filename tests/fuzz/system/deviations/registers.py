"""Rows about instructions, operands and bits of registers that do not exist, and about control, debug and model-specific
registers."""
from deviations.rows import (AC, DB, GENERAL, GP, PF, UD, Chapter, at, at_fault, bt_faults, differs_in, entry_changed,
                             on_both, switched, vector)
from instructions import instruction_at
from layout import (A_DATA, A_GDT, A_PDPT, A_STACK0, A_TSS, ARENA, END_TRIPLE_FAULT, FLAG_AC, FLAG_VIF, FLAG_VIP, FLAG_VM, GUEST,
                    GUEST_END, SLOTS)
from programs import REGISTERS

EFER = 0xc0000080
MSRS = (0x174, 0x175, 0x176, EFER)
EFER_BITS = 0x801            # SCE and NXE
CR0_AM, CR0_UNKNOWN = 1 << 18, 0x1ffaffc0
CR4_PAE, CR4_UNOFFERED = 0x20, 0x43   # VME, PVI, MCE
PDPTE_RESERVED = 0x1e6
DR6_BD, DR7_RESERVED = 0x2000, 0xdc00
MOV_FROM_CR, MOV_TO_CR, WRMSR, RDMSR = 0x0f20, 0x0f22, 0x0f30, 0x0f32
ROTATIONS = (0xc0, 0xc1, 0xd0, 0xd1, 0xd2, 0xd3)

undefined = Chapter()
registers = Chapter()


# ---- what does not exist ----

@undefined("2D, A.4", "an undefined row of a group is #UD at once; QEMU reads its operand first, or ignores ModRM.reg")
def undefined_group(d):
    """#UD of an undefined row with a memory operand, or of a MOV or POP with a ModRM.reg other than 0."""
    i = at_fault(d, UD)
    if d.qemu and i.memory and d.qemu["vector"] in (GP, PF) and "eip" not in d.fields:
        return True
    return i.opcode in (0xc6, 0xc7, 0x8f) and i.reg


@undefined("3A, 6.15, #AC", "QEMU has no alignment check")
def alignment(d):
    return bt_faults(d, AC) and d.bt["cs"] & 3 == 3 and d.bt["eflags"] & FLAG_AC and d.bt["cr0"] & CR0_AM


@undefined("2A, LOCK", "LOCK before what cannot be locked is #UD; QEMU ignores it before some instructions")
def lock_ignored(d):
    return 0xf0 in at_fault(d, UD).prefixes


@undefined("3A, 2.5",
           "bt's models have no virtual-mode extensions and no machine-check exception: CR4.VME, PVI and MCE are reserved; QEMU "
           "and Bochs have them", choice=True)
def no_vme(d):
    i = at_fault(d, GP, 0)
    return i.opcode == MOV_TO_CR and i.reg == 4 and d.bt[REGISTERS[i.rm]] & CR4_UNOFFERED


@undefined("3A, 4.4.1", "reserved bits of PDPTEs and of CR4 are #GP when they are loaded; QEMU checks them later, or not")
def reserved_bits(d):
    """CR3 that leads to reserved bits of a PDPTE, or reserved bits of CR4."""
    if not bt_faults(d, GP, 0):
        return False
    if GUEST <= d.bt["eip"] < GUEST_END:   # the guest's own MOV CR0: the program wrote into the PDPT
        return bool((d.step.word(0, A_PDPT) or 1) & PDPTE_RESERVED)
    i = at(d)
    if i.opcode in (MOV_FROM_CR, MOV_TO_CR) and d.bt["cr4"] & CR4_PAE:
        return True
    return i.opcode == MOV_TO_CR and (i.reg == 4 or (i.reg == 0 and impossible_cr0(d.bt["eax"])))


def impossible_cr0(value):
    """PG without PE, or NW without CD."""
    return value >> 31 > value & 1 or value >> 29 & 3 == 1


@undefined("3A, 4.4.1",
           "a MOV to CR0 that changes neither PG, CD nor NW leaves the PDPTEs as they are; QEMU reads them at each walk, Bochs "
           "at each MOV to CR0", choice=True)
def pdpt_reload(d):
    """The program changed the PDPT: one side has read it again and lost its memory."""
    if d.kind != "event" or (d.bt and not d.bt["cr4"] & CR4_PAE):
        return False
    return entry_changed(d, A_PDPT) and END_TRIPLE_FAULT in [r.end for r in d.records]


@undefined("3A, 2.5", "bits of CR0 that do not exist stay 0; QEMU keeps them")
def cr0_reserved(d):
    """Bits of CR0 that do not exist, there and in the register that it was read into."""
    return d.only("cr0", *GENERAL) and "cr0" in d.fields and differs_in(d, d.fields, CR0_UNKNOWN)


@undefined("2B, RDMSR", "an MSR or a bit of EFER that does not exist is #GP; QEMU ignores it")
def unknown_msr(d):
    """An MSR that does not exist, or reserved bits of EFER."""
    opcode = at_fault(d, GP, 0).opcode
    if opcode in (WRMSR, RDMSR) and d.bt["ecx"] not in MSRS:
        return True
    return opcode == WRMSR and d.bt["ecx"] == EFER and (d.bt["edx"] or d.bt["eax"] & ~EFER_BITS)


# ---- debugging ----

@registers("3A, 6.5.1", "F1h is #DB; QEMU has #UD")
def int1(d):
    """F1: #DB behind it."""
    i = instruction_at(d.code, d.qemu) if bt_faults(d, DB) and d.qemu else None
    return i is not None and i.opcode == 0xf1 and d.qemu["vector"] == UD


@registers("3B, 17.2.4", "DR7.GD makes MOV DR a #DB, also the guest's own; QEMU has no such thing")
def general_detect(d):
    return bool(d.kind == "event" and d.bt and d.bt["vector"] == DB and d.bt["dr6"] & DR6_BD)


@registers("3B, 17.2.4",
           "a data breakpoint that a frame is pushed over, or near: QEMU has #DB at the handler's first instruction")
def watched_stack(d):
    """At the first instruction of the guest's own handler."""
    return on_both(d) and d.qemu["vector"] == DB != d.bt["vector"] and GUEST <= d.qemu["eip"] < GUEST_END


@registers("3B, 17.2.5", "unaligned stores hit data breakpoints in QEMU that they do not touch")
def unaligned_watch(d):
    """An unaligned store (or SGDT, SIDT, which end in one) in the page of a data breakpoint."""
    if d.kind != "event" or not d.qemu or d.qemu["vector"] != DB or d.qemu["slot"] >= SLOTS:
        return False
    if not d.qemu["dr7"] & 0xff or not d.qemu["dr7"] >> 16:   # none is enabled, or none is for data
        return False
    slot = d.program.slots[d.qemu["slot"]]
    addresses = [int.from_bytes(slot[i:i + 4], "little") for i in range(len(slot) - 3)]
    return b"\x0f\x01" in slot or any(A_DATA <= a < A_GDT and a & 3 for a in addresses)


# ---- registers ----

@registers("2B, SYSENTER", "the MSR has 32 bits; QEMU keeps 16")
def sysenter_cs(d):
    """What WRMSR put into the upper half of SYSENTER_CS."""
    if d.only("sysenter_cs"):
        return d.bt["sysenter_cs"] & 0xffff == d.qemu["sysenter_cs"]
    if b"\x0f\x32" not in d.code.data:
        return False
    if d.kind == "event" and d.qemu and d.qemu["vector"] == PF and d.qemu["cr2"] == d.qemu["eax"] < 0x10000:   # as an address
        return True
    return d.only("eax") and d.bt["eax"] >> 16 and d.bt["eax"] & 0xffff == d.qemu["eax"]


@registers("2B, SETcc", "a SETcc or a rotation that faults leaves the flags alone; in QEMU they are others then",
           harmless=True, choice=True)
def setcc_flags(d):
    """A SETcc or a rotation that faulted."""
    return d.only("arithmetic") and vector(d, PF) and (0x0f90 <= at(d).opcode < 0x0fa0 or at(d).opcode in ROTATIONS)


@registers("2B, RET", "a segment register that is null already is not touched; QEMU clears its RPL", harmless=True, choice=True)
def null_rpl(d):
    """DS to GS that held a null selector when a return left the ring; or as a task switch saved it."""
    if d.kind == "memory":
        return A_TSS <= d.address < A_STACK0 and d.bt < 4 and not d.qemu and switched(d)
    return d.only("ds", "es", "fs", "gs") and all(d.bt[f] < 4 and d.qemu[f] == 0 for f in d.fields)


@registers("2B, SYSENTER", "data segments of V86 mode stay behind SYSENTER, with limits of 64 KiB; QEMU checks none")
def small_segment(d):
    """DS of V86 mode, which SYSENTER leaves as it is, with its limit."""
    return bt_faults(d, GP, 0) and not d.bt["eflags"] & FLAG_VM and d.bt["ds"] == ARENA >> 4


@registers("2A, IRET", "IRET in ring 0 loads VIF and VIP; QEMU does that on the way to V86 mode only", harmless=True)
def sticky_vif(d):
    """VIF and VIP, once an IRET to V86 mode has set them: no POPF and no IRET of QEMU clears them, not even for the next
    program."""
    return d.only("eflags", "inner_eflags") and differs_in(d, d.fields, FLAG_VIF | FLAG_VIP)


@registers("3B, 17.2.3", "B0 to B3 may be set for breakpoints that are not enabled", harmless=True, choice=True)
def dr6_more(d):
    return d.only("dr6") and d.bt["dr6"] & ~d.qemu["dr6"] == 0 and d.qemu["dr6"] & ~d.bt["dr6"] & ~15 == 0


@registers("3B, 17.2.4", "reserved bits of DR7 stay 0; QEMU keeps them, Bochs bit 11", harmless=True, choice=True)
def dr7_reserved(d):
    return d.only("dr7") and differs_in(d, ("dr7",), DR7_RESERVED)


@registers("3A, 6.13", "EXT is set for a fault while an exception is delivered; QEMU leaves it 0", harmless=True)
def external_bit(d):
    """#GP and others while an exception is delivered."""
    return d.only("error") and d.bt["error"] ^ d.qemu["error"] == 1 and d.bt["error"] & 1


# ---- operands ----

@registers("2A, LTR", "a null selector is #GP; QEMU loads it")
def null_task(d):
    i = at_fault(d, GP, 0)
    return i.opcode == 0x0f00 and i.reg == 3 and "tr" in d.fields and d.qemu["tr"] < 4


@registers("2B, RET", "the operand of RET is unsigned; QEMU subtracts from 32768 on")
def signed_release(d):
    if d.only("esp", "inner_esp") and all(d.bt[f] - d.qemu[f] & 0xffffffff == 0x10000 for f in d.fields):
        return True
    i = at_fault(d, PF)
    return i.opcode in (0xc2, 0xca) and i.immediate & 0x8000

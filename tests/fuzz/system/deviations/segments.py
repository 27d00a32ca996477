"""Rows about segments, and about transfers from one to another: gates, V86 mode, returns, SYSENTER, limits and rights."""
from accesses import STRINGS, effective, transfers
from deviations.rows import (GENERAL, GP, NP, PF, SS, TS, UD, Chapter, at, at_fault, bt_faults, on_both, qemu_has, switched)
from instructions import NONE
from layout import (A_IDT, A_POINTERS, EVENT_DOUBLE_FAULT, FLAG_NT, FLAG_VM, S_CODE1, S_CODE16, S_CODE2, S_CONFORMING,
                    S_EXECUTE_ONLY, S_EXPAND_DOWN, S_KCODE, S_READ_ONLY, S_STUBS, S_UCODE, S_UCODE16)

UNWRITABLE = {selector & ~7 for selector in (S_KCODE, S_UCODE, S_CODE16, S_UCODE16, S_CODE1, S_CODE2, S_CONFORMING, S_READ_ONLY,
                                             S_EXECUTE_ONLY, S_EXPAND_DOWN, S_STUBS)}   # code, read-only, empty
CR4_DE = 8
FRAME_SIZE, FRAME_EFLAGS = 0x40, 8   # of what idioms return through, from A_POINTERS on
CS_PREFIX = 0x2e
IRET, INT = 0xcf, 0xcd

segments = Chapter()


@segments("3A, 7.6", "a 16-bit task loads FFFFh into the upper halves (as Bochs does); QEMU leaves what was there")
def upper_halves(d):
    """Registers of 16 bits after a switch to the 16-bit task."""
    if not on_both(d) or not switched(d):
        return False
    halves = [r for r in GENERAL if d.bt[r] >> 16 == 0xffff != d.qemu[r] >> 16 and (d.bt[r] ^ d.qemu[r]) & 0xffff == 0]
    return len(halves) > 3 or (bool(halves) and d.only(*GENERAL, "eflags", "inner_eflags"))


@segments("2B, MOV", "#UD for a register that does not exist comes before #GP for CPL; QEMU tests CPL first", harmless=True)
def reserved_register(d):
    """MOV to and from DR4 and DR5 with CR4.DE, and control registers that do not exist."""
    if not bt_faults(d, UD) or not qemu_has(d, GP):
        return False
    i = at(d)
    if i.opcode in (0x0f21, 0x0f23):
        return i.reg in (4, 5) and d.bt["cr4"] & CR4_DE
    return i.opcode in (0x0f20, 0x0f22) and i.reg in (1, 5, 6, 7)


@segments("3A, 20.3.3", "an interrupt from V86 mode through a gate to a ring other than 0 is #GP; QEMU goes there")
def v86_to_ring1(d):
    return bt_faults(d, GP, S_CODE1 & ~7) and d.bt["eflags"] & FLAG_VM and at(d).opcode == INT


@segments("3A, 5.8.1", "a gate to a conforming segment leaves CPL as it is; QEMU goes to ring 0")
def conforming_gate(d):
    if d.kind == "memory":   # CS as the gate's user pushed it
        return d.bt & ~3 == d.qemu & ~3 == S_CONFORMING
    return on_both(d) and "cs" in d.fields and d.bt["cs"] & ~3 == d.qemu["cs"] & ~3 == S_CONFORMING


@segments("2A, JMP", "a task state segment in the LDT is #GP; QEMU has #TS", harmless=True)
def task_in_ldt(d):
    i = at_fault(d, GP)
    far = i.opcode in (0x9a, 0xea) or (i.opcode == 0xff and i.reg in (3, 5))
    return far and d.bt["error"] & 4 and qemu_has(d, TS)


@segments("2A, IRET", "a back link to what is no busy TSS is #TS, present or not; QEMU has #NP, as Bochs",
          harmless=True, choice=True)
def task_return(d):
    """IRET with NT."""
    return bt_faults(d, TS) and qemu_has(d, NP) and at(d).opcode == IRET and d.bt["eflags"] & FLAG_NT


@segments("3A, 20.2", "segments have 64 KiB in V86 mode; QEMU jumps beyond")
def v86_limit(d):
    i = at_fault(d, GP, 0)
    beyond = transfers(i) or i.memory or i.opcode in STRINGS or at_fault(d, SS, 0).opcode in (0xc8, 0xc9)
    return beyond and d.bt["eflags"] & FLAG_VM


@segments("2B, SGDT",
          "six bytes from FFFBh on, in 16-bit addresses: the base is beyond the limit; in QEMU and Bochs its address wraps",
          choice=True)
def wrapped_table(d):
    """SGDT and SIDT that end beyond FFFFh in 16-bit addresses."""
    i = at(d) if bt_faults(d, GP, 0) or bt_faults(d, SS, 0) else NONE
    return i.opcode == 0x0f01 and i.memory and i.reg < 2 and effective(i, d.bt) > 0xfffa


@segments("2A, IRET", "VM in a frame counts in ring 0 only; QEMU goes to V86 mode from every ring", choice=True)
def iret_to_v86(d):
    """IRET outside ring 0 with a frame that has VM set, or in ring 0 to an EIP beyond 64 KiB."""
    if not bt_faults(d, GP) or at(d).opcode != IRET:
        return False
    if not d.bt["cs"] & 3 and d.bt["error"] == 0:   # QEMU may not be able to deliver the fault of the first fetch
        return bool(d.qemu and (d.qemu["eflags"] & FLAG_VM or d.qemu["kind"] == EVENT_DOUBLE_FAULT))
    if d.bt["eflags"] & FLAG_VM or not d.bt["cs"] & 3:
        return False
    frames = [value for place, value in d.program.patches if A_POINTERS <= place < A_IDT and place % FRAME_SIZE == FRAME_EFLAGS]
    return any(eflags & FLAG_VM for eflags in frames)


@segments("2B, RET", "a stack segment that is not present is #SS; QEMU has #NP", harmless=True, choice=True)
def absent_stack(d):
    """RETF and IRET with a stack segment that is not present."""
    return bt_faults(d, SS) and qemu_has(d, NP) and at(d).opcode in (0xca, 0xcb, IRET)


@segments("2B, SYSENTER", "an MSR with a null selector is #GP; QEMU tests for 0 only")
def sysenter_null(d):
    """CS of the MSR, and EDX: bt has #GP(0) at the instruction, and QEMU goes on."""
    return at_fault(d, GP, 0).opcode in (0x0f34, 0x0f35) and d.bt["eip"] != (d.qemu or {}).get("eip")


@segments("3A, 5.4.1", "an access through a null segment is #GP; QEMU lets it through")
def null_segment(d):
    """Memory through a data segment register that holds no segment (as after an interrupt out of V86 mode, or a return to an
    outer ring)."""
    return bt_faults(d, GP, 0) and not d.bt["eflags"] & FLAG_VM and (d.bt["ds"] < 4 or d.bt["es"] < 4)


@segments("3A, 5.3", "a store through a code or read-only segment is #GP; QEMU stores")
def segment_rights(d):
    """A store through CS, or through a DS or ES that holds code or read-only data."""
    if not bt_faults(d, GP, 0) or d.bt["eflags"] & FLAG_VM:
        return False
    i = at(d)
    return CS_PREFIX in i.prefixes or d.bt["ds"] & ~7 in UNWRITABLE or (i.opcode in STRINGS and d.bt["es"] & ~7 in UNWRITABLE)


@segments("2B, SYSENTER", "the CS that SYSENTER and SYSEXIT load is no data segment; Bochs stores through it too", choice=True)
def fast_call_code(d):
    """The same through a CS that SYSENTER or SYSEXIT has loaded."""
    return segment_rights(d) and CS_PREFIX in at(d).prefixes


@segments("2A, JMP", "EIP beyond 64 KiB in 16-bit code: QEMU goes on with 16 bits of it where a translated block ends")
def beyond_64k(d):
    """16-bit code beyond 64 KiB, or an instruction that ends there."""
    if not on_both(d) or "eip" not in d.fields or d.bt["cs"] != d.qemu["cs"]:
        return False
    if d.bt["eip"] - d.qemu["eip"] == 0x10000:
        return True
    return d.bt["eip"] >> 16 and d.qemu["vector"] == PF and d.qemu["cr2"] & 0xffff == d.qemu["eip"] < 0x10000

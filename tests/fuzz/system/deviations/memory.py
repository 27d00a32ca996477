"""Rows about what an access to memory finds and how its fault is reported: places that are no memory, page faults, the order of
an instruction's accesses."""
from accesses import STRINGS, bases_of, touched, writes_after_reading
from deviations.rows import GENERAL, GP, PF, Chapter, at, bt_faults, in_16_bits, instructions_since, is_outside, on_both, vector
from instructions import linear_eip
from layout import ARENA, BIG_PAGE, RAM_END, S_CONFORMING

BIG_PAGE_SIZE = 0x400000
BIG_PAGES = (BIG_PAGE, BIG_PAGE + BIG_PAGE_SIZE)
USER = 4                     # in a page fault's error code
CODE_PAGES = (0x0a, 0x0c, 0x10, 0x11, 0, 1)   # of PLAY, of the arena, in segments based there
FAR_TRANSFERS = (0x9a, 0xca, 0xcb, 0xcc, 0xcd, 0xce, 0xcf, 0xff)
CALLS = (0x9a, 0xff)         # far ones

places = Chapter()
accesses = Chapter()


# ---- places that are no memory, or another one ----

def firmware(address):
    return 0xa0000 <= address < 0x100000 or address >= 0xfffe0000


def beyond_ram(address):
    return address >= RAM_END


def physical(event, linear):
    """With paging: through the arena's big pages, which begin at 0; elsewhere what is neither firmware nor beyond RAM."""
    if not event["cr0"] >> 31:
        return linear & 0xffffffff
    return next((linear - base for base in BIG_PAGES if 0 <= linear - base < BIG_PAGE_SIZE), 0)


@places("-", "firmware is another, and what was read there is in registers or flags", choice=True)
def read_firmware(d):
    """Code or an operand is in firmware, at the end of the first or of the last MiB. Without paging: or what was read there was
    stored, or is a selector."""
    if d.kind == "memory":
        changed = [n for n in (0, 8, 16, 24) if (d.bt ^ d.qemu) >> n & 0xff]
        return all(d.bt >> n & 0xff == 0xff for n in changed) and any(not e["cr0"] >> 31 for e in d.events)
    return led_to(d, firmware) or in_firmware(d) or (bt_faults(d, GP, 0xfffc) and not d.bt["cr0"] >> 31)


def in_firmware(d):
    if d.kind != "event":
        return False
    return any(firmware(physical(e, place)) for e in d.events for place in (e["eip"], linear_eip(e), e["eip"] + ARENA))


@places("-", "memory that does not exist reads as ones, in QEMU as zeros")
def no_memory(d):
    """The same beyond RAM."""
    return led_to(d, beyond_ram)


def led_to(d, place):
    """Code is there, or a register differs and an operand is there."""
    if d.kind != "event" or not d.bt:
        return False
    if any(place(physical(e, e["eip"])) for e in d.events):
        return True
    if not d.only(*GENERAL, "arithmetic"):
        return False
    events = d.records[1].events[max(0, d.index - 1):d.index] + d.events
    operands = ((e, a) for i in instructions_since(d) for e in events for a, _ in touched(i, e))
    return any(place(physical(e, a + base)) for e, a in operands for base in bases_of(e))


# ---- page faults ----

@accesses("3A, 4.7", "QEMU reads the operand first and reports a read; a processor asks for both rights at once",
          harmless=True, choice=True)
def fault_of_rmw(d):
    """Outside the slots programs run through tables and data, which are mostly ADDs to memory."""
    if not d.only("write") or not vector(d, PF) or not d.bt["write"] or d.qemu["write"]:
        return False
    return is_outside(d.bt) or writes_after_reading(at(d))


@accesses("3A, 4.6",
          "far transfers access the stack with the privilege of CPL; QEMU does it as a supervisor, Bochs with the new segment's "
          "DPL",
          harmless=True, choice=True)
def supervisor_stack(d):
    if not vector(d, PF) or not d.only("error") or d.bt["error"] ^ d.qemu["error"] != USER:
        return False
    return d.bt["error"] & USER and at(d).opcode in FAR_TRANSFERS


@accesses("3A, 4.6", "the same in Bochs, where the stack's page is a supervisor's: neither faults", choice=True)
def supervisor_push(d):
    """A call to a conforming segment."""
    return supervisor_parameters(d) and d.qemu is not None and d.qemu["cs"] & ~3 == S_CONFORMING


@accesses("3A, 4.6", "a call gate's parameters are read with the privilege of CPL; QEMU reads them as a supervisor")
def supervisor_parameters(d):
    """The parameters of a call gate."""
    return bt_faults(d, PF) and d.bt["error"] & USER and at(d).opcode in CALLS


# ---- which of an instruction's accesses comes first ----

@accesses("3A, 8.1.3", "a repeated string instruction that is overwritten by itself: QEMU goes on with the new bytes",
          choice=True)
def own_code(d):
    """A repeated string instruction that writes over itself, or just behind, at its own address or through PLAY's pages 10 and
    12. EDI is where it left off, and one side at least is still there."""
    if d.kind != "event" or not any(i.opcode in STRINGS and 0xf3 in i.prefixes for i in instructions_since(d)):
        return False
    if on_both(d) and in_16_bits(d.bt) and not d.bt["ecx"] & 0xffff and d.qemu["ecx"] & 0xffff:
        return True   # all of 64 KiB
    left_off = [e["edi"] & 0xfff for e in d.events if e["edi"] >> 12 & 0xff in CODE_PAGES]
    return any(abs(edi - (e["eip"] & 0xfff)) < 128 for edi in left_off for e in d.events)


@accesses("2B, PUSHA", "QEMU begins with the lowest word; the manual's operation begins with EAX", harmless=True, choice=True)
def pusha_order(d):
    return vector(d, PF) and d.only("error", "cr2") and at(d).opcode in (0x60, 0x61)


@accesses("2A, CMPS", "QEMU reads its second operand first", harmless=True, choice=True)
def cmps_order(d):
    return vector(d, PF) and d.only("error", "cr2") and at(d).opcode in (0xa6, 0xa7)


def adjacent(d):
    """The second page's first byte is what QEMU complains of, bt of the first page's."""
    return d.qemu["cr2"] & 0xfff == 0 and 0 < d.qemu["cr2"] - d.bt["cr2"] < 16


@accesses("3A, 4.7", "both pages of an access fault: QEMU tries the second one first", harmless=True, choice=True)
def first_of_two_pages(d):
    """Also of an instruction that accesses memory more than once: QEMU may begin with another of its words."""
    if not d.only("cr2", "error") or "cr2" not in d.fields or not vector(d, PF):
        return False
    return adjacent(d) or abs(d.bt["cr2"] - d.qemu["cr2"]) < 64


@accesses("2A, ENTER", "ENTER faults if a write at the final ESP would; QEMU does not try")
def enter_write(d):
    return bt_faults(d, PF) and at(d).opcode == 0xc8

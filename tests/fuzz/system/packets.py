"""What the guest says (packets, program.h), as records and results of programs, and what it is told of each step's beginning
(struct fixup). Names are those of the C headers; where a program's text or a row speaks of a field, it is one of EVENT_FIELDS or
HIDDEN_FIELDS (guest/guest.h)."""
import struct

import layout
from layout import (END_EVENTS, END_HARNESS, END_LAST_SLOT, END_TRIPLE_FAULT, END_WATCHDOG, PACKET_CHANGE, PACKET_DONE,
                    PACKET_EVENT, PACKET_HIDDEN, PACKET_RESULT, PACKET_START, PACKET_TALLY, START_1, START_2)

END_HANG, END_DIED, END_EXIT = 5, 6, 7   # how emulators.py says that a program ended; the others are the guest's words
ENDS = ["last slot", "too many events", "triple fault", "harness fault", "watchdog", "hang", "emulator ended", "exit"]
PROPER = (END_LAST_SLOT, END_EVENTS, END_TRIPLE_FAULT, END_HARNESS, END_WATCHDOG)
SURE = set(PROPER) - {END_WATCHDOG}      # not ended by a clock
LOST = {END_TRIPLE_FAULT, END_HARNESS, END_WATCHDOG, END_HANG, END_EXIT}
EVENT_FIELDS, HIDDEN_FIELDS = (layout.LISTS[name] for name in ("EVENT_FIELDS", "HIDDEN_FIELDS"))
MAIN, ACCESSED, FLAGS, RF_WRONG, PF_WRITES, STATUS = 1, 2, 3, 4, 5, 6   # of a result: program.h
SIZES = {PACKET_EVENT: len(EVENT_FIELDS), PACKET_HIDDEN: len(HIDDEN_FIELDS), PACKET_CHANGE: 3, PACKET_RESULT: STATUS + 1}
START_BYTES = struct.pack("<3I", PACKET_START << 24 | 2, START_1, START_2)
# What of an event is in struct state, in the order in which it is to be written there: a table's base is behind its limit.
STATE = {name: getattr(layout, f"ST_{name.upper()}")
         for name in ("eax", "ecx", "edx", "ebx", "ebp", "esi", "edi", "eip", "kind", "cr0", "cr3", "cr4", "dr7")}
STATE |= {"gdt_limit": layout.ST_GDTR, "gdt_base": layout.ST_GDTR + 2}
STATE |= {"idt_limit": layout.ST_IDTR, "idt_base": layout.ST_IDTR + 2}
STATE |= {name: layout.ST_HIDDEN + 4 * n for n, name in enumerate(HIDDEN_FIELDS)}
# What QEMU has that bt has not: masks; at last the PDPT's accessed bit.
ABSENT = {"cr0": 0xe005003f, "cr4": 0x7bc, "efer": 0x801, layout.A_PDPT: ~0x20 & 0xffffffff}
FIXUP = layout.STRUCTS["fixup"].packer


def end_of(result):
    return result[STATUS] >> 8 & 0xff


def lost_result(end):
    return (0, 0, 0, 0, 0, 0, end << 8)


class Record:
    """What one program did: its events, each with the words {address: value} that the step up to it changed, and what there was
    before; and how it ended."""

    def __init__(self):
        self.result, self.events, self.changes, self.before = None, [], [], []

    @property
    def end(self):
        return end_of(self.result)


def packets(data):
    """(kind, words), from each start of the machine up to the first thing that is none: Bochs' debugger speaks between them, and
    a program may have got at the serial port, or at the guest's own memory."""
    for piece in data.split(START_BYTES)[1:]:
        yield from packets_of_one(piece)


def packets_of_one(data):
    at = 0
    while at + 4 <= len(data):
        head, = struct.unpack_from("<I", data, at)
        kind, count = head >> 24, head & 0xffffff
        if not PACKET_RESULT <= kind <= PACKET_DONE or at + 4 + 4 * count > len(data):
            return
        yield kind, struct.unpack_from(f"<{count}I", data, at + 4)
        at += 4 + 4 * count


def step_records(data):
    """(records in order, the unfinished one, tally or None)"""
    records, current, tally = [], Record(), None
    for kind, words in packets(data):
        if len(words) != SIZES.get(kind, len(words)):   # a program got at the serial port, or at the packets in memory
            break
        if kind == PACKET_EVENT:
            current.events.append(dict.fromkeys(HIDDEN_FIELDS, 0) | dict(zip(EVENT_FIELDS, words)))
            current.changes.append({})
            current.before.append({})
        elif kind == PACKET_HIDDEN and current.events:
            current.events[-1].update(zip(HIDDEN_FIELDS, words))
        elif kind == PACKET_CHANGE and current.events:
            current.changes[-1][words[0]], current.before[-1][words[0]] = words[1:]
        elif kind == PACKET_RESULT:
            if words[0] != len(records):
                break
            current.result = words
            records.append(current)
            current = Record()
        elif kind == PACKET_TALLY:
            tally = words
    return records, current, tally


def hash_results(data):
    """(results in order, tally or None)"""
    results, tally = [], None
    for kind, words in packets(data):
        if kind == PACKET_RESULT and len(words) == SIZES[kind] and words[0] == len(results):
            results.append(words)
        tally = words if kind == PACKET_TALLY else tally
    return results, tally


def fixups_of(number, record):
    """struct fixup for each word of a record's state at each event. Registers are those of the next step, which are not all of
    them."""
    data = []
    for n, (event, changes) in enumerate(zip(record.events, record.changes)):
        data += [(number, n, at, event[field] & ABSENT.get(field, 0xffffffff)) for field, at in STATE.items()]
        data += [(number, n, at, value & ABSENT.get(at, 0xffffffff)) for at, value in changes.items()]
    return b"".join(FIXUP.pack(*words) for words in data)

"""Compares what a program did on both sides: results at once in `hash` mode, and where they differ, step by step.

A step goes from one event to the next. Each of bt's steps (and of Bochs') begins with the state that QEMU had there (packets.py,
fixups_of()): every step is an experiment of its own, and what it finds is not what an earlier one left.

Some differences are so frequent, and so harmless, that `hash` mode forgives them in the one direction that QEMU is known for; one
program in FORGIVEN_ONE_IN is looked at in steps all the same, where a row of deviations/ must explain it."""
import instructions
import packets
from layout import (A_IDT, A_LDT, A_STACK0, A_TRAP_TOP, A_TSS, A_TSS_SIZE, END_WATCHDOG, FLAG_RF, FLAGS_ARITH, SLOTS, UPPER_PDPT)
from packets import ACCESSED, EVENT_FIELDS, FLAGS, HIDDEN_FIELDS, MAIN, PF_WRITES, RF_WRONG, STATUS

FORGIVEN_ONE_IN = 64
VOTED, DEAD_FLAGS = "bochs_agrees", "dead_flags"
MINOR = {"arithmetic", "rf", "write"}
# Stacks of ring 0, and what idioms use as one: frames with undefined flags and halves of selectors.
UNCOMPARED = ((A_LDT + 0x100, A_IDT), (A_STACK0, A_TRAP_TOP))


def sure(result):
    """Not ended by a clock."""
    return packets.end_of(result) in packets.SURE


def suspects(bt, qemu, exact_flags, forgiven):
    """Numbers of the programs that must be looked at in steps. `forgiven` (Counter) is told what was not."""
    found = []
    for i, (a, b) in enumerate(zip(bt, qemu)):
        if a[1:] == b[1:] and not a[RF_WRONG]:
            continue
        upper_a, upper_b = a[STATUS] >> 16, b[STATUS] >> 16
        ended = (a[STATUS] ^ b[STATUS]) & 0xffff
        upper = upper_a & ~upper_b or upper_a >> UPPER_PDPT & 1
        if a[MAIN] != b[MAIN] or a[ACCESSED] != b[ACCESSED] or a[RF_WRONG] or ended or upper:
            found.append(i)
        elif b[PF_WRITES] & ~a[PF_WRITES] or (exact_flags and a[FLAGS] != b[FLAGS]):
            found.append(i)
        else:
            minor = {"rf": b[RF_WRONG], "directory_accessed": upper_a != upper_b, "fault_of_rmw": a[PF_WRITES] != b[PF_WRITES],
                     "dead_flags": a[FLAGS] != b[FLAGS]}
            forgiven.update(name for name, is_so in minor.items() if is_so)
            if (minor["directory_accessed"] or minor["fault_of_rmw"]) and i % FORGIVEN_ONE_IN == 0:
                found.append(i)
    return found


def clock_of_one(bt, qemu):
    """The guest's watchdog ended one side and not the other one."""
    ends = {bt.end, qemu.end}
    return END_WATCHDOG in ends and bool(ends & packets.SURE)


class Step:
    """From event `index - 1` of a program to the next one: `events` of bt and of QEMU, or None, and the words that are known of
    the arena before."""

    def __init__(self, program, records, index, memory):
        self.program, self.records, self.index = program, records, index
        self.events = tuple(r.events[index] if index < len(r.events) else None for r in records)
        self.changes = tuple(r.changes[index] if index < len(r.changes) else {} for r in records)
        self.before = {**memory, **{a: v for r in records if index < len(r.before) for a, v in r.before[index].items()}}
        self.first_slot = max((e["slot"] + 1 for e in records[1].events[:index] if e["slot"] < SLOTS), default=0)

    def word(self, side, address):
        """As bt (0) or QEMU (1) left it; None: it is what it is in every program."""
        return self.changes[side].get(address, self.before.get(address))


class Difference:
    """One thing that differs in a step. `kind`: event (`fields` differ, or one of `bt` and `qemu` is None), end, memory
    (`address`, values); whole: no step differs."""

    def __init__(self, kind, step, bt=None, qemu=None, fields=frozenset(), address=None):
        self.kind, self.step, self.bt, self.qemu, self.fields, self.address = kind, step, bt, qemu, frozenset(fields), address
        self.program, self.records, self.index = step.program, step.records, step.index
        self.events = [e for e in step.events if e]
        self.read_code()

    def read_code(self, words=None):
        """`code`: the program's, with words {address: value} that have changed."""
        self.code = instructions.code_of(self.program, words)

    def only(self, *fields):
        return bool(self.fields) and self.fields <= set(fields)

    def signature(self):
        vectors = tuple(e and e["vector"] for e in (self.bt, self.qemu)) if self.kind == "event" else ()
        return self.kind, vectors, tuple(sorted(self.fields))

    def text(self):
        if self.kind == "event" and self.bt and self.qemu:
            slot, eip = self.bt["slot"], self.bt["eip"]
            words = [f"{f} {self.bt[f]:x}/{self.qemu[f]:x}" for f in EVENT_FIELDS + HIDDEN_FIELDS if f in self.fields]
            return f"event {self.index} (slot {slot}, vector {self.bt['vector']}, eip {eip:x}), bt/QEMU: " + ", ".join(words)
        if self.kind == "event":
            return f"event {self.index}: only on {'bt' if self.bt else 'QEMU'}: {self.bt or self.qemu}; ends: {self.ends()}"
        if self.kind == "memory":
            return f"event {self.index}, memory at {self.address:x}, bt/QEMU: {self.bt:x}/{self.qemu:x}"
        return f"{'hashes, but no step' if self.kind == 'whole' else 'end'}, bt/QEMU: {self.ends()}"

    def ends(self):
        return "/".join(packets.ENDS[r.end] for r in self.records)


def undefined_bits(address, exact_flags):
    """EFLAGS in task state segments: RF, and without exact flags the arithmetic ones; in 16-bit ones at offset 16."""
    task, offset = divmod(address - A_TSS, A_TSS_SIZE)
    if not 0 <= task < 4 or offset != (16 if task == 2 else 36):
        return 0
    return (FLAG_RF if task != 2 else 0) | (0 if exact_flags else FLAGS_ARITH)


def differences(step, exact_flags):
    """Of events in order, minor fields apart from the others, then of memory."""
    x, y = step.events
    if x is None or y is None:
        yield Difference("event", step, x, y)
        return
    fields = {f for f in EVENT_FIELDS + HIDDEN_FIELDS if x[f] != y[f]}
    minor = MINOR | set(HIDDEN_FIELDS)
    if fields - minor:
        yield Difference("event", step, x, y, fields - minor)
    for field in sorted(fields & minor - ({"arithmetic"} if not exact_flags else set())):
        if x["vector"] == y["vector"]:
            yield Difference("event", step, x, y, {field})
    for address in sorted(set(step.changes[0]) | set(step.changes[1])):
        bt, qemu = (step.word(side, address) for side in (0, 1))
        undefined = undefined_bits(address, exact_flags)
        if (bt ^ qemu) & ~undefined and not any(a <= address < b for a, b in UNCOMPARED):
            yield Difference("memory", step, bt, qemu, address=address)


def alike(x, y, minor):
    """bt's or QEMU's event and Bochs', but for what is minor, and for which of an instruction's accesses it began with."""
    if x is None or y is None:
        return False
    near = {"cr2"} if x["vector"] == y["vector"] == 14 and abs(x["cr2"] - y["cr2"]) < 64 else set()
    return all(x[f] == y[f] for f in EVENT_FIELDS if f not in (MINOR | near) - minor)


def sides_with(difference, bochs, exact_flags):
    """"bt" or "QEMU": whose word Bochs has at a difference. None: it has another one."""
    (bt, qemu), index = difference.records, difference.index
    third = bochs.events[index] if index < len(bochs.events) else None
    if difference.kind == "end":
        return "bt" if bochs.end == bt.end else "QEMU" if bochs.end == qemu.end else None
    if difference.kind == "memory":
        if not any(alike(e, third, frozenset()) for e in difference.step.events):
            return None
        bits = ~undefined_bits(difference.address, exact_flags)
        word = bochs.changes[index].get(difference.address, difference.step.before[difference.address]) & bits
        return "bt" if word == difference.bt & bits else "QEMU" if word == difference.qemu & bits else None
    if difference.only(*HIDDEN_FIELDS):
        sides = (("bt", difference.bt), ("QEMU", difference.qemu)) if third else ()
        return next((name for name, e in sides if all(third[f] == e[f] for f in difference.fields)), None)
    minor = difference.fields & (MINOR | {"cr2"} if difference.only(*MINOR, "cr2", "error") else MINOR)
    for name, event, record in (("bt", difference.bt, bt), ("QEMU", difference.qemu, qemu)):
        both_ended = event is None and third is None and len(bochs.events) == index and record.end == bochs.end
        if alike(event, third, minor) or both_ended:
            return name
    return None


def another_begins(bt, qemu):
    """Whether bt's next step can begin with what QEMU has: no bits that bt's models have not, and not NW without CD."""
    if not bt or not qemu or any(bt[f] != qemu[f] for f in ("tr", "ldtr")):
        return False
    return not any(qemu[f] & ~packets.ABSENT[f] for f in ("cr0", "cr4", "efer")) and qemu["cr0"] >> 29 & 3 != 1


class Verdict:
    """`failure`: the first difference that no row explains, or None. `cut`: the row at whose event the comparison ended, or None.
    `hits`: rows that explained something. `voted`: differences that no row explains, and in which Bochs has what bt has. `votes`:
    (row, with whom Bochs sides)."""

    def __init__(self):
        self.failure, self.cut, self.hits, self.voted, self.votes = None, None, set(), [], []


def qemu_stopped(difference, records):
    """QEMU got no further than to here, by itself."""
    names = {packets.END_DIED: "qemu_died", packets.END_HANG: "qemu_hung"}
    if sure(records[0].result):
        names[END_WATCHDOG] = "qemu_hung"
    ended = difference.kind == "end" or (difference.kind == "event" and difference.qemu is None)
    return names.get(records[1].end) if ended else None


class Judge:
    """Of one program. With a record of Bochs', what no row explains is QEMU's if Bochs has what bt has; and a row explains
    nothing that Bochs has as QEMU has it, unless it says so."""

    def __init__(self, table, exact_flags, bochs):
        self.table, self.exact_flags, self.bochs, self.verdict = table, exact_flags, bochs, Verdict()

    def explain(self, difference):
        """(what explains it, or None; whether the comparison of the step goes on)"""
        stopped = qemu_stopped(difference, difference.records)
        if stopped:
            return stopped, False
        row, side = self.table.explain(difference), sides_with(difference, self.bochs, self.exact_flags) if self.bochs else None
        if row and side == "QEMU" and not row.choice:
            row = self.table.explain(difference, choice=True)
        if row:
            self.verdict.votes += [(row.name, side)] if self.bochs else []
            return row.name, row.harmless or difference.kind == "memory"
        if side != "bt":
            return None, False
        self.verdict.voted.append(difference)
        return VOTED, difference.kind == "memory"

    def goes_on(self, step):
        """Judges a step. False: it is the last that can be compared."""
        for difference in differences(step, self.exact_flags):
            name, more = self.explain(difference)
            if name is None:
                self.verdict.failure = difference
                return False
            self.verdict.hits.add(name)
            if not another_begins(*step.events):
                self.verdict.cut = name
                return False
            if not more:
                break
        return True

    def judge_end(self, difference):
        self.verdict.cut, _ = self.explain(difference)
        self.verdict.hits |= {self.verdict.cut} - {None}
        self.verdict.failure = None if self.verdict.cut else difference


def steps(program, records):
    """As if each could be compared."""
    memory = {a & ~3: value for a, value in program.patches}
    for index in range(max(len(r.events) for r in records)):
        step = Step(program, records, index, memory)
        memory = {**step.before, **step.changes[1]}
        yield step


def all_differences(program, records, exact_flags):
    """For people."""
    for step in steps(program, records):
        yield from differences(step, exact_flags)


def whole(program, records):
    """The difference of a program none of whose steps differs."""
    return Difference("whole", Step(program, records, len(records[0].events), {}))


def dead_flags_only(difference, exact):
    """A difference of bt's without --exact-flags, and bt's record with: in that step the two differ in arithmetic flags only, in
    EFLAGS or where a program has put or loaded a pushed EFLAGS (docs/design.md, D2)."""
    def dead(field, x, y):
        pushed = (y & 0x802a == 2 and field not in ("vector", "eip")) or field in ("arithmetic", "error")
        return x == y or (pushed and (x ^ y) & ~FLAGS_ARITH == 0)
    step, index = difference.step, difference.index
    if index >= len(exact.events) or not step.events[0]:
        return False
    x, y = step.events[0], exact.events[index]
    words = {**step.before, **exact.before[index]}
    changes = [step.changes[0].get(a, old) ^ exact.changes[index].get(a, old) for a, old in words.items()]
    masks = [FLAGS_ARITH << n | FLAGS_ARITH >> 32 - n for n in range(0, 32, 8)]   # unaligned too
    if not all(dead(f, x[f], y[f]) for f in EVENT_FIELDS):
        return False
    return all(any(changed & ~mask & 0xffffffff == 0 for mask in masks) for changed in changes)


def examine(program, records, table, exact_flags=False, bochs=None):
    """The verdict. Within a step the first difference decides: behind it the states of both sides have parted. A `harmless` row
    is about what an event reports and not about the state behind it. Words of memory are looked at one by one."""
    bt, qemu = records
    judge, last = Judge(table, exact_flags, bochs), Step(program, records, len(bt.events), {})
    # The program has wrecked the guest.
    both_lost = bt.end in (packets.END_HANG, packets.END_EXIT) and qemu.end in {*packets.LOST, packets.END_DIED}
    if bt.end not in packets.PROPER and not both_lost:
        judge.verdict.failure = Difference("end", last)
    elif all(map(judge.goes_on, steps(program, records))) and bt.end != qemu.end:
        judge.judge_end(Difference("end", last))
    return judge.verdict

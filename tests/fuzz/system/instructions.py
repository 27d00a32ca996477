"""What instruction a program has at an address, for the predicates of deviations/: decoded by bt's own decoder, by `fuzz_system
--facts` (facts.h).

The tool is one process for all threads. It is given a program's code as a whole, as a step has left it, and what it said is kept
for a while."""
import atexit
import functools
import subprocess
import threading

import layout
from layout import A_SLOTS, ARENA, CODE_SIZE, FLAG_VM, NO_REGISTER, SLOT_SIZE

FACTS = layout.STRUCTS["instruction_facts"]
LENGTH, RELATIVE = (FACTS.names.index(name) for name in ("length", "relative"))
BASED = (layout.S_CODE16, layout.S_UCODE16 & ~7)   # code segments with base ARENA
CODES_KEPT = 64              # of some dozen KiB each
NOP = 0x90


class Decoder:
    """`fuzz_system --facts`, started when it is first asked."""

    def __init__(self):
        self.tool, self.child, self.lock = None, None, threading.Lock()

    def start(self):
        self.child = subprocess.Popen([self.tool, "--facts"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        atexit.register(self.end)

    def end(self):
        self.child.stdin.close()
        self.child.stdout.close()
        self.child.wait()

    def facts_of(self, code):
        """struct instruction_facts for each offset, first as 16-bit and then as 32-bit code."""
        with self.lock:
            if self.child is None:
                self.start()
            self.child.stdin.write(code)
            self.child.stdin.flush()
            answer = self.child.stdout.read(2 * CODE_SIZE * FACTS.size)
        if len(answer) != 2 * CODE_SIZE * FACTS.size:
            raise RuntimeError(f"{self.tool} --facts said nothing more")
        return answer


DECODER = Decoder()


def use(tool):
    """Before all else: where the build's fuzz_system is."""
    DECODER.tool = tool


class Instruction:
    """At offset `at` of a Code, as 16-bit code (`small`) or as 32-bit code. Members: those of struct instruction_facts;
    `prefixes` are bytes."""

    def __init__(self, code, at, small, facts):
        self.__dict__.update(zip(FACTS.names, facts))
        self.code, self.at, self.small = code, at, small
        self.prefixes = code.data[at:at + self.prefixes] if code else b""

    @property
    def memory(self):
        """Whether it has a ModRM byte, and that names memory."""
        return self.mod != 3

    def as_code(self, small):
        """The same bytes as 16-bit code, or as 32-bit code."""
        return self if small == self.small else self.code.instruction(self.at, small)


def nop():
    facts = dict.fromkeys(FACTS.names, 0) | {"opcode": NOP, "length": 1, "mod": 3, "address": 4}
    facts |= {"base": NO_REGISTER, "index": NO_REGISTER}
    return Instruction(None, 0, False, facts.values())


NONE = nop()   # where nobody knows


class Code:
    """A program's slots as they are at some time."""

    def __init__(self, data):
        self.data, self.instructions, self.walks = data, {}, {}

    @functools.cached_property
    def facts(self):
        """Tuples, as in struct instruction_facts: for each offset as 16-bit and as 32-bit code."""
        return list(FACTS.packer.iter_unpack(DECODER.facts_of(self.data)))

    def instruction(self, at, small):
        found = self.instructions.get((at, small))
        if found is None:
            found = self.instructions[at, small] = Instruction(self, at, small, self.facts[2 * at + (not small)])
        return found

    def walk(self, starts):
        """{offset: whether as 16-bit code, or else as 32-bit code} of what may be run: from the begin of each slot and from
        `starts` (a frozenset) on, and from where relative jumps and calls lead. Offsets that are met in both are 16-bit code
        here."""
        if starts not in self.walks:
            ways = {small: self._walk_as(small, starts) for small in (False, True)}
            self.walks[starts] = {at: small for small in ways for at in ways[small]}
        return self.walks[starts]

    def _walk_as(self, small, starts):
        found, ways, facts = set(), [*range(0, CODE_SIZE, SLOT_SIZE), *starts], self.facts[not small::2]
        while ways:
            at = ways.pop()
            while 0 <= at < CODE_SIZE and at not in found:
                found.add(at)
                length, relative = facts[at][LENGTH], facts[at][RELATIVE]
                at += length
                if relative:
                    ways.append(at + relative)
        return found


@functools.lru_cache(maxsize=CODES_KEPT)
def code_as(data):
    """The Code of bytes; behind them are NOPs."""
    return Code(data.ljust(CODE_SIZE, bytes((NOP,))))


def code_of(program, words=None):
    """Of a program's slots, with words {address: value} that have changed."""
    code = bytearray(b"".join(program.slots))
    for address, value in (words or {}).items():
        if A_SLOTS <= address < A_SLOTS + CODE_SIZE:
            code[address - A_SLOTS:address - A_SLOTS + 4] = value.to_bytes(4, "little")
    return code_as(bytes(code[:CODE_SIZE]))


def is_based(event):
    """Code in a 16-bit segment: SYSENTER's and SYSEXIT's CS is flat, whatever its selector."""
    return event["cs"] & ~7 in BASED and event["eip"] < ARENA


def is_small(event):
    """Whether operands and addresses have 16 bits there."""
    return bool(event["eflags"] & FLAG_VM or is_based(event))


def linear_eip(event):
    if event["eflags"] & FLAG_VM:
        return (event["cs"] << 4) + event["eip"] & 0xffffffff
    return event["eip"] + (ARENA if is_based(event) else 0) & 0xffffffff


def instruction_at(code, event):
    """At an event's EIP; None where it is not in the slots."""
    at = linear_eip(event) - A_SLOTS
    return code.instruction(at, is_small(event)) if 0 <= at < CODE_SIZE else None

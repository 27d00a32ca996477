"""Batches of programs under bt and QEMU, and what was found: Pair runs programs on all sides and judges them, Run shares the work
and the counts among jobs."""
import os
import pathlib
import shutil
import subprocess
import threading
import time
from collections import Counter

import compare
import deviations
import emulators
import layout
import packets
import programs

TOP = pathlib.Path(__file__).resolve().parents[3]
SABOTAGED_ONE_IN = 97
RETRIES = 10             # of a program that the guest's watchdog ended on one side only: 50 ms pass quickly on a busy machine


def axes():
    """[(name, arguments)] of tests/tools/axes.txt"""
    lines = (TOP / "tests/tools/axes.txt").read_text(encoding="utf-8").splitlines()
    rows = [line.split(None, 2) for line in lines if line.strip() and not line.startswith("#")]
    return [(name, words.split()) for name, _, words in rows]


def generate(tool, first, count=1):
    """Programs from seeds, as bytes."""
    return subprocess.run([tool, "--generate", str(first), str(count)], stdout=subprocess.PIPE, check=True).stdout


class Pair:
    """bt and QEMU over the same programs, in a folder of their own."""

    def __init__(self, options, folder):
        os.makedirs(folder, exist_ok=True)
        self.bt = emulators.Side("bt", [str(options.bt), "-cpu", "n270"], str(options.guest), folder)
        self.qemu = emulators.Qemu("qemu", [options.qemu, "-accel", "tcg", "-cpu", "n270,-monitor"], str(options.guest), folder)
        bochs_is_there = shutil.which(options.bochs)
        self.bochs = emulators.Bochs("bochs", [options.bochs], str(options.guest), folder) if bochs_is_there else None
        self.sabotage = options.sabotage

    def hashes(self, data, axis):
        bt, tallies = self.bt.hashes(data, programs.SIZE, axis)
        qemu, _ = self.qemu.hashes(data, programs.SIZE)
        if self.sabotage:
            bt = [r if n % SABOTAGED_ONE_IN else r[:1] + (r[1] ^ 1,) + r[2:] for n, r in enumerate(bt)]
        return bt, qemu, tallies

    def records(self, chosen, axis):
        """[(bt's, QEMU's)] for programs as bytes, each of bt's steps from QEMU's state"""
        qemu = self.qemu.records(chosen)
        return list(zip(self.bt.records(chosen, axis, qemu), qemu))

    @staticmethod
    def led(side, chosen, records, numbers, arguments):
        """Records on a side, each step from QEMU's state, of the programs of these numbers."""
        return side.records([chosen[i] for i in numbers], arguments, [records[i][1] for i in numbers]) if numbers else []

    def verdicts(self, chosen, records, axis):
        """Bochs runs all programs in which there is more than what rows leave open, each step from QEMU's state. What fails then
        without exact flags is judged with them, if dead ones are all."""
        exact, unpacked = "--exact-flags" in axis, [programs.Program.unpack(packed) for packed in chosen]
        verdicts = [compare.examine(p, both, deviations.TABLE, exact) for p, both in zip(unpacked, records)]
        open_rows = {row.name for row in deviations.TABLE.rows if row.choice}
        asked = [i for i, v in enumerate(verdicts) if v.failure or v.hits - open_rows] if self.bochs else []
        third = dict(zip(asked, self.led(self.bochs, chosen, records, asked, ())))
        for i in asked:
            verdicts[i] = compare.examine(unpacked[i], records[i], deviations.TABLE, exact, third[i])
        failed = [i for i, v in enumerate(verdicts) if v.failure] if not exact else []
        for i, record in zip(failed, self.led(self.bt, chosen, records, failed, axis + ["--exact-flags"])):
            if compare.dead_flags_only(verdicts[i].failure, record):
                verdicts[i] = compare.examine(unpacked[i], (record, records[i][1]), deviations.TABLE, False, third.get(i))
                verdicts[i].hits.add(compare.DEAD_FLAGS)
        return verdicts


def damage(records):
    """What --sabotage does to what a program did on bt's side, if there was an event: the last one's EAX."""
    for event in records[0].events[-1:]:
        event["eax"] ^= 0x100


class Run:
    """All that batches share: what is left to do, and what was found."""

    def __init__(self, options):
        self.options, self.lock = options, threading.Lock()
        self.hits, self.forgiven, self.signatures, self.ends = Counter(), Counter(), Counter(), Counter()
        self.tally = [0] * (layout.TALLY_IDIOMS * layout.TALLY_VECTORS)
        self.cuts = Counter()        # row at which a program was compared no further -> programs
        # (row, "bt", "QEMU" or None) -> seeds of the programs in which it explains something, where Bochs sides with that.
        self.voters = {}
        self.kinds = {}              # what no row explains and Bochs has as bt has it -> seeds
        self.done = self.once = self.damaged = self.ended = self.swallowed = 0
        self.company = []            # seeds of what failed behind other programs and not alone
        self.failures = []           # (program, difference, axis)
        self.died = []               # seeds at which bt ended by itself
        self.next_seed, self.batches = options.seed, 0
        self.deadline = None if options.count else time.monotonic() + options.seconds
        self.plan = axes() if options.axes else [("", options.axis)]
        self.pairs = []

    def next_batch(self):
        """(first seed, count, axis) or None"""
        with self.lock:
            left = self.options.count - (self.next_seed - self.options.seed) if self.options.count else self.options.batch
            if left <= 0 or (self.deadline and time.monotonic() > self.deadline):
                return None
            count, first, number = min(left, self.options.batch), self.next_seed, self.batches
            self.next_seed += count
            self.batches += 1
        axis = self.plan[number % len(self.plan)][1]
        exact = ["--exact-flags"] if not self.options.axes and number % 2 and "--exact-flags" not in axis else []
        return first, count, axis + exact

    def work(self, pair):
        while (batch := self.next_batch()) is not None:
            self.one_batch(pair, *batch)

    def one_batch(self, pair, first, count, axis):
        data = generate(self.options.tool, first, count)
        forgiven, exact = Counter(), "--exact-flags" in axis
        bt, qemu, tallies = pair.hashes(data, axis)
        chosen = compare.suspects(bt, qemu, exact, forgiven)
        data = [data[programs.SIZE * i:programs.SIZE * (i + 1)] for i in chosen]
        records = self.all_records(pair, data, axis)
        damaged = self.damage(chosen, data, records, exact)
        verdicts = pair.verdicts(data, records, axis)
        self.as_a_whole(pair, data, records, verdicts, axis)
        company = [] if self.options.sabotage else self.in_company(pair, data, verdicts, axis)
        with self.lock:
            self.company += [first + chosen[i] for i in company]
            self.died += [first + i for i, r in enumerate(bt) if packets.end_of(r) == packets.END_DIED]
            self.done += count
            self.ends.update(map(packets.end_of, bt))
            self.ends.update(("QEMU", packets.end_of(r)) for r in qemu)
            self.forgiven += forgiven
            for tally in tallies:
                self.tally = [x + y for x, y in zip(self.tally, tally)]
            for i, packed, verdict in zip(chosen, data, verdicts):
                self.judge(programs.Program.unpack(packed), verdict, axis)
                if i in damaged:
                    self.damaged += 1
                    self.ended += damaged[i]
                    self.swallowed += not damaged[i] and verdict.failure is None

    def in_company(self, pair, data, verdicts, axis):
        """What failed runs again in another start, first together, then alone: a program before it may have damaged the guest, or
        what the guest is told. Numbers of those that fail behind others only."""
        failed = [i for i, v in enumerate(verdicts) if v.failure and v.failure.kind != "whole"]
        behind = self.once_more(pair, data, verdicts, axis, failed)
        for i in failed:
            behind += self.once_more(pair, data, verdicts, axis, [i]) if i not in behind else []
        return behind

    def once_more(self, pair, data, verdicts, axis, numbers):
        """Numbers of those that fail no more, with their new verdicts."""
        chosen = [data[i] for i in numbers]
        again = dict(zip(numbers, pair.verdicts(chosen, self.all_records(pair, chosen, axis), axis) if chosen else []))
        better = [i for i, verdict in again.items() if verdict.failure is None]
        for i in better:
            verdicts[i] = again[i]
        return better

    @staticmethod
    def as_a_whole(pair, data, records, verdicts, axis):
        """No step of a program differs, but its hashes do: if they do so again, it is by something that steps do not begin with,
        and that is a failure."""
        alike = [i for i, v in enumerate(verdicts) if v.failure is None and not v.hits and not v.cut]
        if not alike or pair.sabotage:
            return
        bt, qemu, _ = pair.hashes(b"".join(data[i] for i in alike), axis)
        for n in compare.suspects(bt, qemu, "--exact-flags" in axis, Counter()):
            i = alike[n]
            if compare.sure(bt[n]) and compare.sure(qemu[n]):
                verdicts[i].failure = compare.whole(programs.Program.unpack(data[i]), records[i])

    @staticmethod
    def all_records(pair, data, axis):
        """Where a clock ended only one side, or bt by itself, both run again: the machine may have been busy."""
        records = pair.records(data, axis) if data else []
        for _ in range(RETRIES):
            stopped = (packets.END_HANG, packets.END_DIED)
            again = [i for i, (a, b) in enumerate(records) if compare.clock_of_one(a, b) or a.end in stopped]
            for i, both in zip(again, pair.records([data[i] for i in again], axis) if again else []):
                records[i] = both
        return records

    def damage(self, chosen, data, records, exact):
        """{number: whether a row had cut it before} of the programs that --sabotage damages."""
        damaged = {}
        for i, packed, both in zip(chosen, data, records) if self.options.sabotage else ():
            if i % SABOTAGED_ONE_IN == 0 and both[0].events:
                damaged[i] = compare.examine(programs.Program.unpack(packed), both, deviations.TABLE, exact).cut is not None
                damage(both)
        return damaged

    def judge(self, program, verdict, axis):
        self.hits.update(verdict.hits)
        for vote in set(verdict.votes):
            self.voters.setdefault(vote, []).append(program.seed)
        for difference in verdict.voted:
            self.kinds.setdefault(deviations.kind_of(difference), []).append(program.seed)
        if verdict.cut:
            self.cuts[verdict.cut] += 1
        if verdict.failure is None and not verdict.hits and not verdict.cut:
            self.once += 1
        if verdict.failure is not None:
            if not self.options.sabotage:
                print(f"unexplained: seed {program.seed}{' '.join([''] + axis)}", flush=True)
            self.failures.append((program, verdict.failure, axis))
            self.signatures[verdict.failure.signature()] += 1

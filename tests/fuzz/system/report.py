"""What a run prints: coverage of idioms, rows and what they explained, votes of Bochs, speed, and failures, made smaller."""
import time

import compare
import deviations
import minimise
import packets
import programs
from batches import TOP
from layout import HERE, TALLY_VECTORS

SEEDS_SHOWN = 4          # of a kind
SHOWN_MOST = 20          # kinds of failures that are shown; the rest is counted
SMALLER_SECONDS = 30     # after these, cases are written as they are
WITHOUT_ROW = (("qemu_died", "QEMU died: compared up to there"),
               ("qemu_hung", "QEMU said nothing more: compared up to there"),
               (compare.DEAD_FLAGS, "flags that bt took for dead (D2), and --exact-flags has right"),
               (compare.VOTED, "QEMU alone differs: Bochs and bt have the same"))


def print_coverage(run, names):
    """A line for each idiom, and those that no event was in."""
    print(f"{'idiom':<20}{'reached':>9}  vectors (y: INT 7Fh, +: other vectors above 31)")
    missing = []
    for number, name in enumerate(names):
        counts = run.tally[TALLY_VECTORS * number:TALLY_VECTORS * (number + 1)]
        words = [f"{'+' if v == 32 else 'y' if v == 33 else v}:{n}" for v, n in enumerate(counts) if n]
        print(f"{name:<20}{sum(counts):>9}  {' '.join(words)}")
        if not sum(counts):
            missing.append(name)
    return missing


def print_deviations(run):
    print(f"{'deviation':<26}{'forgiven':>10}{'explained':>10}{'cut':>6}  section        reason")
    for row in deviations.TABLE.rows:
        hits, cuts = run.hits[row.name], run.cuts[row.name]
        print(f"{row.name:<26}{run.forgiven[row.name]:>10}{hits:>10}{cuts:>6}  {row.section:<14} {row.reason}")
    for name, reason in WITHOUT_ROW:
        print(f"{name:<26}{'':>10}{run.hits[name] or '':>10}{run.cuts[name]:>6}  {'-':<14} {reason}")
    cut = sum(run.cuts.values())
    whole = run.done - cut - len(run.failures)
    print(f"{whole} of {run.done} programs compared to their end ({100 * whole / max(1, run.done):.1f} %), {cut} up to a row")


def some(seeds):
    return " ".join(map(str, seeds[:SEEDS_SHOWN]))


def print_votes(run):
    """With whom Bochs sides where a row cut a program, and what it decided alone."""
    for name in sorted({row for row, _ in run.voters}):
        sides = [(side or "neither", run.voters[name, side]) for side in ("bt", "QEMU", None) if (name, side) in run.voters]
        print(f"{name:<26} Bochs sides with " + ", ".join(f"{side} {len(seeds)} ({some(seeds)})" for side, seeds in sides))
    for kind, seeds in sorted(run.kinds.items(), key=lambda item: -len(item[1])):
        print(f"Bochs has what bt has: {len(seeds):>4} x {kind}, as in seeds {some(seeds)}")


def print_speed(run):
    for number, end in enumerate(packets.ENDS):
        print(f"ended by {end:<16}{run.ends[number]:>9} in bt {run.ends['QEMU', number]:>9} in QEMU")
    for name in ("bt", "qemu", "bochs"):
        sides = [getattr(pair, name) for pair in run.pairs if getattr(pair, name)]
        seconds = sum(side.seconds for side in sides)
        if seconds:
            print(f"{name}: {sum(side.programs for side in sides) / seconds:.0f} programs a second")


def case_text(program, difference, axis):
    title = f"# seed {program.seed}" + (f", bt {' '.join(axis)}" if axis else "")
    return f"{title}\n# {difference.text()}\n" + programs.to_text(program)


def save_case(options, program, difference, axis):
    folder = options.build / "fuzz/system-kept"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"seed_{program.seed}.case"
    path.write_text(case_text(program, difference, axis), encoding="utf-8")
    return path


def print_failures(run, pair, names):
    """Each kind of failure once, made smaller; then how often which was."""
    shown, start = set(), time.monotonic()
    for program, difference, axis in run.failures:
        if difference.signature() in shown or len(shown) >= SHOWN_MOST:
            continue
        shown.add(difference.signature())
        slot = difference.bt["slot"] if difference.kind == "event" and difference.bt else programs.SLOTS
        idiom = names[program.idioms[slot]] if slot < programs.SLOTS else "-"
        print(f"FAILED seed {program.seed} ({idiom}{' '.join([''] + axis)}): {difference.text()}", flush=True)
        if time.monotonic() - start < SMALLER_SECONDS:
            program, difference = minimise.minimise(pair, program, difference, axis)
        path = save_case(run.options, program, difference, axis)
        print(f"  the case: {path}; once mended: mv {path} {HERE.relative_to(TOP)}/kept/NAME.case, named for the sin")
    for signature, count in run.signatures.most_common(30):
        seeds = [f"{p.seed}{'' if axis else '-'}" for p, d, axis in run.failures if d.signature() == signature]
        print(f"  {count} x {signature}: {' '.join(seeds)}")

"""Whether instructions.py is right about instructions: part of each `tests/fuzz/system/run`; alone with the kept cases, `tests/fuzz/system/run --kept`."""
import subprocess

import deviations
import instructions
import programs

PROGRAMS = 200                # whose instructions are compared
OTHERS = (".byte", "ud2b")    # what Capstone cannot decode; its 0fb9 has no ModRM byte, the manual's UD1 has


def modrm_byte_is_no_shift(tool):
    """ADD ECX, EAX ends in C1, which is SHL's opcode: no flag is undefined behind it (--sabotage found AF to be); it is where a jump leads to that byte."""
    code = bytes.fromhex("01c1") + b"\x90" * 30
    found = [deviations.undefined_by(i for _, i in instructions.walk(code, frozenset(starts))) for starts in ((), (1,))]
    return [] if not found[0] and found[1] else [f"undefined flags behind 01 c1: {found[0]:x}, from its second byte on: {found[1]:x}"]


def no_operand_without_modrm(tool):
    """Of a NOP, INT, a Jcc and POP, what follows is no ModRM byte, and names no address."""
    return [f"{code} has an operand in memory" for code in ("9090", "cd1f", "7f01", "5801") if instructions.Instruction(bytes.fromhex(code)).memory]


def jump_into_an_instruction(tool):
    """JMP over the first byte of MOV ECX, 80C1h: what it leads to is walked, as well as what is behind it."""
    found = dict(instructions.walk(bytes.fromhex("eb01b9c1800000") + b"\x90" * 25, frozenset()))
    return [] if found.keys() >= {0, 2, 3} and found[3].opcode == 0xc1 else [f"walked: {sorted(found)}"]


def lengths_are_those_of_capstone(tool):
    """Of all instructions of some programs."""
    data = subprocess.run([tool, "--generate", "1", str(PROGRAMS)], stdout=subprocess.PIPE, check=True).stdout
    listed = subprocess.run([tool, "--list"], input=data, stdout=subprocess.PIPE, check=True).stdout.decode()
    codes = iter(b"".join(programs.Program.unpack(data[at:at + programs.SIZE]).slots) for at in range(0, len(data), programs.SIZE))
    wrong, compared, lines = [], 0, [line.split() for line in listed.splitlines()]
    for words, following in zip(lines, lines[1:]):
        if words[0] == "program":
            code = next(codes)
        elif words[0] == "slot":
            small = words[2] in ("k16", "u16", "v86")
        elif words[0][0].isdigit() and following[0][0].isdigit() and words[1] not in OTHERS:   # an address each
            at, end = (int(w[0], 16) - instructions.SLOTS_AT + small * instructions.ARENA for w in (words, following))
            length, compared = instructions.Instruction(code[at:at + 20]).length(small), compared + 1
            if length != end - at:
                wrong.append(f"{code[at:end].hex(' ')} ({' '.join(words[1:])}) has {end - at} bytes, not {length}")
    return wrong if compared > 10 * PROGRAMS else [*wrong, f"only {compared} instructions compared"]


def check(tool):
    """(passed, failed)"""
    results = {test.__name__: test(tool) for test in (modrm_byte_is_no_shift, no_operand_without_modrm, jump_into_an_instruction, lengths_are_those_of_capstone)}
    for name, wrong in results.items():
        for text in wrong:
            print(f"FAILED decoder.py {name}: {text}")
    failed = sum(1 for wrong in results.values() if wrong)
    return len(results) - failed, failed

"""Whether layout.py and instructions.py are right: part of each `tests/fuzz/system/run`; alone with the kept cases,
`tests/fuzz/system/run --kept`."""
import subprocess

import accesses
import instructions
import layout
import programs
from batches import generate
from deviations.flags import undefined_by

PROGRAMS = 200                # whose instructions are compared
# What Capstone cannot decode; its 0fb9 has no ModRM byte, the manual's UD1 has; what no model of bt's has ends behind its opcode.
OTHERS = (".byte", "ud2b", "vmread", "vmwrite", "extrq", "insertq")


def code_of(text):
    """Of the first slot, in hexadecimal digits; the rest are NOPs."""
    return instructions.code_as(bytes.fromhex(text).ljust(layout.CODE_SIZE, b"\x90"))


def structs_are_those_of_the_compiler(tool):
    """Their sizes (that of the facts is checked whenever they are read), and their members: what is unpacked packs to the same
    bytes."""
    data = generate(tool, 1, 2)
    program = programs.Program.unpack(data)
    wrong = [] if len(data) == 2 * programs.SIZE else [f"two programs have {len(data)} bytes, not 2 * {programs.SIZE}"]
    if program.seed != 1:
        wrong.append(f"the program of seed 1 has seed {program.seed}")
    if programs.Program.unpack(program.pack()).pack() != program.pack():
        wrong.append("a program is another when it is packed")
    return wrong


def modrm_byte_is_no_shift(tool):
    """ADD ECX, EAX ends in C1, which is SHL's opcode: no flag is undefined behind it (--sabotage found AF to be); it is where a
    jump leads to that byte."""
    code = code_of("01c1")
    found = [undefined_by(code.instruction(at, False) for at in code.walk(frozenset(starts))) for starts in ((), (1,))]
    if not found[0] and found[1]:
        return []
    return [f"undefined flags behind 01 c1: {found[0]:x}, from its second byte on: {found[1]:x}"]


def no_operand_without_modrm(tool):
    """Of a NOP, INT, a Jcc and POP, what follows is no ModRM byte, and names no address."""
    found = {code: code_of(code).instruction(0, False) for code in ("9090", "cd1f", "7f01", "5801")}
    return [f"{code} has an operand in memory" for code, i in found.items() if i.memory]


def jump_into_an_instruction(tool):
    """JMP over the first byte of MOV ECX, 80C1h: what it leads to is walked, as well as what is behind it."""
    code = code_of("eb01b9c1800000")
    found = code.walk(frozenset())
    return [] if found.keys() >= {0, 2, 3} and code.instruction(3, False).opcode == 0xc1 else [f"walked: {sorted(found)}"]


def undefined_encodings_have_operands(tool):
    """QEMU accesses it, or ignores LOCK: group 5's /7, LOCK before MOV, each with [EBX + ESI * 4 + 80h], and one with a 16-bit
    address, [BP + DI + 1]."""
    event = {"ebx": 0x12000, "esi": 0x10, "ebp": 0xfff0, "edi": 0x20, "eflags": 0, "cs": layout.S_KCODE, "eip": 0}
    wrong = []
    for code, length, address in (("ffbcb380000000", 7, 0x120c0), ("f08984b380000000", 8, 0x120c0), ("67ff7b01", 4, 0x11)):
        i = code_of(code).instruction(0, False)
        if not i.memory or i.length != length or accesses.effective(i, event) != address:
            wrong.append(f"{code}: memory {i.memory}, {i.length} bytes, at {accesses.effective(i, event):x}")
    return wrong


def absolute_offset_of_16_bits(tool):
    """MOV AL, [1] with a 16-bit address: the two bytes behind it are no part of the address (they were once)."""
    event = {"eflags": 0, "cs": layout.S_KCODE, "eip": 0}
    found = accesses.touched(code_of("67a00100").instruction(0, False), event)
    return [] if found == [(1, 2)] else [f"MOV AL, [1] touches {found}"]


def lengths_are_those_of_capstone(tool):
    """Of all instructions of some programs."""
    data, size = generate(tool, 1, PROGRAMS), programs.SIZE
    listed = subprocess.run([tool, "--list"], input=data, stdout=subprocess.PIPE, check=True).stdout.decode()
    codes = iter(instructions.code_of(programs.Program.unpack(data[at:at + size])) for at in range(0, len(data), size))
    wrong, compared, lines = [], 0, [line.split() for line in listed.splitlines()]
    for words, following in zip(lines, lines[1:]):
        if words[0] == "program":
            code = next(codes)
        elif words[0] == "slot":
            small = words[2] in ("k16", "u16", "v86")
        elif words[0][0].isdigit() and following[0][0].isdigit() and words[1] not in OTHERS:   # an address each
            at, end = (int(w[0], 16) - layout.A_SLOTS + small * layout.ARENA for w in (words, following))
            length, compared = code.instruction(at, small).length, compared + 1
            if length != end - at:
                wrong.append(f"{code.data[at:end].hex(' ')} ({' '.join(words[1:])}) has {end - at} bytes, not {length}")
    return wrong if compared > 10 * PROGRAMS else [*wrong, f"only {compared} instructions compared"]


TESTS = (structs_are_those_of_the_compiler, modrm_byte_is_no_shift, no_operand_without_modrm, jump_into_an_instruction,
         undefined_encodings_have_operands, absolute_offset_of_16_bits, lengths_are_those_of_capstone)


def check(tool):
    """(passed, failed)"""
    results = {test.__name__: test(tool) for test in TESTS}
    for name, wrong in results.items():
        for text in wrong:
            print(f"FAILED selftest.py {name}: {text}")
    failed = sum(1 for wrong in results.values() if wrong)
    return len(results) - failed, failed

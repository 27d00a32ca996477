"""What the C headers say, for Python: addresses, selectors, numbers of packets, flags, lists and structs, each written once, in
C.

`import layout` reads layout.h, program.h, facts.h, guest/guest.h and bt's translator/insn.h. Each constant that they define
without arguments, and each of an enum, is a name of this module (layout.A_PD, layout.END_WATCHDOG, layout.FLAG_RF); LISTS has the
first column of each X-list, STRUCTS each struct of fixed-size integers. selftest.py compares sizes with those of the compiler."""
import pathlib
import re
import struct

HERE = pathlib.Path(__file__).resolve().parent
HEADERS = ("layout.h", "program.h", "facts.h", "guest/guest.h", "../../../translator/insn.h")
TYPES = {"uint8_t": "B", "uint16_t": "H", "uint32_t": "I", "int32_t": "i"}
CONSTANTS, LISTS, STRUCTS = {}, {}, {}


class Struct:
    """A C struct without padding. Arrays are tuples of integers, or bytes; those of structs are flat."""

    def __init__(self, members):
        """`members`: [(name, format character, count or None)]"""
        self.names, self.members, at = [name for name, _, _ in members], [], 0
        for name, letter, count in members:
            size = 1 if count is None or letter == "s" else count
            self.members.append((name, None if size == 1 else slice(at, at + size), at))
            at += size
        self.packer = struct.Struct("<" + "".join(f"{'' if count is None else count}{letter}" for _, letter, count in members))
        self.size = self.packer.size

    def unpack(self, data, offset=0):
        """{member: value}"""
        words = self.packer.unpack_from(data, offset)
        return {name: words[at if piece is None else piece] for name, piece, at in self.members}

    def pack(self, values):
        words = []
        for name, piece, _ in self.members:
            words += [values[name]] if piece is None else values[name]
        return self.packer.pack(*words)


def value_of(expression):
    return eval(re.sub(r"\b(0x[0-9a-f]+|\d+)u?\b", r"\1", expression), {}, CONSTANTS)   # C's and Python's are the same here


def read_constants(text):
    for name, expression in re.findall(r"^#define (\w+) +([^\\\n]+)$", text, re.MULTILINE):
        CONSTANTS[name] = value_of(expression)


def read_enums(text):
    """Those that are no X-list."""
    for body in re.findall(r"\benum\s*\w*\s*{([^{}#]*)}", text):
        following = 0
        for name, expression in re.findall(r"(\w+)\s*(?:=([^,]*))?(?:,|$)", body.strip()):
            CONSTANTS[name] = value_of(expression.strip()) if expression else following
            following = CONSTANTS[name] + 1


def read_lists(text):
    for name, body in re.findall(r"^#define (\w+)\(X\) \\\n((?:.*\\\n)*.*)$", text, re.MULTILINE):
        LISTS[name] = re.findall(r"^\s*X\((\w+)", body, re.MULTILINE)


def product(dimensions):
    """Of "[SLOTS][4]"; None: it is no array."""
    count = None
    for dimension in re.findall(r"\[([^]]+)\]", dimensions):
        count = (count or 1) * value_of(dimension)
    return count


def member_of(kind, name, count):
    if kind.startswith("struct "):   # of one type of integers
        inner = STRUCTS[kind.split()[1]].packer.format[1:]
        return name, inner[-1], len(inner) * (count or 1)
    return name, "s" if kind == "uint8_t" and count else TYPES[kind], count


def read_structs(text):
    """Those that consist of integers, of arrays of them, and of structs of such that were read before."""
    for name, body in re.findall(r"\bstruct (\w+) {([^{}]*)};", text):
        members = []
        for declaration in filter(None, map(str.strip, body.split(";"))):
            kind, names = re.fullmatch(r"((?:struct )?\w+)\s+(.*)", declaration, re.DOTALL).groups()
            if kind not in TYPES and kind.removeprefix("struct ") not in STRUCTS:
                break
            arrays = re.findall(r"(\w+)((?:\[[^]]+\])*)", names)
            members += [member_of(kind, word, product(dimensions)) for word, dimensions in arrays]
        else:
            STRUCTS[name] = Struct(members)


def read_header(path):
    text = re.sub(r"/\*.*?\*/", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    text = re.sub(r"[ \t]+$", "", text, flags=re.MULTILINE)
    for read in (read_constants, read_enums, read_lists, read_structs):
        read(text)


for header in HEADERS:
    read_header(HERE / header)
globals().update(CONSTANTS)

"""What bench/run makes of its samples, and runs nothing: tables for people and in Markdown, bars as SVG, what bt counted. All of it follows
from the dictionary that DIR/results.json holds, so that it can be made again from there (bench/run --from) and tested (tests/bench)."""
import math
import re
import statistics
from xml.sax.saxutils import escape

from figures import geometric

NOT_COUNTED = "Not counted by bt: host instructions executed for each of the guest's."
WHAT_CELLS_ARE = ("Medians; +- is (greatest - least) / median of a row's samples in percent; least is the best sample. "
                  "Lower is better. Of a ratio NAME/native, lower is better for bt; of qemu/NAME and all others, higher.")
# Counters that are sizes of a run and no price.
SIZES = {"guest_ns", "instructions", "translations", "translated_insns", "translated_bytes", "hot_bytes", "cold_bytes", "translate_ns", "chains", "lookups", "direct_ns"}


NOT_BT = ("native", "qemu", "bochs")
# Rows of nano that must be so many times as fast as a SIGSEGV on the same host, and those that must stay below so many cycles.
TRAPS, CYCLES = {"in": 10, "out": 10, "crwrite": 10, "cr3write": 10, "clisti": 10}, {"ptemod": 200}
# What `auto` may be slower than the better way, beyond the scatter of both.
AUTO_TOLERANCE = 0.05


# ---- figures ----
def samples_of(results, column, row):
    return results["samples"].get(column, {}).get(row_key(row), [])


def row_key(row):
    return f"{row['group']}/{row['name']}"


def median(values):
    return statistics.median(values) if values else None


def spread(values):
    middle = median(values)
    return 100 * (max(values) - min(values)) / middle if len(values) > 1 and middle else None


def ways(results):
    """bt's own columns."""
    return [column for column in results["columns"] if column not in (*NOT_BT, *results["extra"])]


def chosen(results):
    """The one of them that stands for bt: as it is by itself."""
    return (["auto"] if "auto" in ways(results) else ways(results))[-1:]


def scatter(values):
    """The interquartile range as a part of the median; of a single sample, 0."""
    if len(values) < 2 or not median(values):
        return 0
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return (high - low) / median(values)


def columns_of(results, rows):
    """Those that have a sample of one of these rows."""
    return [column for column in results["columns"] if any(samples_of(results, column, row) for row in rows)]


def pairs(results, rows=None):
    """(dividend, divisor) of each column of ratios: bt's against native, those with other arguments against bt as it is, QEMU and Bochs against
    bt's; of some rows' columns only."""
    columns = results["columns"] if rows is None else columns_of(results, rows)
    against_native = [(way, "native") for way in ways(results) if "native" in columns]
    others = [(column, way) for column in columns if column in results["extra"] for way in chosen(results)]
    emulators = [("qemu", way) for way in ways(results)] + [("bochs", way) for way in chosen(results)]
    return [pair for pair in against_native + others + emulators if set(pair) <= set(columns)]


def ratio(results, row, pair):
    above, below = (median(samples_of(results, column, row)) for column in pair)
    return above / below if above and below else None


def sections(results):
    """title -> rows that have a sample."""
    found = {}
    for row in results["rows"]:
        if any(samples_of(results, column, row) for column in results["columns"]):
            found.setdefault(row["section"], []).append(row)
    return found


# ---- tables ----
def number(value):
    return "-" if value is None else f"{value:.0f}" if value >= 1000 else f"{value:.4g}"


def times(value):
    return "-" if value is None else f"{value:.0f}" if value >= 100 else f"{value:.2f}" if value >= 0.1 else f"{value:.3f}"


def percent(value):
    return "-" if value is None else f"{value:.0f}%"


def header(results, rows):
    return (["", "unit"] + [word for column in columns_of(results, rows) for word in (column, "+-", "least")]
            + [f"{above}/{below}" for above, below in pairs(results, rows)])


def cells(results, row, rows):
    """The row's line of these rows' table."""
    line = [row["name"], row["unit"]]
    for column in columns_of(results, rows):
        values = samples_of(results, column, row)
        line += [number(median(values)), percent(spread(values)), number(min(values, default=None))]
    return line + [times(ratio(results, row, pair)) for pair in pairs(results, rows)]


def mean_cells(results, rows):
    """Geometric means of a section's ratios, if it has several rows of one unit; none of a single ratio."""
    if len(rows) < 2 or len({row["unit"] for row in rows}) > 1:
        return None
    ratios = [[r for r in (ratio(results, row, pair) for row in rows) if r] for pair in pairs(results, rows)]
    if max(map(len, ratios), default=0) < 2:
        return None
    return ["geometric mean", ""] + [""] * 3 * len(columns_of(results, rows)) + [times(geometric(r) if len(r) > 1 else None) for r in ratios]


def lines_of(results, rows):
    mean = mean_cells(results, rows)
    return [header(results, rows)] + [cells(results, row, rows) for row in rows] + ([mean] if mean else [])


def aligned(lines, gaps, left):
    widths = [max(len(line[i]) for line in lines) for i in range(len(gaps))]
    return ["".join(gap + (word.ljust(width) if i < left else word.rjust(width)) for i, (gap, word, width) in enumerate(zip(gaps, line, widths))).rstrip()
            for line in lines]


def text_table(results):
    out = []
    for title, rows in sections(results).items():
        # a column's three figures belong together
        gaps = ["", "  "] + ["   ", " ", " "] * len(columns_of(results, rows)) + ["   "] * len(pairs(results, rows))
        out += [title, *aligned(lines_of(results, rows), gaps, 2), ""]
        if title == "nano" and trap_lines(results):
            lines = trap_lines(results)
            out += [TRAP_TITLE, *aligned(lines, ["", "  "] + ["   "] * (len(lines[0]) - 2), 2), ""]
    return "\n".join([*out, WHAT_CELLS_ARE, *remarks(results)]) + "\n"


def markdown_table(lines, left=1):
    return ["| " + " | ".join(lines[0]) + " |", "|" + "|".join("---" if i < left else "---:" for i in range(len(lines[0]))) + "|",
            *("| " + " | ".join(line) + " |" for line in lines[1:])]


def runs_of(results):
    return f"{results['runs']} interleaved runs" if results["runs"] > 1 else "one run"


def about(results):
    a = results["about"]
    return [f"{a['cpu']}, {a['cores']} CPUs, load {a['load']} at the start; Linux {a['kernel']}; {a['date']}",
            f"{a['bt']}{' (commit ' + a['commit'] + ')' if a['commit'] else ''}{''.join('; ' + a[name] for name in ('qemu', 'bochs') if a.get(name))}; {runs_of(results)}",
            *(f"{name} is bt with {arguments}" for name, arguments in results["extra"].items())]


def remarks(results):
    return [f"note: {note}" for note in results["notes"]] + [f"WRONG {problem}" for problem in results["problems"]]


def markdown(results):
    out = ["# bench/run", "", *(escape(line) + "  " for line in about(results)), ""]
    for title, rows in sections(results).items():
        out += [f"## {title}", "", *markdown_table(lines_of(results, rows), left=2), ""]
        if title == "nano" and trap_lines(results):
            out += [TRAP_TITLE + ":", "", *markdown_table(trap_lines(results), left=2), ""]
    out += [WHAT_CELLS_ARE, ""] + (["![QEMU TCG / bt](ratios.svg)", ""] if svg(results) else [])
    out += [f" - {escape(line)}" for line in remarks(results)] + [""] * bool(remarks(results))
    if results.get("translation"):
        facts, paths = translation_cells(results["translation"])
        out += ["## Translation", "", translation_title(results["translation"]), "", *markdown_table([["", "count", ""], *facts]), "",
                *markdown_table([["slow path", "count", "a second", "what"], *paths]), "", NOT_COUNTED, ""]
    return "\n".join(out)


# ---- what is asked of the figures ----
TRAP_TITLE = "nano: the host's SIGSEGV round trip / row"


def nano_median(results, column, name):
    return median(results["samples"].get(column, {}).get(f"nano/{name}", []))


def wanted(name):
    return f"{TRAPS[name]} or more" if name in TRAPS else f"below {CYCLES[name]} cycles"


def holds(name, value, trap):
    """A row's median is as it must be beside that of SIGSEGV."""
    return value * TRAPS[name] <= trap if name in TRAPS else value < CYCLES[name]


def trap_cell(results, column, name, trap):
    value = nano_median(results, column, name)
    if not value:
        return "-"
    return times(trap / value) + ("" if column not in ways(results) or holds(name, value, trap) else " !")


def trap_lines(results):
    """A table of SIGSEGV's cycles / a row's; `!`: the row is not what it must be. None without SIGSEGV."""
    trap = nano_median(results, "native", "sigsegv")
    rows = [{"group": "nano", "name": name} for name in (*TRAPS, *CYCLES)]
    rows = [row for row in rows if columns_of(results, [row])]
    columns = [column for column in columns_of(results, rows) if column != "native"]
    if not trap or not columns:
        return None
    return [["", "must be", *columns]] + [[row["name"], wanted(row["name"]), *(trap_cell(results, column, row["name"], trap) for column in columns)] for row in rows]


def nano_verdict(results):
    """What of nano's rows is not as it must be in bt's own columns (those with other arguments may be as slow as they are), a line each."""
    trap, wrong = nano_median(results, "native", "sigsegv"), []
    if not trap:
        return ["nano/sigsegv has no native figure"]
    if not ways(results):
        return ["there is no column of bt"]
    for column in ways(results):
        for name in (*TRAPS, *CYCLES):
            value = nano_median(results, column, name)
            if value is None:
                wrong.append(f"nano/{name}: {column} has no figure")
            elif not holds(name, value, trap):
                beside = f", sigsegv {number(trap)}, which is {times(trap / value)} times as many" if name in TRAPS else ""
                wrong.append(f"nano/{name}: {column} takes {number(value)} cycles{beside}; wanted is {wanted(name)}")
    return wrong


def auto_of_row(results, row):
    """What is wrong with `auto` on a row, or None."""
    found = {way: samples_of(results, way, row) for way in ("direct", "translated", "auto")}
    others = [way for way in ("direct", "translated") if median(found[way])]
    if not found["auto"]:
        return "auto has no figure"
    if not others:
        return "neither direct nor translated has a figure"
    best = min(others, key=lambda way: median(found[way]))
    ours, theirs = median(found["auto"]), median(found[best])
    allowed = AUTO_TOLERANCE + max(scatter(found["auto"]), scatter(found[best]))
    if ours <= theirs * (1 + allowed):
        return None
    return f"auto takes {number(ours)} {row['unit']}, {best} {number(theirs)}: {100 * (ours / theirs - 1):.1f}% slower, allowed are {100 * allowed:.1f}%"


def auto_verdict(results):
    """Rows that have a native figure and on which `auto` is slower than the better of `direct` and `translated` by more than AUTO_TOLERANCE and
    scatter(), the greater of both columns', or that cannot be judged. A line each."""
    rows = [row for row in results["rows"] if samples_of(results, "native", row) and row_key(row) != "nano/sigsegv"]
    found = [(row_key(row), auto_of_row(results, row)) for row in rows]
    return [f"{key}: {wrong}" for key, wrong in found if wrong] if rows else ["no row has a native figure"]


# ---- what bt counted ----
def counters_of(text):
    """[group, name, value, help] of each line of --stats."""
    return [[m[1], m[2], int(m[3]), m[4]] for m in re.finditer(r"^(machine|monitor|mmu|callout) +(\S+) +(\d+)  (.*?)\r?$", text, re.M)]


def translation_title(translation):
    return f"Of one run of the Linux guest, from start to power-off, with its rows of the tables ({translation['column']}, {translation['seconds']:.1f} s)."


def translation_facts(value):
    """[what, count, what that is of another]; what this bt did not count is left out."""
    blocks, insns, guest, hot, cold, spent = (value.get("monitor." + name) for name in (
        "translations", "translated_insns", "translated_bytes", "hot_bytes", "cold_bytes", "translate_ns"))

    def each(count, of, text):
        return text.format(count / of) if count is not None and of else ""
    rows = [["blocks translated", blocks, ""], ["guest instructions translated", insns, each(insns, blocks, "{:.1f} a block")],
            ["bytes of guest code", guest, each(guest, insns, "{:.2f} an instruction")],
            ["bytes of host code", hot, each(hot, guest, "{:.2f} a guest's byte")],
            ["bytes of cold stubs", cold, each(cold, guest, "{:.2f} a guest's byte")],
            ["milliseconds spent translating", spent and spent / 1e6, each(spent, insns, "{:.0f} ns an instruction")],
            ["jumps chained", value.get("monitor.chains"), ""], ["flushes of the code cache", value.get("monitor.flushes"), ""],
            ["seconds in sandboxes", value.get("monitor.direct_ns", 0) / 1e9 or None, ""]]
    return [[name, number(count), more] for name, count, more in rows if count is not None]


def translation_cells(translation, most=24):
    """Sizes, and slow paths by how often they were taken."""
    counters = translation["counters"]
    value = {f"{group}.{name}": count for group, name, count, _ in counters}
    facts = translation_facts(value)
    paths = sorted((c for c in counters if c[1] not in SIZES and c[2]), key=lambda c: -c[2])
    lines = [[f"{group}.{name}", number(count), number(count / translation["seconds"]), "" if group == "callout" else text]
             for group, name, count, text in paths[:most]]
    if paths[most:]:
        lines.append([f"{len(paths) - most} others", number(sum(c[2] for c in paths[most:])), "", ""])
    return facts, lines


def translation_text(results):
    facts, paths = translation_cells(results["translation"])
    out = ["Translation", translation_title(results["translation"])]
    out += [f"  {name:30}{count:>14}   {more}".rstrip() for name, count, more in facts]
    out += ["", f"  {'slow path':30}{'count':>14}{'a second':>14}"] + [f"  {a:30}{b:>14}{c:>14}   {d}".rstrip() for a, b, c, d in paths]
    return "\n".join([*out, "", NOT_COUNTED]) + "\n"


# ---- bars ----
STYLE = """
  text { font: 12px sans-serif; fill: #1f2328 }
  .title { font-size: 15px; font-weight: bold }
  .section { font-weight: bold }
  .small, .tick { font-size: 11px; fill: #59636e }
  .value { font-size: 11px }
  .page { fill: #ffffff }
  .grid { stroke: #d1d9e0 }
  .one { stroke: #59636e; stroke-width: 1.5 }
  .ahead { fill: #2f7ed8 }
  .behind { fill: #cf5a2a }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 }
    .small, .tick { fill: #9198a1 }
    .page { fill: #0d1117 }
    .grid { stroke: #30363d }
    .one { stroke: #9198a1 }
    .ahead { fill: #4c96e8 }
    .behind { fill: #e07b4c }
  }
"""
TICKS = [1 / 1000, 1 / 500, 1 / 200, 1 / 100, 1 / 50, 1 / 20, 1 / 10, 1 / 5, 1 / 2, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000]
LABELS, BARS, VALUES, ROW, TOP = 130, 520, 60, 20, 74
PAD = 16


def ratio_rows(results):
    """title -> [(name, ratio)] of QEMU and bt as it is; a section's geometric mean is its last one."""
    found, bt = {}, chosen(results)[0]
    for title, rows in sections(results).items():
        bars = [(row["name"], r) for row in rows if (r := ratio(results, row, ("qemu", bt)))]
        if len(bars) > 1 and len({row["unit"] for row in rows}) == 1:
            bars.append(("geometric mean", geometric([r for _, r in bars])))
        if bars:
            found[title] = bars
    return found


def svg(results):
    """QEMU's time divided by bt's, a bar a row on a logarithmic axis that begins at 1; None where there is no ratio."""
    bars = ratio_rows(results) if "qemu" in results["columns"] and chosen(results) else {}
    every = [r for rows in bars.values() for _, r in rows]
    if not every:
        return None
    low, high = min(*every, 1), max(*every, 2)
    low = max((t for t in TICKS if t <= low), default=low)
    high = min((t for t in TICKS if t >= high), default=high)
    left, wide = PAD + LABELS, PAD + LABELS + BARS + VALUES + PAD
    bottom = TOP + ROW * (sum(len(rows) + 1 for rows in bars.values())) + 6

    def x(value):
        return left + BARS * math.log(value / low) / math.log(high / low)

    def label(kind, at, y, text, anchor="start"):
        return f'<text class="{kind}" x="{at:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{wide}" height="{bottom + 30}" viewBox="0 0 {wide} {bottom + 30}" role="img">',
           f"<title>QEMU TCG / bt</title><style>{STYLE}</style>", f'<rect class="page" width="{wide}" height="{bottom + 30}"/>',
           label("title", PAD, 26, "QEMU TCG / bt: time of each row (memory: size); beyond 1, bt is ahead"),
           label("small", PAD, 46, f"medians of {runs_of(results)}; {results['about']['cpu']}; {results['about']['date'][:10]}")]
    for tick in (t for t in TICKS if low <= t <= high):
        out += [f'<line class="{"one" if tick == 1 else "grid"}" x1="{x(tick):.1f}" x2="{x(tick):.1f}" y1="{TOP - 6}" y2="{bottom}"/>',
                label("tick", x(tick), bottom + 16, f"{tick:g}", "middle")]
    y = TOP
    for title, rows in bars.items():
        out.append(label("section", PAD, y + 14, title))
        for name, value in rows:
            y += ROW
            start, end = sorted((x(1), x(value)))
            out += [label("name", left - 8, y + 14, name, "end"),
                    f'<rect class="{"ahead" if value >= 1 else "behind"}" x="{start:.1f}" y="{y + 3}" width="{max(end - start, 1):.1f}" height="{ROW - 6}"/>',
                    label("value", end + 5, y + 14, times(value))]
        y += ROW
    return "\n".join([*out, "</svg>"]) + "\n"

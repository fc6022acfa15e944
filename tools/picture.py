"""Draws what a command prints to its standard output, colors and all, as an SVG of a terminal.

    python tools/picture.py FILE.svg [--part REGEX:COUNT ...] -- COMMAND [ARGUMENT ...]

Without parts, everything is shown.
"""

import argparse
import os
import re
import subprocess
import sys
from html import escape
from pathlib import Path

COLORS = {
    31: "#f7768e", 32: "#9ece6a", 33: "#e0af68", 34: "#7aa2f7", 35: "#bb9af7", 36: "#7dcfff", 37: "#c0caf5",
    90: "#737aa2", 91: "#ff899d", 92: "#b5e88a", 93: "#ffc777", 94: "#8db0ff", 95: "#c7a9ff", 96: "#a4daff",
}  # fmt: skip
PLAIN, BACKGROUND, BAR = "#c0caf5", "#1a1b26", "#24283b"
COLUMN, ROW, MARGIN, TITLE = 7.85, 18, 14, 30
ESCAPE = re.compile(r"\x1b\[([\d;]*)m|\x1b\[[\d;?]*[A-Za-z]|\x1b\][^\x07]*\x07")


def spans(line: str, style: tuple) -> tuple[list, tuple]:
    """The runs of equal style in a line, and the style at its end."""
    found, position = [], 0
    for match in ESCAPE.finditer(line):
        if match.start() > position:
            found.append((line[position : match.start()], style))
        position = match.end()
        if match.group(1) is not None:
            style = restyled(style, match.group(1))
    if position < len(line):
        found.append((line[position:], style))
    return found, style


def restyled(style: tuple, codes: str) -> tuple:
    color, bold = style
    for code in (int(part or 0) for part in codes.split(";")):
        if code == 0:
            color, bold = PLAIN, False
        elif code == 1:
            bold = True
        elif code == 22:
            bold = False
        elif code == 39:
            color = PLAIN
        else:
            color = COLORS.get(code, color)
    return color, bold


def draw(title: str, text: str, columns: int) -> str:
    lines = text.expandtabs().splitlines()
    width, height = round(columns * COLUMN + 2 * MARGIN), TITLE + len(lines) * ROW + 2 * MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{width}" height="{height}" rx="8" fill="{BACKGROUND}"/>',
        f'<path d="M0 {TITLE}V8a8 8 0 0 1 8-8h{width - 16}a8 8 0 0 1 8 8v{TITLE - 8}z" fill="{BAR}"/>',
        *(f'<circle cx="{18 + 18 * n}" cy="{TITLE / 2}" r="5.5" fill="{color}"/>'
          for n, color in enumerate((COLORS[31], COLORS[33], COLORS[32]))),
        '<g font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, monospace" font-size="13" xml:space="preserve">',
        f'<text x="{width / 2}" y="{TITLE / 2 + 4}" text-anchor="middle" fill="{PLAIN}">{escape(title)}</text>',
    ]  # fmt: skip
    style = (PLAIN, False)
    for row, line in enumerate(lines):
        found, style = spans(line, style)
        column = 0
        for run, (color, bold) in found:
            shown = run[: max(0, columns - column)]
            if shown.strip():
                weight = ' font-weight="bold"' if bold else ""
                # textLength keeps the columns straight whatever font the reader has.
                parts.append(
                    f'<text x="{MARGIN + column * COLUMN:.2f}" y="{TITLE + MARGIN + row * ROW + 12}" fill="{color}"{weight}'
                    f' textLength="{len(shown) * COLUMN:.2f}">{escape(shown)}</text>'
                )
            column += len(run)
    return "\n".join([*parts, "</g>", "</svg>", ""])


def excerpt(lines: list[str], parts: list[str]) -> list[str]:
    """The parts asked for, each as `REGEX:COUNT`: that many lines from the first that matches, colors aside."""
    shown: list[str] = []
    for part in parts:
        pattern, _, count = part.rpartition(":")
        begin = next(n for n, line in enumerate(lines) if re.search(pattern, ESCAPE.sub("", line)))
        shown += ["\x1b[90m  ⋮\x1b[0m"] if shown else []
        shown += lines[begin : begin + int(count)]
    return shown


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--title", default="xdist run")
    parser.add_argument("--columns", type=int, default=100)
    parser.add_argument("--part", action="append", metavar="REGEX:COUNT", help="COUNT lines from the one that matches")
    parser.add_argument("command", nargs="+")
    options = parser.parse_args()
    env = {**os.environ, "COLUMNS": str(options.columns)}
    done = subprocess.run(options.command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=env)
    text = done.stdout
    # No path of the machine where the picture was made.
    for path, shown in ((Path.cwd(), "."), (Path.cwd().parent, ".."), (sys.base_prefix, "/usr")):
        text = text.replace(str(path), shown)
    options.file.parent.mkdir(parents=True, exist_ok=True)
    lines = text.splitlines()
    shown = excerpt(lines, options.part) if options.part else lines
    options.file.write_text(draw(options.title, "\n".join(shown), options.columns))
    return 0


if __name__ == "__main__":
    sys.exit(main())

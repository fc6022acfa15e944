"""Draws what a command prints, colours and all, as an SVG of a terminal.

    python tools/picture.py FILE.svg [--head N] [--tail N] -- COMMAND [ARGUMENT ...]

Of long output the first and the last lines are shown.
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


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--title", default="xdist run")
    parser.add_argument("--columns", type=int, default=100)
    parser.add_argument("--head", type=int, default=14, help="how many of the first lines to show")
    parser.add_argument("--tail", type=int, default=16, help="how many of the last lines to show")
    parser.add_argument("command", nargs="+")
    options = parser.parse_args()
    env = {**os.environ, "COLUMNS": str(options.columns)}
    done = subprocess.run(options.command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env)
    # No path of the machine where the picture was made.
    lines = done.stdout.replace(str(Path.cwd()), ".").replace(str(Path.cwd().parent), "..").splitlines()
    if len(lines) > options.head + options.tail:
        lines = [*lines[: options.head], "\x1b[0;90m        ⋮\x1b[0m", *lines[-options.tail :]]
    options.file.parent.mkdir(parents=True, exist_ok=True)
    options.file.write_text(draw(options.title, "\n".join(lines), options.columns))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Outputs of any length fit a report: a long text is shortened in its middle, and says so."""

import re
from collections.abc import Iterable

#: Printed lines of one output and of all together, the letters that such a line holds.
ROWS, ALL_ROWS, WIDTH = 500, 10_000, 80
#: Rows of one table in HTML, and outputs of one cell.
TABLE_ROWS, OUTPUTS = 200, 200

#: How far the rest of a broken line is indented, and what stands where a word is broken.
INDENT, BROKEN = 4, "↩"

#: What HTML repeats for each line or paragraph, and what those are called.
_REPEATED = {"tr": "行", "li": "项", "p": "段", "div": "段", "br": "行"}


def left_out(count: int, what: str) -> str:
    return f"…（省略 {count} {what}）…"


def count_rows(text: str) -> int:
    """About how many printed lines a text fills."""
    return sum(map(_count_rows, text.split("\n")))


def _count_rows(line: str) -> int:
    return max(1, -(-len(line) // WIDTH))


def share_rows(sizes: list[int]) -> int:
    """How many rows each output may have, so that all of them, of these sizes, fit."""
    room = ROWS
    while room > 10 and sum(min(size, room) for size in sizes) > ALL_ROWS:
        room //= 2
    return room


def shorten(text: str, room: int = ROWS) -> str:
    """A text of ``room`` printed lines at most: its first and last lines, whole where they fit."""
    if count_rows(text) <= room:
        return text
    lines = [_shorten_line(line, room * WIDTH // 8) for line in text.split("\n")]
    first, last = _fitting(lines, room // 2), _fitting(reversed(lines), room // 2)
    missing = len(lines) - first - last
    if missing <= 0:
        return "\n".join(lines)
    words = left_out(missing, "行")
    if lines[first].startswith("|"):  # of a table in Markdown
        words = f"| {words} |"
    return "\n".join([*lines[:first], words, *lines[len(lines) - last :]])


def shorten_html(source: str, room: int = ROWS) -> str:
    """HTML of ``room`` rows, items, paragraphs and lines at most; the middle ones are left out."""
    for tag, what in _REPEATED.items():
        starts = [match.start() for match in re.finditer(rf"<{tag}\b", source, re.I)]
        most = min(room, TABLE_ROWS) if tag == "tr" else room
        if len(starts) > most:
            half = most // 2
            words = left_out(len(starts) - 2 * half, what)
            if tag == "tr":
                cells = len(re.findall(r"<t[dh]\b", source[starts[half] : starts[half + 1]], re.I))
                words = f'<td colspan="{cells}">{words}</td></tr>'
            source = f"{source[: starts[half]]}<{tag}>{words}{source[starts[-half] :]}"
    return source


def _shorten_line(line: str, end: int) -> str:
    missing = len(line) - 2 * end
    return line if missing <= 0 else line[:end] + left_out(missing, "个字符") + line[-end:]


def _fitting(lines: Iterable[str], room: int) -> int:
    """How many of the lines fit."""
    count = 0
    for line in lines:
        room -= _count_rows(line)
        if room < 0:
            break
        count += 1
    return count


def break_line(line: str, width: int) -> list[str]:
    """A line as pieces of ``width`` digits at most; a Chinese character is two.

    It is broken at spaces, and goes on indented; a word that is longer is marked where it breaks.
    """
    from labreport.export.fonts import text_width

    pieces = []
    while text_width(line) > width:
        end, room = 0, width - 1
        while (room := room - text_width(line[end])) >= 0:
            end += 1
        indent = len(line) - len(line.lstrip(" "))
        space = line.rfind(" ", indent + 1, end + 2)
        if space > indent + INDENT:
            pieces.append(line[:space])
            line = " " * INDENT + line[space:].lstrip(" ")
        else:
            pieces.append(line[:end] + BROKEN)
            line = " " * INDENT + line[end:]
    return [*pieces, line]

"""Numbers as C reads them back exactly, and long lists in lines."""

from collections.abc import Iterable

import numpy as np


def c_float(value: float | np.float32) -> str:
    """A float constant of C that is exactly the float32 nearest to ``value``: nine digits distinguish all of them."""
    text = f"{np.float32(value):.9g}"
    return f"{text if '.' in text or 'e' in text else text + '.0'}F"


def c_lines(items: Iterable[str], width: int = 116) -> str:
    """Items separated by commas, in lines of at most ``width`` characters, indented by four."""
    lines, line = [], ""
    for item in items:
        if line and len(line) + len(item) + 2 > width:
            lines.append(line)
            line = ""
        line += f" {item}," if line else f"{item},"
    return "\n".join(f"    {line}" for line in [*lines, line])


def c_comment(text: str) -> str:
    """A comment of C that holds a name from a file: printable ASCII, which cannot end it or begin another."""
    plain = "".join(character if " " <= character <= "~" and character != "*" else "_" for character in text)
    return f"/* {plain} */"


def c_string(text: str) -> str:
    """A string constant of C: printable ASCII as it is, the rest as octal escapes of its UTF-8."""
    plain = (chr(byte) if 32 <= byte < 127 and byte not in b'"\\?' else f"\\{byte:03o}" for byte in text.encode())
    return f'"{"".join(plain)}"'

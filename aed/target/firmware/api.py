"""The C library's interface as a page: every declaration of its public headers with the comment that stands over it."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

_TOKENS = re.compile(
    r"(?P<comment>/\*.*?\*/)|(?P<directive>^#(?:[^\n\\]|\\.|\\\n)*)|(?P<blank>\n\s*\n)|(?P<brace>[{}])|(?P<end>;)|"
    r"(?P<code>[^\n{};#/]+|\n|.)",
    re.DOTALL | re.MULTILINE,
)
_NAME = re.compile(r"#define (\w+)|\} (\w+);$|\(\*(\w+)\)\(|(\w+)\(|(\w+)(?:\[[^\]]*\])*;$")
_GUARD = re.compile(r"(?:!defined )?\w+_H|defined __cplusplus")
_LINKAGE = re.compile(r'extern "C" \{|^\}$')


@dataclass(frozen=True)
class Entry:
    """A declaration, or macros that share a comment.

    Args:
        code: As it stands in the header.
        meaning: The comment over it; "": there is none.
        where: Conditions of the preprocessor around it.
    """

    code: str
    meaning: str
    where: tuple[str, ...]

    @property
    def names(self) -> list[str]:
        """Of the macros, the type, the function or the table."""
        lines = self.code.splitlines() if self.code.startswith("#define") else [_without_comments(self.code)]
        found = [next(_NAME.finditer(line), None) for line in lines]
        return [next(filter(None, match.groups())) for match in found if match]


def _without_comments(code: str) -> str:
    plain = re.sub(r"/\*.*?\*/", "", code, flags=re.DOTALL).strip()
    return f"}} {plain.rpartition('}')[2].strip()}" if "{" in plain else plain


def entries(header: str) -> tuple[str, list[Entry]]:
    """What a header says of itself, and its declarations in order; guards, includes and linkage are left out."""
    intro, meaning, code, depth = "", "", "", 0
    conditions: list[str] = []
    found: list[Entry] = []

    def finish() -> None:
        nonlocal code
        if code.strip() and not _LINKAGE.search(code.strip()):
            found.append(Entry(code.strip(), meaning, tuple(filter(None, conditions))))
        code = ""

    for match in _TOKENS.finditer(header):
        kind, text = match.lastgroup, match.group()
        if kind == "comment" and not depth and code.lstrip().startswith("#"):
            finish()
        has_begun = depth or code.strip()
        if kind == "directive" and not depth:
            word = text.split(None, 1)[0]
            if word == "#define":
                code += "" if _GUARD.fullmatch(_condition(text)) else text
                continue
            finish()
            if word in ("#if", "#ifdef", "#ifndef"):
                condition = _condition(text)
                conditions.append("" if _GUARD.fullmatch(condition) else condition)
            elif word == "#else":
                conditions[-1] = f"not {conditions[-1]}"
            elif word == "#endif":
                conditions.pop()
        elif kind == "blank" and not depth:
            finish()
            meaning = "" if found and found[-1].meaning == meaning else meaning
        elif kind == "comment" and not has_begun:
            if not intro and not found:
                intro = _prose(text)
            else:
                meaning = _prose(text)
        elif has_begun or text.strip() not in ("", "}"):
            code += text
            depth += {"{": 1, "}": -1}.get(text, 0)
            if 'extern "C" {' in code:
                code, depth = "", 0
            elif kind == "end" and not depth:
                finish()
    finish()
    return intro, found


def _condition(directive: str) -> str:
    word, _, rest = " ".join(directive.replace("\\\n", " ").split()).partition(" ")
    return {"#ifdef": f"defined {rest}", "#ifndef": f"!defined {rest}"}.get(word, rest)


def _prose(comment: str) -> str:
    """The text of a comment; what is set in by four spaces stays code."""
    first, *others = comment.removeprefix("/*").removesuffix("*/").splitlines()
    lines = [first.strip(), *(re.sub(r"^ \* ?", "", line).rstrip() for line in others)]
    return "\n".join(lines).strip("\n").rstrip()


def api_page(headers: Mapping[str, str], values: bool = True) -> str:
    """Markdown: a section a header, a part a declaration.

    Args:
        headers: Name -> text, in the order of the page.
        values: Whether generated numbers are shown, which are those of one model.
    """
    lines = ["# C API", "", _MADE[values], ""]
    for name, text in headers.items():
        intro, found = entries(text)
        lines += [f"## {name}", "", *_marked_down(intro), ""]
        for entry in found:
            code = entry.code if values else _without_values(entry.code)
            lines += [f"### {_title(entry.names)}", ""]
            lines += [f"Where `{' && '.join(entry.where)}`.", ""] if entry.where else []
            lines += ["```c", code, "```", "", *([*_marked_down(entry.meaning), ""] if entry.meaning else [])]
    return "\n".join(lines).rstrip() + "\n"


_MADE = {
    True: "All that the headers of this library declare, with their comments.",
    False: "All that the headers of the library declare, with their comments. Numbers that depend on the model stand "
    "in the `API.md` of its library.",
}
"""By whether numbers are shown."""

_TITLED = 3
"""Most names in a title; the code under it has all."""


def _title(names: Sequence[str]) -> str:
    shown = ", ".join(f"`{name}`" for name in names[:_TITLED])
    return f"{shown} and {len(names) - _TITLED} more" if len(names) > _TITLED else shown


def _without_values(code: str) -> str:
    """``code`` without the numbers of generated macros."""
    return re.sub(r"^(#define \w+) (?:\(?-?[\d.]\S*|0x\S+)$", r"\1 ...", code, flags=re.MULTILINE)


def _marked_down(text: str) -> Iterator[str]:
    """Prose with ``*`` as itself; code that is set in by four spaces stays."""
    for line in text.splitlines():
        yield line if line.startswith("    ") else re.sub(r"([*_<>`])", r"\\\1", line.strip())

"""Help of the verbs and their keys as Markdown: the pages of docs/reference."""

from typing import Any

from aed.run.help import door, entries, options, other_defaults, sections, verbs, with_options


def documents() -> dict[str, str]:
    """File name -> Markdown: a page for each verb and one that lists them."""
    text = "`aed <verb> --help all` prints these pages, `--help` alone leaves out the keys of Lightning and torch; "
    lines = ["# Verbs", "", f"{text}`aed help <key>` explains a key.", ""]
    lines += ["| verb | |", "|---|---|"]
    lines += [f"| [`aed {verb}`]({verb}.md) | {_cell(door(verb).summary)} |" for verb in verbs()]
    return {"index.md": "\n".join([*lines, ""]), **{f"{verb}.md": document(verb) for verb in verbs()}}


def document(verb: str) -> str:
    """The page of a verb as Markdown."""
    own, keys = door(verb), entries(verb)
    lines = [f"# aed {verb}", "", own.summary, ""]
    lines += [own.text, ""] if own.text else []
    lines += ["```", *own.usage, "```", ""] if own.usage else []
    for command, text in own.examples:
        lines += [text, "", "```", command, "```", ""]
    if keys:
        lines += ["## Options", "", "| option | meaning |", "|---|---|"]
        lines += [f"| `{option}` | {_cell(text)} |" for option, text in options(verb)] + [""]
    for title, rows in sections(keys, verb).items():
        lines += [
            f"## {title.replace('*', chr(92) + '*')}",
            "",
            "| key | default | type | meaning |",
            "|---|---|---|---|",
        ]
        lines += [_row(entry) for entry in rows] + [""]
    return "\n".join(lines)


def _row(entry: dict[str, Any]) -> str:
    kinds = entry.get("choices") or entry.get("options")
    kind = ", ".join(f"`{name}`" for name in kinds) if kinds else entry["type"]
    default = f"`{entry['default']}`" if "default" in entry else "required"
    meaning = _cell(entry["meaning"])
    only = f" Only with `{with_options(entry['with'])}`." if "with" in entry else ""
    only += "".join(
        f" `{default}` with `{with_options(options)}`." for default, options in other_defaults(entry).items()
    )
    return f"| `{entry['key']}` | {_cell(default)} | {_cell(kind)} | {meaning}{only} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;") if "`" not in text else text.replace("|", "\\|")

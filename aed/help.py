"""Explain a verb or a key.

Usage:
    aed help <verb or key> ...

Examples:
    aed help data.split
        Type, default, choices and meaning of a key, and the verbs that take it.
    aed help train
        The page of a verb, the same as aed train --help.
    aed help lr
        Every key of that name.
"""

import sys

from aed.base.errors import AedError
from aed.run.explain import explain
from aed.run.help import asks_for_help, overview, page, show


def main() -> None:
    """Entry point."""
    words = sys.argv[1:]
    if asks_for_help(words):
        show(page("help"))
    elif not words:
        show(overview())
    else:
        try:
            show("\n\n".join(map(explain, words)))
        except AedError as error:
            sys.exit(str(error))


if __name__ == "__main__":
    main()

"""``aed <verb> ...`` and ``python -m aed <verb> ...``: runs the door of a verb; without one it lists them."""

import runpy
import sys
from pathlib import Path

from aed import __version__
from aed.base.overrides import nearest
from aed.run.help import asks_for_help, overview, page_asked_for, show, verbs


def main() -> None:
    """Entry point of the console command."""
    verb, *rest = sys.argv[1:] or ["--help"]
    if verb in ("--help", "-h"):
        show(overview())
        return
    if verb == "--version":
        show(f"aed {__version__}")
        return
    if verb not in verbs():
        begun = [name for name in verbs() if verb and name.startswith(f"{verb}_")]
        near = begun or nearest(verb, verbs())
        hint = f"did you mean aed {near[0]}?" if near else f"there are {', '.join(verbs())}"
        sys.exit(f"aed {verb}: there is no such verb; {hint}")
    if rest and asks_for_help(rest[:1]):
        show(page_asked_for(verb, rest))
        return
    sys.argv[1:] = rest
    if "" not in sys.path and (here := str(Path.cwd())) not in sys.path:
        sys.path.append(here)  # for a net of the user's, as python -m has it; last: no file there replaces a library
    # as __main__: processes that Lightning starts for further devices run python -m aed.<verb> with the same arguments
    runpy.run_module(f"aed.{verb}", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()

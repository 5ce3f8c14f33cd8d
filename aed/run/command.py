"""Start of a verb: its help, or its task with what Hydra needs; nothing heavy is imported before the task."""

import gc
import logging
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from aed.base.errors import AedError
from aed.base.loading import loading
from aed.run.help import asks_for_help, missing, page_asked_for, show
from aed.settings.command_line import check_options

if TYPE_CHECKING:
    from omegaconf import DictConfig


def run_verb(
    verb: str,
    task: "Callable[[DictConfig], object]",
    config_name: str | None = None,
    words_are_files: bool = False,
) -> None:
    """Prints the help of a verb, where the command line asks for it, or runs its task.

    Args:
        verb: Its name.
        task: Gets the composed configuration.
        config_name: The primary configuration; default: the one of the verb's name.
        words_are_files: Whether words that are no ``key=value`` are elements of ``files``.
    """
    if asks_for_help(sys.argv[1:]):
        show(page_asked_for(verb, sys.argv[1:]))
        return
    try:
        check_options(sys.argv[1:], f"aed {verb}")
    except AedError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    if text := missing(verb, sys.argv[1:], words_are_files):
        print(text, file=sys.stderr)
        sys.exit(1)
    name = config_name or verb
    with loading():
        from aed.run import registry
        from aed.settings.entry import run_task
        from aed.settings.typed import with_files

        registry.register_verb(name)
    gc.freeze()  # what libraries are made of stays
    if words_are_files:
        sys.argv[1:] = with_files(sys.argv[1:])
    try:
        run_task(task, logging.getLogger(f"aed.{verb}"), name)
    finally:
        gc.freeze()  # the process ends: nothing is left to collect

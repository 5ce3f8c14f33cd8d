"""Train, score and export with Lightning's own command line, LightningCLI, instead of Hydra.

An experiment gives the same numbers as with aed train. Options are --trainer.max_epochs 5 instead of
trainer.max_epochs=5; aed cli fit --help lists those of a subcommand.

Usage:
    aed cli {fit,validate,test,predict,export} [--experiment <name>] [--<key> <value> ...]

Examples:
    aed cli fit --experiment esc10_yamnet --trainer.max_epochs 5
        Trains, and prints the commands that test and export the checkpoint.
    aed cli test --ckpt_path outputs/esc10_yamnet/<date_time>/checkpoints/best.ckpt
        The test clips of the checkpoint's own data.
    aed cli export --ckpt_path outputs/esc10_yamnet/<date_time>/checkpoints/best.ckpt --output model.onnx
        The float and the int8 model.
"""

import logging
import sys

from aed.run.help import asks_for_help, page, show

log = logging.getLogger("aed.cli")


def main() -> None:
    """Entry point."""
    if asks_for_help(sys.argv[1:2]):  # after a subcommand it is LightningCLI's own
        show(page("cli"))
        return
    from aed.run.cli import AedCLI
    from aed.settings.entry import clear_errors

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    with clear_errors(log):
        AedCLI()


if __name__ == "__main__":
    main()

"""python -m aed.cli {fit,validate,test,predict,export} ...: LightningCLI over the experiments of aed.train."""

import logging

from aed.run.cli import AedCLI
from aed.settings.entry import clear_errors

log = logging.getLogger("aed.cli")


def main() -> None:
    """Entry point."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    with clear_errors(log):
        AedCLI()


if __name__ == "__main__":
    main()

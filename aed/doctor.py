"""Check this machine: Python packages, data, compilers, emulator, ST's tools and boards; says how to install the rest.

Usage:
    aed doctor [<check> ...]

Examples:
    aed doctor
        Every check, a line each; exit code 1 where something needed is missing.
    aed doctor gcc
        The same, and exit code 1 without a C compiler.
    aed doctor arm-gcc qemu
        The same for what emulated boards need.
"""

import argparse
import sys

from aed.run.help import asks_for_help, page, show


def main() -> None:
    """Entry point."""
    if asks_for_help(sys.argv[1:]):
        show(page("doctor"))
        return
    from aed.run.doctor import CHECKS, examine

    parser = argparse.ArgumentParser(prog="aed doctor", add_help=False)
    parser.add_argument("names", nargs="*", choices=[*(check.name for check in CHECKS), []])
    sys.exit(examine(CHECKS, parser.parse_args().names))


if __name__ == "__main__":
    main()

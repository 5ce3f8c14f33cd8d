#!/usr/bin/env bash
# jsonargparse 4.53.0, ArgumentParser.link_arguments between two classes (LightningCLI's way to share a parameter).
#
# A linked parameter takes the value of its source. With add_class_arguments the target is no option any more: typing it is
# an error. With add_subclass_arguments, which LightningCLI's subclass mode uses, a value typed for the target, or written
# in a config file, is taken without an error or a warning and then replaced by the source's: the command line says 5,
# the object gets 1.
#
# Output seen (typed for the target whose source is 1, what comes of it):
#   class     --model.rate=5           error
#   subclass  --model.rate=5           1
#   file      init_args: {rate: 5}     1
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" --quiet --disable-pip-version-check install 'jsonargparse[signatures]==4.53.0'
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import warnings
from pathlib import Path

from jsonargparse import ArgumentError, ArgumentParser


class Data:
    def __init__(self, rate: int = 1):
        self.rate = rate


class Net:
    def __init__(self, rate: int = 1):
        self.rate = rate


def rate(*words, subclasses):
    parser = ArgumentParser(exit_on_error=False, allow_abbrev=False)
    parser.add_argument("--config", action="config")
    add = parser.add_subclass_arguments if subclasses else parser.add_class_arguments
    add(Data, "data")
    add(Net, "model")
    inside = ".init_args" if subclasses else ""
    parser.link_arguments(f"data{inside}.rate", f"model{inside}.rate")
    model = parser.parse_args(words).model
    return model.init_args.rate if subclasses else model.rate


warnings.simplefilter("error")
try:
    plain = rate("--model.rate=5", subclasses=False)
except ArgumentError:
    plain = "error"
print("class     --model.rate=5          ", plain)
typed = rate("--data=Data", "--model=Net", "--model.rate=5", subclasses=True)
print("subclass  --model.rate=5          ", typed)
Path("net.yaml").write_text("model:\n  class_path: Net\n  init_args: {rate: 5}\n")
read = rate("--data=Data", "--config=net.yaml", subclasses=True)
print("file      init_args: {rate: 5}    ", read)
assert plain == "error"
assert (typed, read) == (1, 1), "a value for a linked parameter is refused or kept now"
PYTHON

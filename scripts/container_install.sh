#!/bin/sh
# Installs aed with all extras from this checkout: container_install.sh FOLDER [PYTHON], a virtual environment in FOLDER.
# TORCH_INDEX: a further package index, such as https://download.pytorch.org/whl/cpu, whose torch has no CUDA.
set -eu
folder=$1 python=${2:-python3}
"$python" -m venv "$folder"
"$folder/bin/python" -m pip install --quiet --disable-pip-version-check \
  ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} "$(dirname "$0")/..[all]"

#!/bin/sh
# What an installation must be able to do: container_check.sh FOLDER, of the virtual environment. Trains, and runs C.
set -eu
aed=$1/bin/aed
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
cd "$place"
export AED_CACHE_DIR="$place/cache"
"$aed" train experiment=demo trainer.max_epochs=1 data.clips.class_names='[alarm,hum]' data.clips.sources_per_class=5 \
  data.clips.takes_per_source=1 logger=csv 'stages=[fit,export,quantize]' hydra.run.dir=run
"$aed" benchmark model=run/model_int8.onnx board=mps2-an505 folder=out emulator.inputs=1

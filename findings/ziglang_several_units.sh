#!/usr/bin/env bash
# ziglang 0.17.1: `zig cc -c` with several files.
#
# GCC and clang write an object for each file. zig cc ends with 0 and without a word, and writes that of the first file
# alone, so that the C library of an int8 model, compiled by one command, is missed only when it is linked.
#
# Output seen:
#   zig cc -c one.c two.c   exit code 0, objects: one.o
#   a command for each      objects: one.o two.o
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" --quiet --disable-pip-version-check install ziglang==0.17.1
export ZIG_GLOBAL_CACHE_DIR="$folder/cache"
zig() { "$folder/venv/bin/python" -m ziglang "$@"; }
mkdir "$folder/code"
cd "$folder/code"
echo 'int one(void) { return 1; }' >one.c
echo 'int two(void) { return 2; }' >two.c
zig cc -c one.c two.c
objects=$(echo ./*.o)
echo "zig cc -c one.c two.c   exit code 0, objects: ${objects//.\//}"
[ "$objects" = ./one.o ]
zig cc -c one.c
zig cc -c two.c
objects=$(echo ./*.o)
echo "a command for each      objects: ${objects//.\//}"
[ "$objects" = "./one.o ./two.o" ]

#!/bin/sh
# Compilers and the emulator of the C code, by apt; as root. The Dockerfile and .ci/run both call it.
set -eu
export DEBIAN_FRONTEND=noninteractive
rm -f /etc/apt/apt.conf.d/docker-clean # of Debian's images: it empties the cache that the Dockerfile mounts
apt-get update -qq
apt-get install -y -qq --no-install-recommends \
  gcc libc6-dev cmake make gcc-arm-none-eabi libnewlib-arm-none-eabi qemu-system-arm

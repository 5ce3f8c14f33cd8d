#!/bin/sh
# The user that a container runs as: container_user.sh NAME FOLDER ..., folders that any user may write to. As root.
set -eu
name=$1
shift
useradd --create-home --uid 1000 --shell /usr/sbin/nologin "$name"
install -d -m 1777 "$@"

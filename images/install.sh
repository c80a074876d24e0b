#!/bin/sh
# A build step of an image: install the files of requirements/ named in the build arguments, or our
# own package, into /opt/ssd. The secrets `pip.conf` and `ca.pem`, if any, configure how pip reaches
# its package index.
set -eu
if [ -f /run/secrets/pip.conf ]; then export PIP_CONFIG_FILE=/run/secrets/pip.conf; fi
if [ -f /run/secrets/ca.pem ]; then export PIP_CERT=/run/secrets/ca.pem; fi
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_PROGRESS_BAR=off PIP_CACHE_DIR=/pip-cache

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
    case ${TORCH_INDEX:+$REQUIREMENTS} in
    *torch*)
        torch=$(sed -n 's/^\(torch==[0-9.]*\).*/\1/p' requirements/torch.txt)
        /opt/ssd/bin/pip install --index-url "$TORCH_INDEX" --no-deps "$torch"
        ;;
    esac
    # shellcheck disable=SC2086 # one word per file
    requirements/install.sh /opt/ssd/bin/python $REQUIREMENTS
    for package in $BASE_PACKAGES; do # those of the base image, whose own tools need their versions
        /opt/ssd/bin/pip uninstall --yes "$package"
        (cd / && /opt/ssd/bin/python -c "import $package; print('$package of the base:', $package.__version__)")
    done
    ;;
code)
    touch README.md LICENSE # named in pyproject.toml
    /opt/ssd/bin/pip install --target build-tools --require-hashes --no-deps -r requirements/build.txt
    PYTHONPATH=build-tools /opt/ssd/bin/pip install --no-deps --no-build-isolation .
    rm -r build-tools
    mkdir -p /usr/share/sbom
    /opt/ssd/bin/python requirements/bill.py sbom > /usr/share/sbom/ssd.cdx.json
    ;;
esac

"""Requirements of tests that a machine may lack."""

import os
from importlib.util import find_spec
from typing import NoReturn

import pytest

from ssd_core.backends import FRAMEWORKS

INSTALLED_FRAMEWORKS = [name for name in FRAMEWORKS if find_spec(name) is not None]
"""Each has an environment of its own, that of `make test` or of `make test-mindspore`."""

PYTORCH_ALONE = ("ssd300_resnet50", "ssdlite320_mobilenet_v3")
"""Recipes whose networks the other framework refuses."""


def missing(name: str, reason: str) -> NoReturn:
    """Skip the test, or fail it where `name` is listed in SSD_REQUIRE, separated by commas."""
    if name in os.environ.get("SSD_REQUIRE", "").split(","):
        pytest.fail(f"SSD_REQUIRE lists {name}, but {reason}", pytrace=False)
    pytest.skip(reason)

"""What a test needs and a machine may lack."""

import os
from typing import NoReturn

import pytest


def missing(name: str, reason: str) -> NoReturn:
    """Skip the test, or fail it where `name` is listed in SSD_REQUIRE, separated by commas."""
    if name in os.environ.get("SSD_REQUIRE", "").split(","):
        pytest.fail(f"SSD_REQUIRE lists {name}, but {reason}", pytrace=False)
    pytest.skip(reason)

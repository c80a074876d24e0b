"""What every test here needs: docker, and the images of `make images`."""

import pytest

from components import images
from pipelines.execution.docker import check_image
from ssd_core.errors import SsdError
from tests.docker.restricted import MINDSPORE, TORCH
from tests.requirements import missing


@pytest.fixture(scope="session", autouse=True)
def built_images() -> None:
    """Skip, or fail where it is required, what needs docker and the images."""
    for image in (images.TOOLS, TORCH, MINDSPORE, images.LAUNCHER):
        try:
            check_image(image)
        except SsdError as error:
            missing("docker", str(error))

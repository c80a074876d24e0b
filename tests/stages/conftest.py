"""Outputs of real stages, made once."""

import pytest


@pytest.fixture(scope="session")
def evaluation_dir(trained_dir, bccd_shards, tmp_path_factory):
    """Return the output of `evaluate`."""
    from ssd_core.stages import evaluate

    out_dir = tmp_path_factory.mktemp("evaluation")
    evaluate.run({}, trained_dir, bccd_shards, out_dir, device="cpu")
    return out_dir

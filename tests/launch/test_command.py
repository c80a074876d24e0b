"""The rendered command runs like in a pod, with the variables of the Ascend operator."""

import os
import re
import subprocess
import sys
from pathlib import Path

from ssd_core.launch.command import train_command
from ssd_core.launch.manifests import node_command
from ssd_core.model_dir import read_model
from ssd_core.recipes import load_recipe
from ssd_core.recipes.overrides import override
from ssd_core.store import LocalDirectory
from tests.launch.conftest import make_request
from tests.store.s3_servers import free_port


def test_a_pod_of_two_processes_trains(bccd_shards: Path, tmp_path: Path) -> None:
    """The operator uses the variables of torchrun with other meanings."""
    recipe = load_recipe("demo")
    changes = ["train.steps=2", "train.batch_size=2", "train.optimizer.learning_rate=0.001"]
    section = override(recipe, changes).train.model_dump(mode="json")
    arguments = train_command(
        section, recipe.train.model_dump(mode="json"),
        data=str(bccd_shards), out=str(tmp_path / "out"), recipe="demo", device="cpu",
    )  # fmt: skip
    command = node_command(make_request("AscendJob", {"count": 2}, arguments=arguments, nodes=1))
    variables = {
        "RANK": "0",
        "WORLD_SIZE": "2",
        "LOCAL_WORLD_SIZE": "2",
        "LOCAL_RANK": "0,1",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(free_port()),
    }
    expanded = [re.sub(r"\$\((\w+)\)", lambda found: variables[found[1]], w) for w in command]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        expanded, env=os.environ | variables | {"PATH": path}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert read_model(LocalDirectory(tmp_path / "out")).description.step == 2
    assert '"learning_rate": 0.001' in (tmp_path / "out" / "invocation.json").read_text()
    assert '"world_size": 2' in (tmp_path / "out" / "train_log.jsonl").read_text()

"""Commands about a model, where they need more than the stage that they start."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

SSD = Path(sys.executable).with_name("ssd")


def test_a_model_outlives_its_recipe(trained_dir: Path, bccd_dir: Path, tmp_path: Path) -> None:
    config_path = Path(shutil.copytree(trained_dir / "model", tmp_path / "model")) / "config.json"
    config_path.write_text(json.dumps(json.loads(config_path.read_text()) | {"recipe": "lost"}))
    photo = bccd_dir / "JPEGImages" / "BloodImage_00002.jpg"
    words = [
        SSD,
        "predict",
        "--model",
        tmp_path,
        photo,
        "--score",
        "0.3",
        "--out",
        tmp_path / "out",
    ]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (
        "recipe 'lost' of the model is not known here: evaluate takes the defaults" in done.stderr
    )
    invocation = json.loads((tmp_path / "out" / "invocation.json").read_text())
    assert invocation["config"]["score_threshold"] == 0.3

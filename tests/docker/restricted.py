"""Components in containers with the restrictions of a hardened cluster."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from pipelines.placement import load_placement

ROOT = Path(__file__).parents[2]
TORCH, MINDSPORE = (load_placement(f"{name}-cpu").image for name in ("torch", "mindspore"))
STRANGER = 12345
"""A user id that exists in no image and on no machine."""
RESTRICTIONS = (
    *("--user", f"{STRANGER}:0", "--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL"),
    *("--security-opt", "no-new-privileges", "--network", "none"),
)

Done = subprocess.CompletedProcess[str]


def run_pipelines(*words: str) -> Done:
    """Run `python -m pipelines` with these arguments."""
    command = [sys.executable, "-m", "pipelines", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def run_component(
    name: str, image: str, out_dir: Path, *words: str, options: Sequence[str] = RESTRICTIONS
) -> Done:
    """Run one component with every restriction; the stranger may write its outputs."""
    open_to_all(out_dir)
    command = ("component", name, "--image", image, "--out", str(out_dir), *words)
    return run_pipelines(*command, "--", *options)


def open_to_all(folder: Path) -> Path:
    """Make a folder in which any user may write."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o777)
    return folder

"""Run all measurements one after the other, each in a process of its own.

Options are passed on to each script; `--images 200 --rounds 3` is a quick look.
"""

import subprocess
import sys

SCRIPTS = (
    "convert_arrow",
    "convert_decode_check",
    "convert_mindrecord",
    "coco_json",
    "scale",
    "readers",
    "augment",
    "loader",
    "matching",
    "postprocessing",
    "coco_evaluation",
    "checkpoint",
    "reading",
    "report",
    "startup",
    "training_step",
    "inference",
    "virtual_shards",
)


def main() -> int:
    """Return 1 if a script failed: its results differ from those of the peer."""
    commands = [[sys.executable, "-m", f"benchmarks.{name}", *sys.argv[1:]] for name in SCRIPTS]
    return int(any([subprocess.run(command, check=False).returncode for command in commands]))


if __name__ == "__main__":
    sys.exit(main())

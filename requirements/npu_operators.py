"""Write the operators of torch_npu into ssd_core: the data of `ssd doctor --audit npu`.

Usage: python requirements/npu_operators.py WHEEL > ssd_core/backends/torch/operators/npu.json

WHEEL is the file that `pip download --no-deps torch-npu==VERSION` brings. Two lists in it name
every operator that is registered for an NPU. The build of torch_npu generates them for its version
of torch from op_plugin_functions.yaml of Ascend/op-plugin. `aclnn` operators have a prebuilt
kernel, `compiled` ones are built for every new shape, `framework` ones compute nothing: memory,
views and copies. All others run on the host.
"""

import json
import re
import sys
import zipfile

import yaml

FOLDER = "torch_npu/csrc/aten/"
LISTS = ("npu_native_functions_by_codegen.yaml", "npu_native_functions.yaml")


def kind(entry: dict[str, object]) -> str:
    """Return how an operator is implemented."""
    if "op_api" in str(entry.get("impl_ns")) or entry.get("op_api"):
        return "aclnn"
    return "compiled" if entry.get("impl_ns") else "framework"


def main(wheel_path: str) -> None:
    """Print the lists of a wheel."""
    wheel = zipfile.ZipFile(wheel_path)
    version = dict(re.findall(r"(\w+) = '(.*)'", wheel.read("torch_npu/version.py").decode()))
    found: dict[str, set[str]] = {"aclnn": set(), "compiled": set(), "framework": set()}
    for path in LISTS:
        lists = yaml.safe_load(wheel.read(FOLDER + path))
        for entry in [*lists["supported"], *lists["symint"], *lists.get("quant", [])]:
            entry = {"func": entry} if isinstance(entry, str) else entry
            name, _, _ = entry["func"].partition("(")
            if not name.startswith("_cum"):  # parts of cummax and cummin, never called alone
                found[kind(entry)].add(name)
    found["compiled"] -= found["aclnn"]
    found["framework"] -= found["aclnn"] | found["compiled"]
    result = {
        "source": f"torch_npu {version['__version__']}, https://gitcode.com/ascend/pytorch",
        "commit": version["git_version"],
        "files": [FOLDER + name for name in LISTS],
        "licence": "BSD-3-Clause",
        "operators": {key: sorted(names) for key, names in found.items()},
    }
    print(json.dumps(result, indent=1))  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])

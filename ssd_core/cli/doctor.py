"""`ssd doctor`: the equipment of this machine, and the operators of a device."""

import platform
import resource
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from importlib.metadata import packages_distributions, version
from importlib.util import find_spec
from typing import Annotated

import typer

from ssd_core import __version__
from ssd_core.cli.options import Json, print_json
from ssd_core.errors import EXTRAS, UsageError, explain, one_line
from ssd_core.logs import format_count
from ssd_core.process.processor import count_processors, read_processor_name
from ssd_core.recipes import RECIPES, load_recipe

_MIN_SPACE = 10**9


def doctor(
    recipe: Annotated[
        str | None, typer.Argument(help="Recipe to audit.", show_default="all recipes")
    ] = None,
    audit: Annotated[
        str | None,
        typer.Option(
            metavar="DEVICE",
            help="Check instead whether DEVICE has all operators that recipes use.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Show versions, devices, limits and settings, and name the missing parts.

    With --audit, print the operators of torch that training and detector call, without the device:
    how it implements each, and which would be slow on it.

    Example: ssd doctor --audit npu ssd300_vgg16
    """
    if audit is not None:
        _audit(audit, [recipe] if recipe else list(RECIPES), as_json=as_json)
        return
    if recipe is not None:
        raise UsageError("a recipe is for --audit; add --audit npu")
    found, problems = {}, {}
    for name, describe in _CHECKS.items():
        try:
            found[name] = describe()
        except Exception as error:  # a broken part is a result
            found[name] = problems[name] = one_line(str(explain(error) or error))
    if as_json:
        print_json({"found": found, "problems": list(problems)})
    else:
        for name, text in found.items():
            print(f"{name:16} {'problem: ' if name in problems else ''}{text}")
    if problems:
        raise UsageError(f"{format_count(len(problems), 'problem')}: {', '.join(problems)}")


def _audit(device: str, names: list[str], *, as_json: bool) -> None:
    configs = {name: load_recipe(name).train for name in names}
    from ssd_core.backends.torch.audit import audit

    uses = {name: audit(device, config) for name, config in configs.items()}
    findings = [use for of_recipe in uses.values() for use in of_recipe if use.finding]
    if as_json:
        print_json({name: [asdict(use) for use in found] for name, found in uses.items()})
    else:
        for name, of_recipe in uses.items():
            print(f"{name} on {device}")
            for use in of_recipe:
                columns = f"  {use.part:19} {use.operator:33} {use.calls:5}  {use.implementation}"
                print(f"{columns}: {use.finding}" if use.finding else columns)
    if findings:
        raise UsageError(f"{format_count(len(findings), 'finding')} on {device}; see the table")
    if not as_json:
        print(f"{device} has all operators; none waits for the host or depends on values")


def _packages() -> str:
    found = packages_distributions()
    return ", ".join(
        f"{name} {version(found[name][0])}" if name in found else f"no {name} (extra '{extra}')"
        for name, extra in EXTRAS.items()
    )


def _device() -> str:
    from ssd_core.backends import FRAMEWORKS, open_backend

    framework = next(filter(find_spec, FRAMEWORKS), "torch")
    info = open_backend(framework, "auto").info
    return f"{info.device} ({info.name}), {info.precision}, {info.framework}"


def _space(path: str) -> str:
    free = shutil.disk_usage(path).free
    if free < _MIN_SPACE:
        raise UsageError(f"{path} has only {free / 1e6:.0f} MB left; free some, or set TMPDIR")
    return f"{path}, {free / 1e9:.1f} GB free"


def _open_files() -> str:
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 <= limit < 256:
        raise UsageError(f"at most {limit}; raise it with ulimit -n 1024")
    return f"at most {limit}"


def _store() -> str:
    from ssd_core.store.s3.settings import read_settings

    settings = read_settings()
    return f"{settings.endpoint}, region {settings.region or 'unknown'}"


_CHECKS: dict[str, Callable[[], str]] = {
    "ssd-core": lambda: f"{__version__}, Python {platform.python_version()}",
    "system": lambda: f"{platform.system()} {platform.release()} {platform.machine()}",
    "processor": lambda: f"{read_processor_name()}, {count_processors()} processors",
    "packages": _packages,
    "device": _device,
    "temporary files": lambda: _space(tempfile.gettempdir()),
    "shared memory": lambda: f"/dev/shm, {shutil.disk_usage('/dev/shm').free / 1e9:.1f} GB free",
    "open files": _open_files,
    "S3": _store,
}

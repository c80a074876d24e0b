"""The files for other programs that models are exported to, without importing a framework."""

from dataclasses import dataclass
from importlib.util import find_spec

from ssd_core.errors import UsageError, require_package, unknown_name

INPUT = "images"
OUTPUTS = ("boxes", "scores")
"""Names in formats that name them."""


@dataclass(frozen=True, slots=True)
class FileFormat:
    """One format; the EXPORTERS of `ssd_core/backends/<framework>/export.py` write it."""

    suffix: str
    packages: dict[str, tuple[str, ...]]
    """By framework that writes it, the first choice first: what it needs from our optional
    dependency `export`."""


FORMATS = {
    "onnx": FileFormat(
        ".onnx",
        {"torch": ("onnx", "onnxruntime", "onnxscript"), "mindspore": ("onnx", "onnxruntime")},
    ),
    "torchscript": FileFormat(".pt", {"torch": ()}),
    "mindir": FileFormat(".mindir", {"mindspore": ()}),
    "air": FileFormat(".air", {"mindspore": ()}),
    "ckpt": FileFormat(".ckpt", {"torch": (), "mindspore": ()}),
}


def check_writer(format_name: str, framework: str) -> None:
    """Raise UsageError unless a framework writes a format."""
    writers = FORMATS[format_name].packages
    if framework not in writers:
        raise UsageError(
            f"framework '{framework}' does not write format '{format_name}'; use --framework "
            f"{' or '.join(writers)}"
        )


def choose_framework(format_name: str, framework: str | None) -> str:
    """Return the framework that writes a format: the given one, else one that is installed.

    Raises:
        UsageError: the format is unknown, the framework does not write it, or a package is missing.
    """
    if format_name not in FORMATS:
        raise unknown_name("format", format_name, FORMATS)
    writers = FORMATS[format_name].packages
    if framework is None:
        framework = next(filter(find_spec, writers), next(iter(writers)))
    check_writer(format_name, framework)
    for package in (*writers[framework], framework):
        require_package(package)
    return framework

"""The packages of this environment."""

import re
from fnmatch import fnmatchcase
from importlib.metadata import PackageNotFoundError, requires, version

from ssd_core.errors import UsageError


def check_version(name: str) -> None:
    """Check, without importing it, that a package is installed in the version that we require.

    Raises:
        PackageNotFoundError: it is missing.
        UsageError: it has another version.
    """
    found, wanted = version(name), _find_version(name)
    if not fnmatchcase(found, wanted):
        raise UsageError(
            f"{name} {found} is installed here, but {wanted} is needed: "
            f"pip install '{name}=={wanted}'"
        )


def _find_version(name: str) -> str:
    """Return the version that our metadata requires, as a pattern; `*` if it names none."""
    try:
        entries = requires("ssd-core") or ()
    except PackageNotFoundError:  # a checkout on the path
        return "*"
    found = (re.match(rf"{name}==([\w.*]+)", entry) for entry in entries)
    return next((match[1] for match in found if match), "*")

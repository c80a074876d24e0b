"""Container images of the components; the tag is the version of this package."""

from ssd_core import __version__

TOOLS = f"ssd-on-kubeflow/tools:{__version__}"
"""Everything except a framework: configuration, conversion, reports."""

LAUNCHER = f"ssd-on-kubeflow/launcher:{__version__}"
"""The client that starts a job on several nodes and polls it."""

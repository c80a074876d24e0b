"""The images that the components run in; the tag is always the version of the product."""

from ssd_core import __version__

TOOLS = f"ssd-on-kubeflow/tools:{__version__}"
"""Everything but a framework: configuration, conversion, reports."""

LAUNCHER = f"ssd-on-kubeflow/launcher:{__version__}"
"""What starts a job over several nodes and follows it."""

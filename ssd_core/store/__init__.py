"""Directories on the local disk or in S3, behind one type: `Location`."""

from ssd_core.store.local import LocalDirectory, local_path
from ssd_core.store.location import Location

__all__ = ["LocalDirectory", "Location", "local_path"]

"""Where a data set comes from: files with names relative to a local folder or an object store."""

from ssd_core.data.sources.base import Source
from ssd_core.data.sources.folder import FolderSource
from ssd_core.data.sources.store import StoreSource
from ssd_core.store import Location


def open_source(uri: str) -> Source:
    """Return the source at `uri`: a folder, as a path or `file://`, or `s3://bucket/prefix`."""
    place = Location.parse(uri)
    return StoreSource(place) if place.local is None else FolderSource(place.local)

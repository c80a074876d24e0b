"""Arrow shards: Arrow IPC files, written from the image files and read without copies.

The same rows give the same bytes: fixed schema and order, no timestamps, no compression, one
writer. A reader maps a shard into memory and returns views of it.
"""

from dataclasses import fields

import pyarrow as pa

from ssd_core.structures import Annotations

SCHEMA = pa.schema(
    [
        ("image", pa.large_binary()),
        ("boxes", pa.list_(pa.list_(pa.float32(), 4))),
        ("labels", pa.list_(pa.int64())),
        ("areas", pa.list_(pa.float64())),
        ("is_crowd", pa.list_(pa.uint8())),
        ("is_difficult", pa.list_(pa.uint8())),
        ("box_ids", pa.list_(pa.int64())),
        ("image_id", pa.int64()),
        ("image_path", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
    ]
)
OBJECT_COLUMNS = [field.name for field in fields(Annotations)]
PLAIN_COLUMNS = ("image_id", "image_path", "width", "height")

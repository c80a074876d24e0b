"""The arrays of each backbone as docs/file-formats.md lists them."""

import re
from pathlib import Path

PAGE = (Path(__file__).parents[2] / "docs" / "file-formats.md").read_text()


def documented_shapes(backbone):
    """Return the shape of every array in the page's table of this backbone."""
    section = PAGE.partition(f"### Backbone `{backbone}`\n")[2].partition("\n#")[0]
    base = re.match(r"\nAs `(\w+)`", section)
    shapes = documented_shapes(base[1]) if base else {}
    for name, kind, text in re.findall(r"^\| `(.+)` \| (.+) \| (.+) \|$", section, re.MULTILINE):
        shape = tuple(int(number) for number in text.split(", "))
        shapes |= {
            "scale": {f"{name}.scale": shape},
            "convolution, no bias": {f"{name}.weight": shape},
            "convolution": {f"{name}.weight": shape, f"{name}.bias": shape[:1]},
            "convolution, norm": {f"{name}.conv.weight": shape}
            | {
                f"{name}.norm.{part}": shape[:1] for part in ("scale", "offset", "mean", "variance")
            },
        }[kind]
    return shapes

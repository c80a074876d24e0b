"""The arrays of each backbone as docs/file-formats.md lists them."""

import re
from pathlib import Path

PAGE = (Path(__file__).parents[2] / "docs" / "file-formats.md").read_text()


def documented_shapes(backbone):
    """Return the shape of every array in the page's table of this backbone."""
    section = PAGE.partition(f"### Backbone `{backbone}`\n")[2].partition("\n#")[0]
    base = re.match(r"\nAs `(\w+)`", section)
    shapes = documented_shapes(base[1]) if base else {}
    for names, kind, text in re.findall(r"^\| `(.+)` \| (.+) \| (.+) \|$", section, re.MULTILINE):
        shape = tuple(int(number) for number in text.split(", "))
        norm = {part: shape[:1] for part in ("scale", "offset", "mean", "variance")}
        arrays = {
            "scale": {"scale": shape},
            "norm": norm,
            "convolution, no bias": {"weight": shape},
            "convolution": {"weight": shape, "bias": shape[:1]},
            "convolution, norm": {"conv.weight": shape}
            | {f"norm.{part}": each for part, each in norm.items()},
        }[kind]
        for name in expand(names):
            shapes |= {f"{name}.{part}": each for part, each in arrays.items()}
    return shapes


def expand(names):
    """Return the names that a shell would make of braces: {cls,bbox} and {0..4}."""
    before, brace, rest = names.partition("{")
    if not brace:
        return [names]
    inner, _, after = rest.partition("}")
    first, dots, last = inner.partition("..")
    values = range(int(first), int(last) + 1) if dots else inner.split(",")
    return [f"{before}{value}{tail}" for value in values for tail in expand(after)]

"""One colour a class, the same in every picture and plot."""

_PALETTE = (
    "#e6194b",
    "#1f77d0",
    "#2ca02c",
    "#f58231",
    "#911eb4",
    "#00a3a3",
    "#c7a008",
    "#f032e6",
    "#b5651d",
    "#6b8e23",
)
"""Told apart on photographs, on white and on black."""

NUM_COLOURS = len(_PALETTE)
"""With more classes than this the colours repeat."""


def class_colour(label: int) -> str:
    """Return the colour of a class as `#rrggbb`; labels count from 1."""
    return _PALETTE[(label - 1) % NUM_COLOURS]

"""How often each image of a skewed data set is to be taken."""

from collections.abc import Iterable

import numpy as np

from ssd_core.structures import FloatArray, Record


def repeat_factors(records: Iterable[Record], threshold: float) -> FloatArray:
    """Return [N] how often to take each image, in units of one without a rare class.

    Repeat factor sampling (LVIS, Gupta et al. 2019): a class in a share f of the images has the
    factor max(1, sqrt(threshold / f)), an image the greatest factor of its classes. Crowds do not
    count.
    """
    objects = (record.annotations for record in records)
    present = [np.unique(each.labels[~each.is_crowd]) for each in objects]
    counts = np.bincount(np.concatenate([*present, [0]]))
    shares = np.maximum(counts, 1) / len(present)
    factors = np.maximum(1, np.sqrt(threshold / shares))
    return np.array([factors[classes].max(initial=1) for classes in present])

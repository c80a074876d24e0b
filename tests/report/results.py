"""Results of stages, as small as the report accepts them."""

from ssd_core.evaluation.coco import COCO_METRICS
from ssd_core.metrics import END_TO_END, PARTS

RUN = {"host": "node-1", "begun": "2026-01-31T09:05:00+00:00", "seconds": 61.2}


def evaluation(classes):
    return {
        "metrics": dict.fromkeys((*COCO_METRICS, "f1"), 0.5)
        | {"ap_small": None, "f1_threshold": 0.3},
        "intervals": {"ap": [0.4, 0.6125], "ap50": None},
        "image_set": "all",
        "images": 4,
        "skipped_images": 0,
        "objects": 9,
        "detections": 30,
        "classes": classes,
        "sizes": {"small": 2, "medium": 3, "large": 4},
        "thresholds": {name: [0.2, 0.4] for name in ("threshold", "precision", "recall", "f1")},
        "calibration": [{"score": 0.45, "precision": 0.5, "detections": 6}],
        "min_score": 0.5,
        "worst_images": [],
        "errors": {"missed": {"count": 3, "ap50_cost": 0.125}},
        "confusion": {"classes": ["c1", "background"], "matrix": [[2, 1], [3, 0]]},
        "model": {"recipe": "demo", "step": 1200},
        "run": RUN,
        "data": {"name": "cells", "split": "val"},
        "environment": {"device_name": "chip"},
    }


def class_row(label, ap, objects=3):
    curve = None if ap is None else [ap] * 101
    return {"label": label, "name": f"c{label}", "objects": objects, "ap": ap, "ap50": ap} | {
        "precision_at_recall": curve,
        "sizes": {"small": objects, "medium": 0, "large": 0},
        "missed": 1,
        "false": 2,
    }


def benchmark():
    def row(batch_size, rate):
        times = {"p50": 2.0 * batch_size, "p90": 3.0, "p99": 4.0}
        return {
            "batch_size": batch_size,
            "images_per_second": rate,
            "milliseconds": dict.fromkeys((*PARTS, END_TO_END), times),
            "warm_up": {"batches": 3, "is_stable": False},
        }

    return {
        "metrics": {"images_per_second": 200.0, "latency_ms_p50": 9.0, "latency_ms_p99": 12.0},
        "batches": [row(1, 90.0), row(4, 200.0)],
        "images": {"origin": "generated", "count": 8, "mean_bytes": 1000},
        "run": RUN,
        "environment": {"device_name": "Intel(R) Xeon(R) Gold CPU @ 2.70GHz"},
    }

"""Oracles of the evaluation: the definition of IoU, and COCO files for pycocotools."""


def make_results(image_ids, found, classes):
    """Return detections in the format of pycocotools."""
    categories = {info.label: info.category_id for info in classes}
    return [
        {"image_id": image_id, "category_id": categories[label], "score": score}
        | {"bbox": [x0, y0, x1 - x0, y1 - y0]}
        for image_id, image in zip(image_ids, found, strict=True)
        for (x0, y0, x1, y1), label, score in zip(
            image.boxes.tolist(), image.labels.tolist(), image.scores.tolist(), strict=True
        )
    ]


def overlap(a, b):
    """Return the IoU of two boxes by its definition."""
    sides = [min(a[k + 2], b[k + 2]) - max(a[k], b[k]) for k in (0, 1)]
    shared = max(0, sides[0]) * max(0, sides[1])
    areas = ((box[2] - box[0]) * (box[3] - box[1]) for box in (a, b))
    return shared / (sum(areas) - shared)


def make_ground_truth(image_ids, truths, classes):
    """Return a data set in the format of pycocotools."""
    categories = {info.label: info.category_id for info in classes}
    rows = []
    for image_id, truth in zip(image_ids, truths, strict=True):
        columns = (truth.boxes.tolist(), truth.labels, truth.areas, truth.is_crowd)
        for (x0, y0, x1, y1), label, area, is_crowd in zip(*columns, strict=True):
            rows.append(
                {"id": len(rows) + 1, "image_id": image_id, "iscrowd": int(is_crowd)}
                | {"category_id": categories[int(label)], "area": float(area)}
                | {"bbox": [x0, y0, x1 - x0, y1 - y0]}
            )
    return {
        "info": {},
        "images": [{"id": image_id} for image_id in image_ids],
        "annotations": rows,
        "categories": [{"id": info.category_id, "name": info.name} for info in classes],
    }

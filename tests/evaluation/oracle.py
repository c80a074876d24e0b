"""Annotations as the content of a COCO file, for pycocotools, the oracle of the evaluation."""


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

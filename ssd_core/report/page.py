"""HTML pages without network or scripts, and model cards; every text is escaped."""

import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from ssd_core.metrics import METRICS, group_metrics
from ssd_core.model_dir import ModelDescription
from ssd_core.report.accuracy import class_metrics, describe_images, describe_intervals

_TEMPLATES_DIR = Path(__file__).parent / "templates"


def render_page(name: str, content: Mapping[str, Any]) -> str:
    """Render the template `<name>.j2`.

    The content of a page has `title` (text), `subtitle` (texts), `headline` (value, title, note),
    and the parts of the template; a part that is None or empty is left out.
    """
    is_html = name.endswith(".html")
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES_DIR),
        autoescape=is_html,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=not is_html,
    )
    environment.filters |= {
        "figure": _figure,
        "percent": percent,
        "cell": _cell,
        "path": _path,
        "quote": shlex.quote,
    }
    return environment.get_template(f"{name}.j2").render(content)


def write_card(
    title: str, uri: str, description: ModelDescription, results: Mapping[str, Mapping[str, Any]]
) -> str:
    """Return the card; `results` are those of evaluate, and of benchmark if there is one."""
    evaluate, benchmark = results["evaluate"], results.get("benchmark")
    content = {
        "title": title,
        "uri": uri,
        "model": description,
        "evaluate": evaluate,
        "images": describe_images(evaluate),
        "intervals": describe_intervals(evaluate),
        "benchmark": benchmark,
        "accuracy": group_metrics(evaluate["metrics"]),
        "class_metrics": class_metrics(evaluate),
        "speed": group_metrics(benchmark["metrics"]) if benchmark else {},
        "rate": METRICS["images_per_second"],
        "environment": (benchmark or evaluate)["environment"],
    }
    return render_page("model_card.md", content)


def percent(part: float, whole: float) -> str:
    """Format a share; a dash without a whole, and never 0 % for a positive share."""
    if not whole:
        return "–"
    share = 100 * part / whole
    if 0 < share < 0.1:
        return "< 0.1 %"
    return f"{share:.{1 if 0 < share < 10 else 0}f} %"


def _figure(value: float | None, digits: int = 3) -> str:
    """Format a number; a dash for None, which had nothing to measure."""
    return "–" if value is None else f"{value:,.{digits}f}"


def _path(text: str) -> Markup:
    """Return a path that is broken after slashes where a line is too short."""
    return Markup("/<wbr>").join(text.split("/"))


def _cell(text: object) -> str:
    """Escape a text for one cell of a Markdown table: class names may contain anything."""
    return re.sub(r"([\\`*_{}\[\]<>|#!~&])", r"\\\1", " ".join(str(text).split()))

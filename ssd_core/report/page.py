"""HTML pages: no network, no script, every text escaped by the template engine."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

_TEMPLATES_DIR = Path(__file__).parent / "templates"


def render_page(name: str, content: Mapping[str, Any]) -> str:
    """Return the page that the template `<name>.html.j2` makes.

    Args:
        name: `report` or `inspect`.
        content: `title` (text), `subtitle` (texts), `headline` (value, name, note), and the parts
            that the template names; a part that is None or empty is left out.
    """
    return _environment(autoescape=True).get_template(f"{name}.html.j2").render(content)


def render_text(
    name: str, content: Mapping[str, Any], filters: Mapping[str, Callable[..., str]]
) -> str:
    """Return the text that the template `<name>.j2` makes; its filters do the escaping."""
    environment = _environment(autoescape=False)
    environment.filters.update(filters)
    return environment.get_template(f"{name}.j2").render(content)


def _environment(*, autoescape: bool) -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES_DIR),
        autoescape=autoescape,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=not autoescape,
    )
    environment.filters |= {"figure": _figure, "percent": percent}
    return environment


def percent(part: float, whole: float) -> str:
    """Write a share; a dash where there is no whole, and never 0 % for something."""
    if not whole:
        return "–"
    share = 100 * part / whole
    if 0 < share < 0.1:
        return "< 0.1 %"
    return f"{share:.{1 if 0 < share < 10 else 0}f} %"


def _figure(value: float | None, digits: int = 3) -> str:
    """Write a number; a dash stands for nothing to measure."""
    return "–" if value is None else f"{value:,.{digits}f}"

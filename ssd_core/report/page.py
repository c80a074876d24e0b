"""HTML pages without network or scripts; the template engine escapes every text."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

_TEMPLATES_DIR = Path(__file__).parent / "templates"


def render_page(name: str, content: Mapping[str, Any]) -> str:
    """Render the template `<name>.html.j2`.

    Args:
        name: `report`, `inspect` or `findings`.
        content: `title` (text), `subtitle` (texts), `headline` (value, title, note), and the parts
            of the template; a part that is None or empty is left out.
    """
    return _environment(autoescape=True).get_template(f"{name}.html.j2").render(content)


def render_text(
    name: str, content: Mapping[str, Any], filters: Mapping[str, Callable[..., str]]
) -> str:
    """Render the template `<name>.j2`, whose filters do the escaping."""
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

"""Chromium, which shows a page as readers see it."""

import html
import shutil
import subprocess

import numpy as np
from PIL import Image

from tests.requirements import missing


def in_frame(page, width="100vw"):
    """Return a page that shows another one as Kubeflow does, in a frame without an origin."""
    frame = f'<iframe sandbox="allow-scripts" srcdoc="{html.escape(page)}"></iframe>'
    style = f"body {{margin: 0}} iframe {{border: 0; width: {width}; height: 100vh}}"
    return f'<!doctype html><meta charset="utf-8"><style>{style}</style>{frame}'


def open_page(path, *options):
    """Open a page without a network, and return what its console shows."""
    browser = shutil.which("chromium-headless-shell") or shutil.which("chromium")
    if browser is None:
        missing("chromium", "no chromium here")
    fixed = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
    # Frames of other processes would stay empty.
    fixed += ["--disable-features=IsolateSandboxedIframes", "--enable-logging=stderr"]
    fixed += ["--window-size=1000,8000", "--host-resolver-rules=MAP * ~NOTFOUND"]
    fixed += [f"--user-data-dir={path.parent / 'profile'}"]
    command = [browser, *fixed, *options, path.as_uri()]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return [line for line in done.stderr.splitlines() if "CONSOLE" in line]


def take_screenshot(path, *options):
    """Return the pixels of a page."""
    screenshot = path.with_suffix(".png")
    assert open_page(path, f"--screenshot={screenshot}", *options) == []
    return np.asarray(Image.open(screenshot).convert("RGB"))

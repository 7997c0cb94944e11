"""Draw docs/report.png, the head of a report: ``bridges-tabular compare --out RUN && python docs/screenshot.py RUN``.

Needs chromium (its path in the variable CHROMIUM, where it is not found) and playwright.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

# what a reader sees of a page that is many times as long
SHOWN = ("scores", "calibration", "distributions")
WIDTH, SCALE = 1180, 1.25


def draw(run: Path, path: Path) -> None:
    """Write the picture of the report in the folder of a run."""
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": WIDTH, "height": 900}, device_scale_factor=SCALE)
        page.goto((run / "report.html").resolve().as_uri(), timeout=120_000)
        hidden = ", ".join(f":not([data-section={key}])" for key in SHOWN).replace(", ", "")
        page.evaluate(
            f"""document.querySelectorAll('h2{hidden}').forEach((h) => {{ h.parentElement.style.display = 'none' }})"""
        )
        page.evaluate("dispatchEvent(new Event('beforeprint'))")
        page.wait_for_timeout(5_000)
        page.screenshot(path=path, full_page=True)
        browser.close()
    Image.open(path).convert("RGB").quantize(128).save(path, optimize=True)


if __name__ == "__main__":
    draw(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else Path(__file__).with_name("report.png"))

"""The report in a real browser: Debian's chromium, driven by playwright."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bridges_tabular.experiments import compare

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
EVIL = "<script>alert(1)</script>"
PHONE = {"width": 390, "height": 844}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium: apt-get install chromium, or set CHROMIUM"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of two tables and three models with hostile names."""
    folder = tmp_path_factory.mktemp("report")
    rng = np.random.default_rng(0)
    size = rng.uniform(1, 5, 150)
    tables = []
    for name in ("homes", "flats <b>"):
        frame = pd.DataFrame(
            {EVIL: size, "idle": rng.normal(size=150), "y<img src=x>": 10 * size + rng.normal(size=150)}
        )
        frame.to_csv(folder / f"{name}.csv", index=False)
        tables.append({"source": str(folder / f"{name}.csv"), "target": "y<img src=x>"})
    block = {"engine": "xgboost", "n_estimators": 6, "n_jobs": 1}
    models = {
        "points": block | {"scheme": "least_squares", "calibration": "none"},
        "bins": block | {"scheme": "soft", "n_bins": 8},
        EVIL: {"engine": "tabular", "scheme": "end_to_end", "n_bins": 8, "max_epochs": 3},
    }
    experiment = {"tables": tables, "split": {"test": 0.3, "seeds": [0, 1]}, "models": models}
    compare(experiment, quiet=True).save(folder / "run")
    return folder / "run" / "report.html"


@pytest.fixture
def visit(browser: Any, report: Path) -> Iterator[Callable[..., Any]]:
    """Open the report with certain settings; afterwards, nothing may have gone wrong on any page."""
    contexts, wrong = [], []

    def open_page(**settings: Any) -> Any:
        context = browser.new_context(**({"viewport": {"width": 1280, "height": 900}} | settings))
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: wrong.append(message.text) if message.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("dialog", lambda dialog: (wrong.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.on("request", lambda request: None if request.url == report.as_uri() else wrong.append(request.url))
        page.goto(report.as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert wrong == []


def until(page: Any, expression: str) -> None:
    """Wait for something to come true; playwright's own way needs what the page's security policy forbids."""
    deadline = time.monotonic() + 20
    while not page.evaluate(expression):
        assert time.monotonic() < deadline, f"never true: {expression}"
        time.sleep(0.05)


def drawn(page: Any) -> int:
    return int(page.evaluate("document.querySelectorAll('.plot .main-svg').length / 3"))


def draw_all(page: Any) -> None:
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    until(page, "[...document.querySelectorAll('.plot')].every((place) => place.querySelector('.main-svg'))")


def test_every_plot_is_drawn(visit: Callable[..., Any]) -> None:
    page = visit()
    n = page.locator(".plot").count()
    assert n > 30
    # those far down wait until somebody scrolls there
    until(page, "document.querySelector('.plot .main-svg')")
    assert drawn(page) < n
    page.get_by_role("link", name="Learning").click()
    until(page, "document.querySelector('[aria-label^=\"Learning curves\"] .main-svg')")
    draw_all(page)
    empty = page.evaluate(
        """[...document.querySelectorAll('.plot')].filter((place) =>
            !place.querySelector('.scatterlayer path, .scatterlayer .point, .bars path')).map((p) => p.ariaLabel)"""
    )
    assert empty == []


def test_names_are_shown_as_text(visit: Callable[..., Any]) -> None:
    page = visit()
    draw_all(page)
    assert page.locator("img").count() == 0
    assert page.get_by_role("button", name=EVIL).first.is_visible()
    titles = page.evaluate("[...document.querySelectorAll('.plot text')].map((text) => text.textContent)")
    assert any("y<img src=x>" in title for title in titles)
    assert EVIL[:17] + "…" in titles


@pytest.mark.slow
def test_tabs_show_one_panel_and_obey_the_keyboard(visit: Callable[..., Any]) -> None:
    page = visit()
    assert page.locator("#t0-scores").is_visible()
    assert not page.locator("#t1-scores").is_visible()
    page.get_by_role("tab", name="flats <b>").click()
    assert page.locator("#t1-scores").is_visible()
    assert not page.locator("#t0-scores").is_visible()
    # the links of the bar follow the table that is shown
    page.get_by_role("link", name="Calibration").click()
    until(page, "Math.abs(document.getElementById('t1-calibration').getBoundingClientRect().top) < 300")
    tab = page.locator("#t1-kind-tab0")
    tab.focus()
    page.keyboard.press("ArrowRight")
    assert page.locator("#t1-kind-tab1").get_attribute("aria-selected") == "true"
    assert page.locator("#t1-kind-panel1").is_visible()
    assert not page.locator("#t1-kind-panel0").is_visible()
    until(page, "document.querySelector('#t1-kind-panel1 .plot .main-svg')")


@pytest.mark.slow
def test_hovering_names_the_row(visit: Callable[..., Any]) -> None:
    page = visit()
    plot = page.locator('[aria-label="Predicted against true values of points"]').first
    plot.scroll_into_view_if_needed()
    until(page, "document.querySelector('[aria-label=\"Predicted against true values of points\"] .main-svg')")
    point = plot.locator(".scatterlayer .points path").first
    box = point.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, steps=4)
    page.wait_for_selector(".hoverlayer .hovertext")
    assert "row " in page.locator(".hoverlayer .hovertext").first.text_content()


@pytest.mark.slow
def test_a_model_can_be_hidden_everywhere(visit: Callable[..., Any]) -> None:
    page = visit()
    draw_all(page)
    visible = """(document.querySelector('[aria-label="PIT histogram"]').data
        .filter((trace) => trace.name === 'bins' && trace.visible).length)"""
    assert page.evaluate(visible) == 1
    cards = page.locator(".card", has=page.locator('[aria-label="Predicted against true values of bins"]'))
    assert cards.first.is_visible()
    page.get_by_role("button", name="bins").click()
    assert page.evaluate(visible) == 0
    assert not cards.first.is_visible()
    page.get_by_role("button", name="bins").click()
    assert page.evaluate(visible) == 1
    assert cards.first.is_visible()


def test_it_is_usable_on_a_phone(visit: Callable[..., Any]) -> None:
    page = visit(viewport=PHONE, has_touch=True, is_mobile=True, device_scale_factor=2)
    draw_all(page)
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    wide = page.evaluate(
        """[...document.querySelectorAll('.plot')].filter((place) => place.offsetParent)
            .filter((place) => place.getBoundingClientRect().right > innerWidth
                || place.getBoundingClientRect().width < 250).map((place) => place.ariaLabel)"""
    )
    assert wide == []
    small = page.evaluate(
        """[...document.querySelectorAll('p, td, th, dd')]
            .filter((text) => parseFloat(getComputedStyle(text).fontSize) < 12).length"""
    )
    assert small == 0
    page.get_by_role("tab", name="flats <b>").tap()
    assert page.locator("#t1-scores").is_visible()


def contrast(page: Any, selector: str) -> float:
    """Contrast ratio of the text of an element to the page (WCAG 2)."""
    colors = page.evaluate(
        """(selector) => [[document.querySelector(selector), "color"], [document.body, "backgroundColor"]]
            .map(([element, part]) => getComputedStyle(element)[part].match(/[0-9.]+/g).slice(0, 3).map(Number))""",
        selector,
    )
    linear = [
        [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in np.array(rgb) / 255] for rgb in colors
    ]
    lights = sorted(0.2126 * r + 0.7152 * g + 0.0722 * b for r, g, b in linear)
    return float((lights[1] + 0.05) / (lights[0] + 0.05))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_both_colour_schemes_are_readable(visit: Callable[..., Any], scheme: str) -> None:
    page = visit(color_scheme=scheme)
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (background == "rgb(255, 255, 255)") == (scheme == "light")
    for selector in ("h1", "p", ".soft", "thead th", "td", ".bar nav a"):
        assert contrast(page, selector) > 4.5, selector
    until(page, "document.querySelector('.plot .main-svg text')")
    before = page.evaluate("document.querySelector('.plot .xtick text').style.fill")
    page.emulate_media(color_scheme="light" if scheme == "dark" else "dark")
    until(page, f"document.querySelector('.plot .xtick text').style.fill !== {before!r}")


@pytest.mark.slow
def test_without_scripts_everything_but_the_plots_is_there(visit: Callable[..., Any]) -> None:
    page = visit(java_script_enabled=False)
    assert page.locator("#t0-scores").is_visible()
    assert page.locator("#t1-scores").is_visible()

"""The report in a real browser: nothing fetched, nothing broken, from a phone to paper."""

from __future__ import annotations

import base64
import importlib.util
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from e2e.axe import check_accessible
from secateur.reporting.report import report

pytestmark = [pytest.mark.browser, pytest.mark.slow]

CHROMIUM = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)
DRIVER = shutil.which("chromedriver")
FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-dev-shm-usage", "--disable-background-networking", "--disable-component-update"),
    *("--disable-sync", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"),
)
KINDS = ("photos", "many", "regression", "troubled", "hostile")
WIDTHS = (390, 768, 1280)
SECTIONS = (
    *("asked", "result", "stages", "notes", "layers", "cuts", "training", "robustness", "mistakes"),
    *("samples", "data", "again", "environment"),
)


BEYOND_THE_EDGE = """
const held = (one) => one.closest('.scroll, pre, .unseen, .skip, svg');
return [...document.body.querySelectorAll('*')]
  .filter((one) => !held(one) && one.getBoundingClientRect().right > innerWidth + 1)
  .map((one) => one.outerHTML.slice(0, 80));
"""
LOST_LINKS = """
return [...document.querySelectorAll('a[href]')]
  .filter((one) => !document.querySelector(one.hash)).length;
"""
UNPRINTED = """
return [...document.querySelectorAll('.panel, details > *')]
  .filter((one) => !one.offsetHeight).length;
"""
# The contrast ratio of WCAG 2, of every element with text of its own against what is behind it.
POOR_CONTRAST = """
const linear = (v) => (v / 255 <= 0.03928 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4);
const light = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
const pixel = new OffscreenCanvas(1, 1).getContext('2d', {willReadFrequently: true});
const rgba = (text) => {
  pixel.clearRect(0, 0, 1, 1);
  pixel.fillStyle = text;
  pixel.fillRect(0, 0, 1, 1);
  return [...pixel.getImageData(0, 0, 1, 1).data];
};
const ground = (one) => {
  for (; one; one = one.parentElement) {
    const colour = rgba(getComputedStyle(one).backgroundColor);
    if (colour[3] > 250) return colour;
  }
};
const poor = [];
for (const one of document.querySelectorAll('main *')) {
  const speaks = [...one.childNodes].some((child) => child.nodeType === 3 && child.data.trim());
  if (!speaks || !one.checkVisibility() || one.closest('title, desc, script, .unseen')) continue;
  const style = getComputedStyle(one);
  const front = light(rgba(one instanceof SVGElement ? style.fill : style.color));
  const back = light(ground(one));
  const contrast = (Math.max(front, back) + 0.05) / (Math.min(front, back) + 0.05);
  if (contrast < 4.5) poor.push([contrast.toFixed(2), one.outerHTML.slice(0, 80)]);
}
return poor;
"""


@pytest.fixture(scope="module")
def pages(tmp_path_factory) -> dict[str, Path]:
    source = Path(__file__).parents[1] / "unit" / "reporting" / "runs.py"
    spec = importlib.util.spec_from_file_location("runs", source)
    assert spec is not None
    assert spec.loader is not None
    runs = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(runs)
    made = {
        "photos": runs.classification(),
        "many": runs.classification(100, 200),
        "regression": runs.regression(),
        "troubled": runs.troubled(),
        "hostile": runs.hostile("<script>document.title='taken'</script>" + "long" * 30),
    }
    # Eleven rows that are right in 0, 10, ... 100 of 100 cases have every shade of both kinds.
    every_shade = tuple(
        tuple(
            10 * row if row == column else 100 - 10 * row if column == (row + 1) % 11 else 0
            for column in range(11)
        )
        for row in range(11)
    )
    stage = made["troubled"].stages[0]
    shaded = stage.metrics.model_copy(update={"confusion": every_shade, "per_class": None})
    made["shades"] = made["troubled"].model_copy(
        update={"stages": (stage.model_copy(update={"metrics": shaded}),)}
    )
    folder = tmp_path_factory.mktemp("pages")
    return {name: report(run, folder / f"{name}.html") for name, run in made.items()}


@pytest.fixture(scope="module")
def browser(tmp_path_factory) -> Iterator[Any]:
    if CHROMIUM is None or DRIVER is None:
        pytest.skip("no Chromium with its driver is installed (chromium, chromium-driver)")
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    service = webdriver.ChromeService(executable_path=DRIVER)
    driver = webdriver.Chrome(options=options, service=service)
    yield driver
    driver.quit()


def show(browser: Any, page: Path, width: int = 1280, *, dark: bool = False) -> None:
    for kind in ("browser", "performance"):
        browser.get_log(kind)
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    still = {"name": "prefers-reduced-motion", "value": "reduce"}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme, still]})
    browser.get(page.as_uri())


def asked_for(browser: Any) -> list[str]:
    """Return the address of everything that the page requested, and not the browser's own."""
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    return [
        event["params"]["request"]["url"]
        for event in events
        if event["method"] == "Network.requestWillBeSent"
        and not event["params"]["request"]["url"].startswith("chrome://")
    ]


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_page_is_quiet_and_fits(browser, pages, kind, width):
    show(browser, pages[kind], width)
    assert browser.get_log("browser") == []
    fetched = [url for url in asked_for(browser) if not url.startswith("data:")]
    assert fetched == [pages[kind].as_uri()]
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    assert browser.execute_script("return document.title") != "taken"
    assert browser.execute_script(BEYOND_THE_EDGE) == []


@pytest.mark.parametrize(
    "width", [WIDTHS[0], *(pytest.param(w, marks=pytest.mark.long) for w in WIDTHS[1:])]
)
@pytest.mark.parametrize("kind", KINDS)
def test_a_page_is_accessible(browser, pages, kind, width):
    show(browser, pages[kind], width)
    check_accessible(browser)


def test_a_dot_speaks_and_lights_its_row(browser, pages):
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.by import By

    show(browser, pages["photos"])
    dot = browser.find_elements(By.CSS_SELECTOR, "#stages .dot.after")[0]
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", dot)
    tip = browser.find_element(By.ID, "tip")
    ActionChains(browser).move_to_element(dot).perform()
    assert tip.text.startswith(dot.get_attribute("data-name"))
    lit = browser.find_elements(By.CSS_SELECTOR, "tr.lit th")
    assert [one.text for one in lit] == [dot.get_attribute("data-name")]


def test_a_page_is_light(pages):
    for page in pages.values():
        assert page.stat().st_size < 2_000_000


def test_all_sections_are_there_and_their_links_lead_to_them(browser, pages):
    show(browser, pages["photos"])
    seen = browser.execute_script(
        "return arguments[0].filter((key) => document.getElementById(key)?.offsetHeight > 60)",
        list(SECTIONS),
    )
    assert seen == list(SECTIONS)
    assert browser.execute_script(LOST_LINKS) == 0


@pytest.mark.parametrize("kind", ["photos", "many"])
def test_the_matrix_switches_by_mouse_and_by_key(browser, pages, kind):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    show(browser, pages[kind])

    def shown() -> list[str]:
        panels = browser.find_elements(By.CSS_SELECTOR, ".panel")
        return [one.get_attribute("class").split("-")[-1] for one in panels if one.is_displayed()]

    assert shown() == ["after"]
    label = browser.find_element(By.CSS_SELECTOR, "label[for=matrix-before]")
    browser.execute_script(
        "arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", label
    )
    label.click()
    assert shown() == ["before"]
    browser.switch_to.active_element.send_keys(Keys.ARROW_RIGHT)
    assert shown() == ["after"]
    browser.switch_to.active_element.send_keys(Keys.ARROW_LEFT)
    assert shown() == ["before"]
    assert browser.get_log("browser") == []


def test_a_cell_of_a_large_matrix_tells_what_it_is(browser, pages):
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.by import By

    show(browser, pages["many"])
    ground = browser.find_element(By.CSS_SELECTOR, ".panel-after .ground")
    browser.execute_script(
        "arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", ground
    )
    tip = browser.find_element(By.ID, "tip")
    assert not tip.is_displayed()
    # The middle of 100 classes lies between 49 and 50; a little on, it is the cell (50, 50).
    ActionChains(browser).move_to_element_with_offset(ground, 3, 3).perform()
    assert tip.is_displayed()
    assert tip.text.startswith("species 050, found: ")
    ActionChains(browser).move_to_element_with_offset(ground, -3, 3).perform()
    assert tip.text.startswith("species 050 taken for species 049: ")
    ActionChains(browser).move_to_element(
        browser.find_element(By.CSS_SELECTOR, "#again h2")
    ).perform()
    assert not tip.is_displayed()


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_words_stand_out_from_their_ground(browser, pages, dark):
    for kind in ("photos", "troubled", "shades"):
        show(browser, pages[kind], dark=dark)
        dim = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
        assert (sum(map(int, dim[4:-1].split(","))) < 128) is dark
        assert browser.execute_script(POOR_CONTRAST) == []


def test_paper_shows_both_matrices_and_what_was_folded(browser, pages):
    show(browser, pages["many"])
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    browser.execute_script("dispatchEvent(new Event('beforeprint'))")
    assert browser.execute_script(UNPRINTED) == 0
    assert (
        browser.execute_script("return getComputedStyle(document.querySelector('.tall')).maxHeight")
        == "none"
    )
    browser.execute_script("dispatchEvent(new Event('afterprint'))")
    assert browser.execute_script("return document.querySelectorAll('details[open]').length") == 0
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    printed = browser.execute_cdp_cmd("Page.printToPDF", {"printBackground": True})
    assert base64.b64decode(printed["data"]).startswith(b"%PDF")


def test_the_page_works_without_scripts(browser, pages):
    from selenium.webdriver.common.by import By

    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        show(browser, pages["photos"])
        browser.find_element(By.CSS_SELECTOR, "label[for=matrix-before]").click()
        assert browser.find_element(By.CSS_SELECTOR, ".panel-before").is_displayed()
        assert not browser.find_element(By.CSS_SELECTOR, ".panel-after").is_displayed()
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})

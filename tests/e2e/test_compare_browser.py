"""The page of a comparison in a browser: plots that switch, dots that speak, a sorted table."""

from __future__ import annotations

import pytest

from e2e.axe import check_accessible
from e2e.test_report_browser import (
    BEYOND_THE_EDGE,
    LOST_LINKS,
    POOR_CONTRAST,
    WIDTHS,
    asked_for,
    browser,
    show,
)
from secateur.reporting.compared import page
from secateur.reporting.several import entries, render
from unit.reporting.contests import contest
from unit.reporting.runs import classification

pytestmark = [pytest.mark.browser, pytest.mark.slow]
__all__ = ["browser"]


@pytest.fixture(scope="module")
def comparison(tmp_path_factory):
    return page(contest(), tmp_path_factory.mktemp("comparison"))


def shown(found, selector: str, key: str) -> list[str]:
    from selenium.webdriver.common.by import By

    every = found.find_elements(By.CSS_SELECTOR, selector)
    return [one.get_attribute(f"data-{key}") for one in every if one.is_displayed()]


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_the_page_is_quiet_fits_and_can_be_read(browser, comparison, width, dark):
    show(browser, comparison, width, dark=dark)
    assert browser.get_log("browser") == []
    fetched = [url for url in asked_for(browser) if not url.startswith("data:")]
    assert fetched == [comparison.as_uri()]
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    for script in (BEYOND_THE_EDGE, POOR_CONTRAST):
        assert browser.execute_script(script) == []
    assert browser.execute_script(LOST_LINKS) == 0
    check_accessible(browser)


def test_the_plot_switches_and_its_dots_speak(browser, comparison):
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.by import By

    show(browser, comparison)
    assert shown(browser, ".pareto", "axis") == ["time-onnxruntime-1"]
    label = browser.find_element(By.CSS_SELECTOR, "label[for=axis-bytes]")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", label)
    label.click()
    assert shown(browser, ".pareto", "axis") == ["bytes"]
    tip = browser.find_element(By.ID, "tip")
    assert not tip.is_displayed()
    dots = browser.find_elements(By.CSS_SELECTOR, ".dot[data-name=half]")
    dot = next(one for one in dots if one.is_displayed())
    ActionChains(browser).move_to_element(dot).perform()
    assert tip.text == "half: 80.0 % at 19.5 KiB; nobody beats it"
    assert shown(browser, "tr.lit", "name") == ["half"]
    browser.execute_script("arguments[0].focus(); arguments[0].blur()", dot)
    assert not tip.is_displayed()


def test_a_title_sorts_its_column_and_what_failed_stays_last(browser, comparison):
    from selenium.webdriver.common.by import By

    show(browser, comparison)
    title = browser.find_element(By.CSS_SELECTOR, ".contest thead button")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", title)
    for worst_first in (False, True):
        title.click()
        names = shown(browser, "tr[data-name]", "name")
        assert names[-1] == "broken"
        assert names.index("half") == (0 if worst_first else 3)


def test_without_scripts_every_plot_is_there(browser, comparison):
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        show(browser, comparison)
        assert len(shown(browser, ".pareto", "axis")) == 8
        assert shown(browser, "#axes", "none") == []
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


@pytest.mark.parametrize("width", WIDTHS)
def test_runs_side_by_side_are_quiet_fit_and_sort(browser, tmp_path, width):
    from selenium.webdriver.common.by import By

    first, other = classification(), classification(layers=8)
    made = entries([tmp_path / "one", tmp_path / "two"], [first, other])
    (tmp_path / "runs.html").write_text(render(made), encoding="utf-8")
    show(browser, tmp_path / "runs.html", width)
    assert browser.get_log("browser") == []
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    for script in (BEYOND_THE_EDGE, POOR_CONTRAST):
        assert browser.execute_script(script) == []
    assert browser.execute_script(LOST_LINKS) == 0
    check_accessible(browser)
    title = browser.find_element(By.CSS_SELECTOR, ".contest thead button")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", title)
    title.click()
    assert sorted(shown(browser, "tr[data-name]", "name")) == ["one", "two"]

"""The page to try a model on, in a browser: choose, drop, film, fill in, and see two answers."""

from __future__ import annotations

import base64

import numpy as np
import pytest
from PIL import Image

from e2e.axe import check_accessible
from e2e.test_report_browser import BEYOND_THE_EDGE, POOR_CONTRAST, WIDTHS, browser
from unit.scoring.artifacts import expected, image_contract, table_contract, write_artifact
from unit.serving.test_server import served

pytestmark = [pytest.mark.browser, pytest.mark.slow]
__all__ = ["browser"]

DROP = """
const bytes = Uint8Array.from(atob(arguments[0]), (one) => one.charCodeAt(0));
const held = new DataTransfer();
held.items.add(new File([bytes], arguments[1], {type: arguments[2]}));
dispatchEvent(new DragEvent('drop', {dataTransfer: held, bubbles: true, cancelable: true}));
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    home = tmp_path_factory.mktemp("run")
    for name, seed in (("artifact", 0), ("baseline", 1)):
        write_artifact(home / name, image_contract(), seed=seed)
        write_artifact(home / "table" / name, table_contract(3), seed=seed)
    return home


@pytest.fixture
def photo(tmp_path):
    pixels = np.random.default_rng(3).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    return tmp_path / "photo.png", pixels


def open_page(browser, url, width=1280, *, dark=False):
    browser.get_log("browser")
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
    browser.get(url)


def wait(browser, ready):
    from selenium.webdriver.support.ui import WebDriverWait

    return WebDriverWait(browser, 30).until(lambda _: ready())


def texts(browser, selector):
    from selenium.webdriver.common.by import By

    return [one.text for one in browser.find_elements(By.CSS_SELECTOR, selector)]


def by_id(browser, name):
    from selenium.webdriver.common.by import By

    return browser.find_element(By.ID, name)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_a_chosen_picture_is_answered_by_both_and_the_page_fits(browser, run, photo, width, dark):
    path, pixels = photo
    with served(run / "artifact") as server:
        open_page(browser, server.url, width, dark=dark)
        by_id(browser, "file").send_keys(str(path))
        wait(browser, lambda: by_id(browser, "verdict").text)
        named = [expected(pixels[None], seed=seed)[0][0] for seed in (1, 0)]
        assert texts(browser, ".rival .label") == named
        assert all(text.endswith(" ms") for text in texts(browser, ".rival .ms"))
        assert by_id(browser, "seen").is_displayed()
        same = "the same answer" if named[0] == named[1] else "another answer"
        assert same in by_id(browser, "verdict").text
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width
        for script in (BEYOND_THE_EDGE, POOR_CONTRAST):
            assert browser.execute_script(script) == []
        assert browser.get_log("browser") == []
        check_accessible(browser)


def test_a_dropped_file_that_is_no_picture_is_told_on_the_page(browser, run, photo):
    path, _ = photo
    with served(run / "artifact") as server:
        open_page(browser, server.url)
        good = base64.b64encode(path.read_bytes()).decode()
        browser.execute_script(DROP, good, "photo.png", "image/png")
        wait(browser, lambda: by_id(browser, "verdict").text)
        bad = base64.b64encode(b"just words").decode()
        browser.execute_script(DROP, bad, "words.png", "image/png")
        wait(browser, lambda: by_id(browser, "problem").text)
        assert "cannot be decoded" in by_id(browser, "problem").text
        browser.execute_script(DROP, good, "photo.png", "image/png")
        wait(browser, lambda: not by_id(browser, "problem").is_displayed())


def test_the_webcam_is_answered_frame_by_frame_until_it_is_stopped(browser, run):
    with served(run / "artifact") as server:
        open_page(browser, server.url)
        camera = by_id(browser, "camera")
        camera.click()
        wait(browser, lambda: by_id(browser, "verdict").text)
        first = by_id(browser, "pixels").get_attribute("src")
        wait(browser, lambda: by_id(browser, "pixels").get_attribute("src") != first)
        assert by_id(browser, "video").is_displayed()
        assert camera.text == "Stop the webcam"
        camera.click()
        assert not by_id(browser, "video").is_displayed()
        assert by_id(browser, "empty").is_displayed()
        assert browser.get_log("browser") == []


def test_a_row_is_answered_at_once_and_a_bad_value_is_told(browser, run):
    from selenium.webdriver.common.keys import Keys

    with served(run / "table" / "artifact") as server:
        open_page(browser, server.url, 390)
        wait(browser, lambda: by_id(browser, "verdict").text)
        zero = expected(np.zeros((1, 3), "float32"))[0][0]
        assert texts(browser, ".rival .label")[1] == zero
        field = by_id(browser, "field-1")
        field.clear()
        field.send_keys("99", Keys.ENTER)
        says = "column f1: 99 is out of range"
        wait(browser, lambda: says in by_id(browser, "problem").text)
        field.clear()
        field.send_keys("3", Keys.ENTER)
        wait(browser, lambda: not by_id(browser, "problem").is_displayed())
        three = expected(np.array([[0, 3, 0]], "float32"))[0][0]
        assert texts(browser, ".rival .label")[1] == three
        check_accessible(browser)


def test_a_server_that_is_gone_is_told(browser, run, photo):
    path, _ = photo
    offline = {"offline": True, "latency": 0, "downloadThroughput": 0, "uploadThroughput": 0}
    with served(run / "artifact") as server:
        open_page(browser, server.url)
        browser.execute_cdp_cmd("Network.enable", {})
        browser.execute_cdp_cmd("Network.emulateNetworkConditions", offline)
        by_id(browser, "file").send_keys(str(path))
        wait(browser, lambda: by_id(browser, "problem").is_displayed())
        browser.execute_cdp_cmd(
            "Network.emulateNetworkConditions",
            {**offline, "offline": False, "downloadThroughput": -1, "uploadThroughput": -1},
        )
    assert "does not answer" in by_id(browser, "problem").text

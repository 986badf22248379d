# SPDX-License-Identifier: MIT
"""The page in a real browser: by mouse, by keyboard alone, on a phone; it loads nothing from elsewhere."""

import shutil
import time

import pytest

pytest.importorskip("selenium", reason="needs selenium, of the extra test")
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from serving_cases import encoded, picture, png, small_set

DRIVER = shutil.which("chromedriver")
BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.skipif(not (DRIVER and BROWSER), reason="needs chromium and chromedriver"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # of selenium's connections
]

TOKEN = "a token of some length"
PHONE = (390, 844)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    folder = tmp_path_factory.mktemp("browser")
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--disable-dev-shm-usage",
        f"--user-data-dir={folder}",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


class Page:
    """The page of a service in the browser."""

    def __init__(self, browser, client, size=(1200, 1000)):
        self.browser, self.address = browser, f"http://127.0.0.1:{client.port}"
        browser.set_window_size(*size)
        browser.get_log("browser")
        browser.get(self.address)

    def __call__(self, selector):
        return self.browser.find_element(By.CSS_SELECTOR, selector)

    def all(self, selector):
        return [each.text for each in self.browser.find_elements(By.CSS_SELECTOR, selector)]

    def until(self, what, seconds=60):
        """Waits for a condition, and returns its value."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                if value := what():
                    return value
            except Exception as error:  # of an element that was replaced meanwhile
                value = error
            time.sleep(0.02)
        raise AssertionError(f"not within {seconds} s: {value!r}; the page says {self('body').text!r}")

    def shows(self, selector, texts):
        self.until(lambda: self.all(selector) == texts)

    def choose(self, *files):
        self("#files").send_keys("\n".join(map(str, files)))

    def press(self, *keys):
        ActionChains(self.browser).send_keys(*keys).perform()

    def focused(self):
        active = self.browser.switch_to.active_element
        return active.get_attribute("id") or active.get_attribute("aria-label") or active.text

    def tab_to(self, name):
        """Presses Tab until something has the focus, as somebody without a mouse does."""
        for _ in range(60):
            if self.focused() == name:
                return
            self.press(Keys.TAB)
        raise AssertionError(f"{name} is not reached by Tab")

    def script(self, text, *arguments):
        return self.browser.execute_script(text, *arguments)

    def complaints(self):
        """What the browser has to say about the page, but for requests that were refused."""
        return [
            each["message"] for each in self.browser.get_log("browser") if "status of" not in each["message"]
        ]


@pytest.fixture
def page(browser, serve):
    """The page of a service that keeps nothing."""
    page = Page(browser, serve(keep=False))
    yield page
    assert page.complaints() == []  # not one line that breaks the policy of the page
    loaded = page.script("return performance.getEntriesByType('resource').map(entry => entry.name)")
    assert all(name.startswith((page.address, "data:", "blob:")) for name in loaded)


@pytest.fixture
def files(tmp_path):
    """Two pictures and a text, as files."""
    for name, content in (("corner.png", png(0)), ("seven.png", png(2)), ("text.png", b"a text")):
        (tmp_path / name).write_bytes(content)
    return tmp_path


def test_pictures_are_predicted_and_become_a_label(page, files):
    page.shows("#labels .name", ["corner", "7", "two"])
    page.choose(files / "corner.png", files / "seven.png")
    page.shows("#tray .answer", ["corner", "7"])
    assert page.all("#tray li:first-child .near li div:first-of-type")[0] == "corner"
    assert page.all("#tray .near-title")[0] == "Nearest examples, by distance (sqeuclidean)"
    page.browser.find_elements(By.CSS_SELECTOR, "#tray .pick input")[1].click()  # only the first one
    page("#name").send_keys("new one" + Keys.ENTER)
    page.shows("#labels .name", ["corner", "7", "two", "new one"])
    assert page.all("#labels .of") == ["1 picture", "1 picture", "2 pictures", "1 picture"]
    page.shows("#tray .answer", ["7"])  # the other picture is still there
    assert "1 picture added to new one" in page("#said").text


def test_numbers_can_be_labels(page, files):
    page.choose(files / "seven.png")
    page.shows("#tray .answer", ["7"])
    page("#name").send_keys("7")
    assert page("#number").is_selected()  # the set has such labels
    page("#teach button.main").click()
    page.shows("#labels .of", ["1 picture", "2 pictures", "2 pictures"])
    page.choose(files / "seven.png")
    page("#name").send_keys("7")
    page("#number").click()
    page("#replace").click()  # there is no text "7"
    page.until(lambda: "must be a label of this support set" in page("#said").text)
    page("#teach button.main").click()
    page.shows("#labels .name", ["corner", "7", "two", "7"])


def test_what_cannot_be_read_is_said_and_does_not_hide_the_rest(page, files):
    page.choose(files / "corner.png", files / "text.png")
    page.until(lambda: page.all("#tray .answer")[0] == "corner")
    page.until(lambda: page.all("#tray .answer")[1].startswith("images must be pictures"))


def test_dropped_and_pasted_pictures(page):
    content = list(encoded(picture(2)))
    script = """
      const data = new DataTransfer();
      data.items.add(new File([new Uint8Array(arguments[1])], "a.png", {type: "image/png"}));
      const event = arguments[0] === "paste"
        ? new ClipboardEvent("paste", {clipboardData: data, bubbles: true})
        : new DragEvent("drop", {dataTransfer: data, bubbles: true, cancelable: true});
      document.getElementById("drop").dispatchEvent(event);
    """
    page.script(script, "drop", content)
    page.shows("#tray .answer", ["7"])
    page.script(script, "paste", content)
    page.shows("#tray .answer", ["7", "7"])


def test_by_keyboard_alone(page):
    """Draw, name, find and remove a label, without a mouse."""
    page.shows("#labels .name", ["corner", "7", "two"])
    page.tab_to("draw")
    page.press(Keys.ENTER)
    page.until(lambda: page.focused() == "canvas")
    page.press(Keys.SPACE, *[Keys.ARROW_RIGHT] * 6, *[Keys.ARROW_UP] * 6, Keys.SPACE)
    page.until(lambda: page("#guess").text in ("corner", "7", "two"))
    page.tab_to("use")
    page.press(Keys.ENTER)
    page.until(lambda: page.focused() == "name")
    page.until(lambda: page.all("#tray .answer")[0] != "…")
    page.press("drawn", Keys.ENTER)
    page.shows("#labels .name", ["corner", "7", "two", "drawn"])
    page.until(lambda: page.focused() == "choose")
    page.tab_to("filter")
    page.press("draw")
    page.shows("#labels .name", ["drawn"])
    page.tab_to("Remove drawn")
    page.press(Keys.ENTER)
    page.until(lambda: page.focused() == "Keep")
    page.tab_to("Remove drawn")
    page.press(Keys.ENTER)
    page.until(lambda: page("#labels").text == "No label has this in its name.")


def test_a_drawing_is_as_the_pictures_of_the_set(page):
    """White on black here; the mouse draws, and what is drawn is in the middle."""
    page.shows("#labels .name", ["corner", "7", "two"])
    page("#draw").click()
    canvas = page("#canvas")
    ActionChains(page.browser).click_and_hold(canvas).move_by_offset(30, 0).release().perform()
    page.until(lambda: page("#guess").text)
    read = "return [...arguments[0].getContext('2d').getImageData(arguments[1], 140, 1, 1).data]"
    assert page.script(read, canvas, 150) == [255, 255, 255, 255]
    assert page.script(read, canvas, 10) == [0, 0, 0, 255]
    page("#undo").click()
    page.until(lambda: page.script(read, canvas, 150) == [0, 0, 0, 255])
    page("#invert").click()
    assert page.script(read, canvas, 150) == [255, 255, 255, 255]


def test_on_a_phone_nothing_is_wider_than_the_screen(browser, serve, files):
    page = Page(browser, serve(keep=False))
    # A window of Chromium is not as narrow as a phone.
    metrics = {"width": PHONE[0], "height": PHONE[1], "deviceScaleFactor": 2, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        page.choose(files / "corner.png", files / "text.png")
        page.until(lambda: page.all("#tray .answer")[0] == "corner")
        assert page.script("return document.documentElement.scrollWidth") == PHONE[0]
        heights = page.script(
            "return [...document.querySelectorAll('main button, main input:not([type=checkbox])')]"
            ".filter(e => e.offsetParent).map(e => e.offsetHeight)"
        )
        assert min(heights) >= 35  # of a finger
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_unknown_is_shown(browser, serve, tmp_path):
    support = small_set()
    support.threshold = -1.0
    (tmp_path / "far.png").write_bytes(png(10, 11))
    page = Page(browser, serve(support, keep=False))
    page.choose(tmp_path / "far.png")
    page.shows("#tray .answer.unknown", ["unknown"])
    assert "answers “unknown”" in page("#state").text


def test_the_token_is_asked_for_once(browser, serve, files):
    page = Page(browser, serve(keep=False, token=TOKEN))
    page.until(lambda: page("#login").is_displayed())
    page("#token").send_keys("wrong" + Keys.ENTER)
    page.until(lambda: page("#login").is_displayed())
    page("#token").send_keys(TOKEN + Keys.ENTER)
    page.shows("#labels .name", ["corner", "7", "two"])
    page.choose(files / "corner.png")
    page.shows("#tray .answer", ["corner"])


def test_a_set_that_is_read_only_offers_no_changes(browser, serve, files):
    page = Page(browser, serve(keep=False, read_only=True))
    page.until(lambda: "read only" in page("#state").text)
    page.choose(files / "corner.png")
    page.shows("#tray .answer", ["corner"])
    assert not page("#teach").is_displayed()
    assert page.all("#labels button") == []

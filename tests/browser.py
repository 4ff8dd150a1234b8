"""A headless Chromium for tests of pages: what it asked for, what it complained of, how it looks.

    def test_page(browser, tmp_path):
        browser.open(tmp_path / "page.html")
        assert browser.requests() == [] and browser.errors() == []
        assert browser.driver.find_element("tag name", "h1").text == "cifar10-88"

The fixture is in conftest.py. It needs Chromium, its driver and selenium, and downloads none of
them.
"""

import base64
import importlib.util
import json
import os
import shutil
import time
from pathlib import Path

import pytest

FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-default-apps --disable-extensions "
    "--disable-dev-shm-usage --no-default-browser-check --force-color-profile=srgb "
    "--hide-scrollbars"
).split()
PLACES = {
    "Chromium": ("chromium", "chromium-browser", "google-chrome"),
    "chromedriver": ("chromedriver",),
}
WITHOUT_REQUEST = ("data:", "blob:", "about:", "devtools:", "chrome:")


class Browser:
    """A browser with one page.

    Fields:
        driver: selenium's WebDriver, for everything else.
    """

    def __init__(self, driver):
        self.driver = driver
        self._address = ""
        self._requests, self._errors = [], []

    def open(self, path, width=1200, height=900, dark=False):
        """Open a file by its own address, as a double click does; returns when it has loaded.

        Args:
            path: of the file.
            width, height: of the window in pixels.
            dark: whether the user prefers a dark page.
        """
        self.driver.get("about:blank")
        self._read_logs()
        self._requests, self._errors = [], []
        self._address = Path(path).resolve().as_uri()
        self.show(width, height, dark)
        self.driver.get(self._address)

    def show(self, width, height, dark=False):
        """Set the window's size in pixels, and which colours the user prefers."""
        self._cdp(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._cdp("Emulation.setEmulatedMedia", features=[scheme])

    def requests(self):
        """The addresses that the page has asked for since `open`, beside its own file and what it
        holds itself (data:, blob:)."""
        self._read_logs()
        return [r for r in self._requests if r.partition("#")[0] != self._address]

    def errors(self):
        """What the page has written to the console as an error since `open`: exceptions, and what
        its policy forbade, among them."""
        self._read_logs()
        return list(self._errors)

    def run(self, script, *args):
        """What a JavaScript body returns; one that returns a promise is waited for."""
        return self.driver.execute_script(script, *args)

    def wait(self, script, *args, seconds=60):
        """Wait until a JavaScript body returns something true, and return it.

        Raises:
            TimeoutError: it never did.
        """
        end = time.monotonic() + seconds
        while not (found := self.run(script, *args)):
            if time.monotonic() > end:
                raise TimeoutError(f"{script} ({'; '.join(self.errors()) or 'no error'})")
            time.sleep(0.05)
        return found

    def press(self, key, times=1):
        """Press a key by its name in the DOM: "Tab", "Enter", ..."""
        code = {"Tab": 9, "Enter": 13, "Escape": 27, " ": 32}[key]
        for _ in range(times):
            for kind in ("rawKeyDown", "keyUp"):
                self._cdp("Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=code)

    def screenshot(self, path, width, height=None, dark=False):
        """Write a picture of the page as a PNG.

        Args:
            path: of the picture.
            width, height: of the window in pixels; the whole page where no height is given.
            dark: whether the user prefers a dark page.
        """
        self.show(width, height or 800, dark)
        if height is None:
            self.show(width, self.run("return document.documentElement.scrollHeight"), dark)
        taken = self._cdp("Page.captureScreenshot", format="png")
        Path(path).write_bytes(base64.b64decode(taken["data"]))

    def _cdp(self, command, **parameters):
        return self.driver.execute_cdp_cmd(command, parameters)

    def _read_logs(self):
        """Take in what the two logs hold; reading empties them."""
        for entry in self.driver.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                address = message["params"]["request"]["url"]
                if not address.startswith(WITHOUT_REQUEST):
                    self._requests.append(address)
        for entry in self.driver.get_log("browser"):
            if entry["level"] == "SEVERE":
                self._errors.append(entry["message"])


def start(profile):
    """A Browser whose profile is an empty folder. Skips the test where a program is missing.

    The caller ends it by `browser.driver.quit()`.
    """
    if importlib.util.find_spec("selenium") is None:
        pytest.skip('selenium is not installed (pip install -e ".[dev]")')
    found = {}
    for name, programs in PLACES.items():
        found[name] = next(filter(None, map(shutil.which, programs)), None)
        if found[name] is None:
            pytest.skip(f"{name} is not installed (looked for {', '.join(programs)})")
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = found["Chromium"]
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    # both programs are named, so nothing looks for them; and nothing could be downloaded
    env = {**os.environ, "SE_OFFLINE": "true", "SE_AVOID_STATS": "true", "NO_PROXY": "127.0.0.1"}
    service = Service(found["chromedriver"], env=env)
    return Browser(webdriver.Chrome(options=options, service=service))

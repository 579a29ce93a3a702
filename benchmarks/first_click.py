"""What a stranger waits for: from `git clone` to a click of their own that changes the recommendations in a browser.

    python -m benchmarks.first_click DIRECTORY

Workload first-click-1: clones this repository into DIRECTORY, and runs the README's `make demo` there with a FLINKREC_HOME, a cache of
uv and a repository of Maven that are empty. After the first recommendation headless Chromium opens the page User of the console, shows a
user whom the demo has served, clicks on the first item as them, and waits for the slate that answers. Says after how many seconds each
of it came.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.common.exceptions import WebDriverException
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

REPOSITORY = Path(__file__).resolve().parents[1]
LIMIT_S = 600.0


class Clock:
    """Says what happened after how many seconds."""

    def __init__(self) -> None:
        self._began_s = time.monotonic()

    def say(self, what: str) -> None:
        print(f"{time.monotonic() - self._began_s:6.1f} s  {what}", flush=True)

    def until(self, condition: Callable[[], Any], what: str) -> Any:
        """Wait until something holds, and return it; it is too late after `LIMIT_S`."""
        while True:
            try:
                found = condition()
            # the server is not there yet, or the page puts another element in this one's place
            except WebDriverException:
                found = None
            if found:
                self.say(what)
                return found
            if time.monotonic() - self._began_s > LIMIT_S:
                raise SystemExit(f"not within {LIMIT_S:.0f} s: {what}")
            time.sleep(0.05)


def main() -> None:
    """Tell the story."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path, help="is made, and stays")
    directory = parser.parse_args().directory.resolve()
    directory.mkdir(parents=True)
    clone, said = directory / "flinkrec", directory / "demo.log"
    environment = os.environ | {
        "FLINKREC_HOME": str(directory / "home"),
        "UV_CACHE_DIR": str(directory / "uv"),
        "PIP_NO_CACHE_DIR": "1",
        "MAVEN_ARGS": f"-Dmaven.repo.local={directory / 'maven'}",
    }
    clock = Clock()
    subprocess.run(["git", "clone", "--quiet", str(REPOSITORY), str(clone)], check=True)
    with said.open("w") as log:
        demo = subprocess.Popen(["make", "demo"], cwd=clone, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        told(clock, said, r"Python packages are (installed)", "packages are installed")
        told(clock, said, r"after (\d+) s; replaying", "the job runs")
        address = told(clock, said, r"on (http://\S+/console)", "the demo names its console")
        told(clock, said, r"First recommendation (\d+) s", "the first recommendation is there")
        click(clock, address, directory / "clicked.png")
    finally:
        os.killpg(demo.pid, signal.SIGINT)
        demo.wait()
        subprocess.run([str(clone / ".venv" / "bin" / "flinkrec"), "down"], env=environment, check=False)


def told(clock: Clock, file: Path, pattern: str, what: str) -> str:
    """Wait until the demo says something."""
    found: re.Match[str] = clock.until(lambda: re.search(pattern, file.read_text()), what)
    return found[1]


def click(clock: Clock, address: str, picture: Path) -> None:
    """Click on an item as a user, in a browser."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for argument in ("--headless=new", "--no-sandbox", "--window-size=1360,1200"):
        options.add_argument(argument)
    driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))

    def opened() -> bool:
        driver.get(f"{address}/user")
        return bool(driver.find_element(By.CSS_SELECTOR, ".state").text)

    def slate() -> list[str]:
        items: list[str] = driver.execute_script("return [...document.querySelectorAll('.slate [data-item]')].map(b => b.dataset.item)")
        return items

    try:
        clock.until(opened, "the console is open")
        served = '[aria-label="Users served lately"] button'
        clock.until(lambda: driver.find_elements(By.CSS_SELECTOR, served), "it offers users who were served")[0].send_keys(Keys.ENTER)
        before = clock.until(slate, "it shows the slate of one")
        driver.find_element(By.CSS_SELECTOR, ".slate button").send_keys(Keys.ENTER)
        text = clock.until(lambda: re.search(r"A new slate .*", driver.find_element(By.CSS_SELECTOR, "body").text), "it answers a click")[0]
        print(f"{text}\nbefore: {' '.join(before)}\nafter:  {' '.join(slate())}")
        driver.save_screenshot(str(picture))
    finally:
        driver.quit()


if __name__ == "__main__":
    main()

"""The console as a person uses it: in a real Chromium, on `flinkrec serve` as a process, against the real job."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest
import yaml
from kafka import KafkaProducer
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

from cli.clients import EventSender
from cli.loop import Loop
from cli.stack import Stack
from models.config import Configuration
from models.topics import DEAD_LETTER, EVENTS, RECOMMENDATIONS, CatalogueItem, topic_name
from serving.client import Client
from tests import synthetic
from tests.e2e import running

PAGES = {
    "/": "Live",
    "/user": "User",
    "/why": "Why",
    "/experiments": "Experiments",
    "/controls": "Controls",
    "/dead-letters": "Dead letters",
}
WITHIN_S = 30.0
TOKENS = {"reader": ("a-token-that-reads", ["read"]), "admin": ("a-token-that-may-all", ["read", "write", "admin"])}


@dataclass(frozen=True)
class Console:
    """A running console, and the job behind it."""

    config: Configuration
    address: str


class Browser:
    """One page in Chromium, and the words in which the tests speak of it."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    def open(self, address: str) -> None:
        self.driver.get(address)
        # what is shown says so once it is connected: before that a click is heard by nobody
        self.until(lambda: self.find(".state").text != "", "the page is not connected")

    def until(self, condition: Callable[[], Any], what: str) -> Any:
        """Wait until something holds, and return it; elements that are replaced meanwhile are looked for again."""
        from selenium.common.exceptions import NoSuchElementException, StaleElementReferenceException

        deadline = time.monotonic() + WITHIN_S
        while True:
            try:
                found = condition()
            except (NoSuchElementException, StaleElementReferenceException):
                found = None
            if found:
                return found
            if time.monotonic() > deadline:
                raise AssertionError(f"after {WITHIN_S:.0f} s: {what}; the page says:\n{self.text()[:3_000]}")
            time.sleep(0.05)

    def find(self, selector: str) -> WebElement:
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def all(self, selector: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def text(self) -> str:
        return self.find("body").text

    def field(self, label: str) -> WebElement:
        return self.until(lambda: self.find(f'[aria-label="{label}"]'), f"there is no field {label}")

    def type(self, label: str, text: str) -> None:
        field = self.field(label)
        field.send_keys(Keys.CONTROL, "a")
        field.send_keys(text)

    def press(self, words: str) -> None:
        """Press the button with these words, or that is read so, by the keyboard."""

        def pressed() -> bool:
            for button in self.all("button"):
                if words in (button.text.strip(), button.get_attribute("aria-label")) and button.is_enabled():
                    button.send_keys(Keys.ENTER)
                    return True
            return False

        self.until(pressed, f"there is no button {words}")

    def await_text(self, pattern: str) -> re.Match[str]:
        return self.until(lambda: re.search(pattern, self.text()), f"nothing like {pattern!r} is said")

    def slate(self) -> list[str]:
        """Item ids of the slate on the page User."""
        return self.driver.execute_script(
            "return [...document.querySelectorAll('.slate [data-item]')].map(button => button.dataset.item)"
        )

    def errors(self) -> list[str]:
        """What the browser's console holds since it was last asked."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def hosts_asked(self) -> set[str]:
        """Hosts that anything was fetched from since it was last asked."""
        sent = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        urls = [event["params"]["request"]["url"] for event in sent if event["method"] == "Network.requestWillBeSent"]
        urls += [event["params"]["url"] for event in sent if event["method"] == "Network.webSocketCreated"]
        return {urlsplit(url).netloc for url in urls if urlsplit(url).scheme in ("http", "https", "ws", "wss")}


@pytest.fixture(scope="module")
def console(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    """The job on a few hundred events, and the server beside it."""
    config = running.configuration(
        stack,
        learner={"enabled": False},
        metrics={"window_s": 60},
        # two that rank alike: which of them is drawn changes no slate
        policy={"name": "q_learning", "strategies": {"sources": {"scorer_weight": 0.0}, "again": {"scorer_weight": 0.0}}},
    )
    running.submitted(config)
    stream = synthetic.events(400, users=20)
    shift_ms = time.time_ns() // 1_000_000 - stream[-1].event_time_ms - 1_000
    sender = EventSender(config.kafka)
    sender.send_items({event.item_id: item(event.item_id) for event in stream})
    sender.close()
    loop = Loop(config, in_flight=64, shift_ms=shift_ms)
    for _ in loop.run(stream):
        pass
    loop.close()
    with serving(config, tmp_path_factory.mktemp("serve")) as address:
        yield Console(config, address)


def item(item_id: str) -> CatalogueItem:
    number = int(item_id.removeprefix("item-"))
    return CatalogueItem(title=f"Title {number}", categories=[f"kind {number % synthetic.KINDS}"])


@contextmanager
def serving(config: Configuration, directory: Path) -> Iterator[str]:
    """The address of `flinkrec serve`, as a process of its own."""
    configuration, log = directory / "serve.yaml", directory / "serve.log"
    configuration.write_text(yaml.safe_dump(msgspec.to_builtins(config)))
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "cli.main", "serve", "--config", configuration, "--store", directory / "store", "--port", "0"],
            env=os.environ | {"PYTHONPATH": str(running.REPOSITORY), "COLUMNS": "200"},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )

    def address() -> str:
        assert process.poll() is None, log.read_text()
        return "".join(re.findall(r"on (http://[\d.:]+)", log.read_text()))

    try:
        running.await_true(lambda: address() != "", "the server says no address")
        with Client(address()) as client:
            # titles of a user's own items come from the catalogue, which is read after the address is known
            running.await_true(lambda: client.ready().ready, "the server has not read what the topics hold")
        yield address()
    finally:
        process.terminate()
        process.wait(20)
    assert "Traceback" not in log.read_text(), log.read_text()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Headless Chromium of the distribution's packages."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.fail("the console's tests need Chromium and its driver: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1360,1200"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    started = webdriver.Chrome(options=options, service=Service(driver))
    try:
        yield Browser(started)
    finally:
        started.quit()


def answers(console: Console) -> dict[str, dict[str, Any]]:
    """Slates by the event that they answer."""
    return {slate["event_id"]: slate for slate in running.values(console.config, RECOMMENDATIONS)}


def test_each_page_opens_without_an_error_and_asks_no_other_host(console: Console, browser: Browser) -> None:
    browser.driver.get(console.address)
    assert browser.driver.current_url == f"{console.address}/console/", "/ leads to the console"
    for path, title in PAGES.items():
        browser.open(f"{console.address}/console{path}")
        assert browser.find("h1").text == title
        assert browser.find("nav a[aria-current]").text == title
        browser.await_text("job runs")
        assert "500" not in browser.driver.title
    assert browser.errors() == []
    assert browser.hosts_asked() == {urlsplit(console.address).netloc}


def test_live_shows_what_the_job_has_measured_and_how_it_is(console: Console, browser: Browser) -> None:
    browser.open(f"{console.address}/console/")
    browser.await_text(r"Hit rate, HR@10\n\d+\.\d\n?%")
    browser.await_text(r"Slates a second\n\d+\.\d")
    browser.await_text(r"State\nrunning for")
    browser.await_text(rf"{topic_name(console.config.kafka.topic_prefix, EVENTS)} +4\d\d")
    browser.until(lambda: len(browser.all(".nicegui-echart svg path")) > 10, "the charts are empty")


def test_a_click_changes_the_slate_before_the_users_eyes(console: Console, browser: Browser) -> None:
    user_id = synthetic.events(400, users=20)[-1].user_id
    browser.open(f"{console.address}/console/user")
    browser.type("User", user_id)
    browser.field("User").send_keys(Keys.ENTER)
    before = browser.until(browser.slate, "there is no slate")
    assert "because of Title" in browser.text()
    clicked = before[2]
    browser.press(f"Click on {item(clicked).title}")
    said = browser.await_text(r"A new slate ([\d,]+) ms after the click on (Title \d+); the recommender itself took [\d.]+ ms")
    assert said[2] == item(clicked).title
    assert 0 < int(said[1].replace(",", "")) < 20_000
    after = browser.slate()
    assert after != before
    assert clicked not in after, "what a user has had is not shown again"
    browser.await_text(rf"History[\s\S]*{item(clicked).title} {clicked} click")
    [event] = [event for event in running.values(console.config, EVENTS) if event.get("source") == "console"]
    assert (event["user_id"], event["item_id"], event["type"], event["position"]) == (user_id, clicked, "click", 3)
    answer = answers(console)[event["event_id"]]
    assert [shown["item_id"] for shown in answer["items"]] == after
    assert browser.errors() == []


def test_a_new_user_begins_with_popular_items_and_gets_a_slate_of_their_own(console: Console, browser: Browser) -> None:
    browser.open(f"{console.address}/console/user")
    browser.press("New user")
    browser.await_text("popular items: this user is not known")
    popular = browser.until(browser.slate, "nothing is popular")
    browser.press(f"Click on {item(popular[0]).title}")
    browser.await_text("A new slate")
    browser.await_text(r"number \d")
    assert popular[0] not in browser.slate()
    assert "popular items: this user is not known" not in browser.text()


def test_a_slate_is_taken_apart(console: Console, browser: Browser) -> None:
    user_id = synthetic.events(400, users=20)[-1].user_id
    browser.open(f"{console.address}/console/why")
    browser.type("User", user_id)
    browser.press("Ask and take apart")
    browser.await_text(r"Policy\nq_learning")
    browser.await_text(r"Strategy\n(sources|again), with probability")
    browser.await_text(r"others also had \(weight 0\.75\)")
    assert len(browser.all('[aria-label="Candidates of the slate"] tbody tr')) == 10
    browser.find('[role="switch"]').send_keys(Keys.SPACE)
    browser.until(lambda: len(browser.all('[aria-label="Candidates of the slate"] tbody tr')) > 10, "the others are not shown")
    assert browser.all('[aria-label="Profile"] tbody tr')
    assert browser.errors() == []


def test_a_rule_that_is_put_in_force_acts_and_a_bad_one_is_not_sent(console: Console, browser: Browser) -> None:
    browser.open(f"{console.address}/console/controls")
    browser.type("User", "user-3")
    browser.press("Ask for a slate")
    rows = '[aria-label="Slate under these rules"] tbody tr'
    first = browser.until(lambda: browser.all(f"{rows} .id"), "there is no slate")[0].text
    editor = browser.field("Rule, as JSON")
    browser.type("Rule, as JSON", '{"factor": "much"}')
    browser.await_text("Expected `float`, got `str`")
    assert not next(button for button in browser.all("button") if button.text == "Put in force").is_enabled()
    browser.driver.execute_script("arguments[0].focus()", editor)
    browser.type("Label, where there are several", "recall")
    browser.type("Rule, as JSON", json.dumps({"factor": 0.001, "items": [first]}))
    browser.await_text("boost:recall can be put in force")
    browser.press("Put in force")
    browser.await_text(r"boost:recall\nin force")
    browser.until(lambda: first not in [one.text for one in browser.all(f"{rows} .id")], f"{first} is still shown")
    browser.press("Take back boost:recall")
    browser.await_text("No rule is in force")
    browser.until(lambda: first in [one.text for one in browser.all(f"{rows} .id")], f"{first} does not come back")
    assert browser.errors() == []


def test_a_dead_letter_is_mended_and_sent_again(console: Console, browser: Browser) -> None:
    config = console.config
    now_ms = time.time_ns() // 1_000_000
    bad = {"event_id": "mended", "user_id": "user-3", "item_id": "item-1", "type": "stare", "event_time_ms": now_ms}
    producer = KafkaProducer(bootstrap_servers=config.kafka.bootstrap_servers)
    producer.send(topic_name(config.kafka.topic_prefix, EVENTS), key=b"user-3", value=json.dumps(bad).encode()).get(timeout=10)
    producer.close()
    browser.open(f"{console.address}/console/dead-letters")
    browser.await_text("unknown type: 1")
    browser.press("Open the record of letter 1")
    browser.await_text("What is wrong\ntype: expected one of")
    record = browser.field("Record, as it is sent")
    assert json.loads(record.get_attribute("value") or "") == bad
    browser.press("Send again")
    browser.await_text("unknown type: 2")
    browser.type("Record, as it is sent", json.dumps(bad | {"type": "view"}))
    browser.press("Send again")
    running.await_true(lambda: "mended" in answers(console), "the mended event is not answered")
    assert len(running.values(config, DEAD_LETTER)) == 2
    assert browser.errors() == []


def test_the_theme_follows_the_system_until_it_is_chosen(console: Console, browser: Browser) -> None:
    def is_dark() -> bool:
        return "body--dark" in (browser.find("body").get_attribute("class") or "")

    def system(theme: str) -> None:
        features = [{"name": "prefers-color-scheme", "value": theme}]
        browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    system("dark")
    browser.open(f"{console.address}/console/")
    browser.until(is_dark, "the page is not dark")
    browser.find("#theme").send_keys(Keys.ENTER)
    browser.until(lambda: not is_dark(), "the page is not light")
    browser.open(f"{console.address}/console/user")
    browser.until(lambda: not is_dark(), "the choice is forgotten")
    browser.driver.execute_script("localStorage.clear()")
    system("light")


def test_where_there_are_tokens_nothing_is_shown_or_done_without_one(
    console: Console, browser: Browser, tmp_path: Path
) -> None:
    tokens = [{"name": name, "token": token, "scopes": scopes} for name, (token, scopes) in TOKENS.items()]
    guarded = msgspec.convert(msgspec.to_builtins(console.config) | {"serving": {"tokens": tokens}}, Configuration)
    with serving(guarded, tmp_path) as address:
        browser.open(f"{address}/console/user?user=user-3")
        browser.await_text("A token, please")
        assert browser.slate() == []
        browser.type("Token", "guess-a-token-here")
        browser.press("Continue")
        browser.await_text("No such token")
        browser.type("Token", TOKENS["reader"][0])
        browser.press("Continue")
        shown = browser.until(browser.slate, "there is no slate")
        browser.press(f"Click on {item(shown[0]).title}")
        browser.await_text("This token does not allow write")
        browser.open(f"{address}/console/controls")
        browser.await_text("needs one that allows admin")
        browser.type("Token", TOKENS["admin"][0])
        browser.press("Continue")
        browser.await_text("No rule is in force")
        browser.press("Sign out")
        browser.await_text("A token, please")

"""The page in a real Chromium: it loads, moves without a reload, obeys the keyboard, is light and dark, and keeps quiet."""

from __future__ import annotations

import itertools
import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.debian import installed
from tests.tidewatch.console.samples import snapshot
from tidewatch.console.serve import console
from tidewatch.exits import Exit

pytestmark = pytest.mark.slow

PATIENCE = 60_000.0


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    program = installed("chromium", "chromium")
    with sync_playwright() as playwright:
        # Tests may run as root, whom Chromium's sandbox refuses; it shows pages of this machine only.
        chromium = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@contextmanager
def opened(browser: Browser, address: str, **options: object) -> Iterator[tuple[Page, list[str]]]:
    """Give the page at an address and the list of what it complained of."""
    context = browser.new_context(**options)  # type: ignore[arg-type]
    page, complaints = context.new_page(), []
    page.set_default_timeout(PATIENCE)
    page.on(
        "console",
        lambda message: complaints.append(message.text) if message.type in ("error", "warning") else None,
    )
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on(
        "request",
        lambda r: complaints.append(r.url) if urlsplit(r.url).netloc != urlsplit(address).netloc else None,
    )
    page.goto(address)
    expect(page.locator("#status")).to_have_text("live", timeout=PATIENCE)
    try:
        yield page, complaints
    finally:
        context.close()


def test_it_shows_everything_and_moves_without_a_reload(browser: Browser) -> None:
    steps = itertools.count()
    with console(lambda: snapshot(next(steps))) as address, opened(browser, address) as (page, complaints):
        page.evaluate("window.stayed = true")
        expect(page.locator("#partition-rows tr")).to_have_count(2)
        expect(page.locator("#alert-rows .item")).to_have_count(2)
        expect(page.locator("#ridges path.now")).to_have_count(3)
        expect(page.locator("#signal-rows .item")).to_have_count(2)
        expect(page.locator("#reasons .reason")).to_have_count(2)
        expect(page.locator("#checks .item")).to_have_count(6)
        expect(page.locator("#flows .flow")).to_have_count(1)
        first = page.locator("[data-text=workers]").text_content()
        expect(page.locator("[data-text=workers]")).not_to_have_text(first or "", timeout=PATIENCE)
        assert page.evaluate("window.stayed") is True
        assert complaints == []


def test_what_is_unfolded_stays_unfolded(browser: Browser) -> None:
    steps = itertools.count()
    with (
        console(lambda: snapshot(next(steps))) as address,
        opened(browser, address + "alerts") as (page, complaints),
    ):
        item = page.locator("#alert-rows .item").first
        item.locator("summary").click()
        expect(item.locator("dl")).to_contain_text("threshold")
        updated = page.evaluate("document.body.dataset.updated")
        page.wait_for_function("before => document.body.dataset.updated > before", arg=updated)
        expect(item).to_have_attribute("open", "")
        expect(page.locator("#dead")).to_be_hidden()
        assert complaints == []


def test_a_signal_shows_its_course_against_the_boundary(browser: Browser) -> None:
    with console(snapshot) as address, opened(browser, address + "signals") as (page, complaints):
        first = page.locator("#signal-rows .item").first
        expect(first).to_contain_text("drug-1 + rash")
        expect(page.locator("#signal-rows .badge")).to_have_text(["open", "closed"])
        assert (first.locator(".course path").get_attribute("d") or "").count("L") == 7
        ends = [float(first.locator(".course circle").get_attribute("cy") or 0),
                float(first.locator(".course line").get_attribute("y1") or 0)]  # fmt: skip
        assert ends[0] < ends[1], "the course ends above its boundary"
        first.locator("summary").click()
        expect(first.locator("dl")).to_contain_text("time to signal")
        expect(first.locator("dl")).to_contain_text("6 days")
        assert complaints == []


def test_the_keyboard_reaches_everything(browser: Browser) -> None:
    with console(snapshot) as address, opened(browser, address) as (page, _):
        page.keyboard.press("Tab")
        expect(page.locator(".skip")).to_be_focused()
        for _ in range(3):
            page.keyboard.press("Tab")
        expect(page.locator("nav a[href='/partitions']")).to_be_focused()
        page.keyboard.press("Enter")
        expect(page).to_have_url(re.compile(r"/partitions$"))
        expect(page.locator("#alerts")).to_be_hidden()
        expect(page.locator("nav a[aria-current]")).to_have_text("Partitions")
        page.go_back()
        expect(page.locator("#alerts")).to_be_visible()
        nameless = page.evaluate(
            "[...document.querySelectorAll('a,button')].filter(e => !(e.textContent.trim() || e.ariaLabel)).length"
        )
        assert nameless == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_light_or_dark_with_enough_contrast(browser: Browser, scheme: str) -> None:
    with console(snapshot) as address, opened(browser, address, color_scheme=scheme) as (page, complaints):
        contrast = """selector => {
            const numbers = text => text.match(/[\\d.]+/g).map(Number);
            const light = ([r, g, b]) => [r, g, b].map(c => c / 255).map(c => c <= .04045 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4)
                .reduce((sum, c, i) => sum + c * [.2126, .7152, .0722][i], 0);
            const element = document.querySelector(selector);
            let behind = element;
            while (numbers(getComputedStyle(behind).backgroundColor)[3] === 0) behind = behind.parentElement;
            const pair = [getComputedStyle(element).color, getComputedStyle(behind).backgroundColor].map(numbers).map(light);
            return [(Math.max(...pair) + .05) / (Math.min(...pair) + .05), pair[1]];
        }"""
        for selector in ("h2", ".tile span", ".badge.ok", ".badge.critical", "td", ".legend", "nav a"):
            ratio, behind = page.evaluate(contrast, selector)
            assert ratio >= 4.5, selector
            assert (behind < 0.2) == (scheme == "dark"), selector
        page.locator("#theme").click()
        expect(page.locator("html")).to_have_attribute("data-theme", "light" if scheme == "dark" else "dark")
        assert complaints == []


def test_it_comes_back_when_the_console_does(browser: Browser) -> None:
    first = console(snapshot)
    address = first.__enter__()
    with opened(browser, address) as (page, _):
        page.evaluate("window.stayed = true")
        first.__exit__(None, None, None)
        expect(page.locator("#status")).to_have_text("reconnecting", timeout=PATIENCE)
        with console(lambda: snapshot(7), port=int(address.rstrip("/").rpartition(":")[2])):
            expect(page.locator("#status")).to_have_text("live", timeout=PATIENCE)
            expect(page.locator("[data-text=workers]")).to_have_text("17,000 processed", timeout=PATIENCE)
        assert page.evaluate("window.stayed") is True


@pytest.mark.kafka
def test_it_lives_through_a_workers_death(browser: Browser) -> None:
    command = [sys.executable, "-m", "tidewatch", "demo", "--json", "--seconds", "20"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        address = next(m.group(1) for line in process.stderr if (m := re.search(r"console at (\S+)", line)))
        with opened(browser, address) as (page, complaints):
            page.evaluate("window.stayed = true")
            expect(page.locator("#partition-rows tr")).to_have_count(8, timeout=240_000)
            expect(page.locator("#workers .gone", has_text="worker-")).not_to_have_count(0, timeout=240_000)
            expect(page.locator("#workers")).to_contain_text("worker-3", timeout=240_000)
            before = page.evaluate("document.body.dataset.updated")
            page.wait_for_function("before => document.body.dataset.updated > before", arg=before)
            assert page.evaluate("window.stayed") is True
            assert complaints == []
        out, err = process.communicate(timeout=300)
        assert process.returncode == Exit.OK, err
        assert json.loads(out)["killed"]["events_before"] > 0
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.communicate(timeout=120)

#!/usr/bin/env python3
"""Open WebUI's own page, in Chromium, in front of `driftwood serve`: a chat that is streamed, answered anew, and stopped.

usage: check_open_webui.py URL DRIFTWOOD_URL [IMAGES_DIR], by hand: docs/clients.md says how the two are begun. It needs
Playwright (deps/page.txt); CHROMIUM names the browser.
"""
import os
import re
import shutil
import sys
import time
import urllib.request

from playwright.sync_api import sync_playwright

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
ANSWER = "#response-content-container"
ANEW = "button[aria-label='Regenerate']"
URL, SERVER = sys.argv[1:3]
IMAGES = sys.argv[3] if len(sys.argv) > 3 else None


def tokens():
    """That the server has made so far."""
    text = urllib.request.urlopen(SERVER + "/metrics", timeout=60).read().decode()
    return int(re.search(r"^driftwood_generated_tokens_total (\d+)$", text, re.M)[1])


def last(page):
    return page.locator(ANSWER).last.inner_text()


def say(page, text):
    page.click("#chat-input")
    page.keyboard.type(text)
    page.keyboard.press("Enter")


def steps(page, seconds=180):
    """Of the last answer, as the page shows it, until it has ended -> lengths"""
    seen = [0]
    end = time.monotonic() + seconds
    while not page.locator(ANEW).count():
        assert time.monotonic() < end, "the answer does not end"
        length = len(last(page)) if page.locator(ANSWER).count() else 0
        if length != seen[-1]:
            seen.append(length)
        page.wait_for_timeout(20)
    return seen


def image(page, name):
    if IMAGES:
        os.makedirs(IMAGES, exist_ok=True)
        page.screenshot(path=os.path.join(IMAGES, name + ".png"))


def check(page):
    page.goto(URL, wait_until="domcontentloaded", timeout=180000)
    page.wait_for_selector("#chat-input", timeout=180000)
    page.wait_for_timeout(3000)
    if page.get_by_text("Okay, Let's Go!").count():  # what is new in this version
        page.get_by_text("Okay, Let's Go!").first.click()
    models = page.locator("button[id^=model-selector]").all_inner_texts()
    assert models and models[0], "it found no model"
    say(page, "Name a sea.")
    page.wait_for_selector(ANSWER, timeout=180000)
    seen = steps(page)
    assert len(seen) > 3, ("it was not streamed", seen)
    print(f"streamed by {models[0]}, in {len(seen) - 1} steps: {last(page)[:60]!r}")
    image(page, "streamed")

    page.locator(ANEW).last.click()
    page.wait_for_timeout(1500)
    if page.get_by_text("Try Again").count():
        page.get_by_text("Try Again").first.click()
    page.get_by_text("2/2").wait_for(timeout=180000)
    steps(page)
    print(f"answered anew: {last(page)[:60]!r}")
    image(page, "anew")

    say(page, "Tell a very long story of a lighthouse and its keeper, in twenty chapters.")
    page.locator(ANSWER).nth(1).wait_for(timeout=180000)
    page.wait_for_timeout(2000)
    page.locator("button[aria-label='Stop'], #stop-response-button").first.click()
    page.wait_for_timeout(5000)
    text, made = last(page), tokens()
    page.wait_for_timeout(3000)
    assert (last(page), tokens()) == (text, made), "it goes on after it was stopped"
    print(f"stopped: {text[:60]!r}")
    image(page, "stopped")


def main():
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.set_default_timeout(90000)
        faults = []
        page.on("pageerror", lambda error: faults.append(str(error)))
        check(page)
        browser.close()
        assert not faults, faults


if __name__ == "__main__":
    main()

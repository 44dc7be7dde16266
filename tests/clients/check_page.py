#!/usr/bin/env python3
"""The dashboard in Chromium: chat, branches, actors, a restart of the server in between.

usage: check_page.py BUILD_DIR MODEL [IMAGES_DIR]

CHROMIUM names the browser; default: `chromium` on the path. images of each view in both themes and
at phone width go to IMAGES_DIR.
"""
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import unittest

from playwright.sync_api import sync_playwright

BUILD, MODEL = sys.argv[1:3]
IMAGES = sys.argv[3] if len(sys.argv) > 3 else None
PROGRAM = os.path.join(BUILD, "driftwood")
GUESTS = os.path.join(BUILD, "guests")
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
STORY = ("The lighthouse keeper counted the boats at dusk, as he had done for thirty years. "
         "There were eleven in the morning, and nine had come home. ") * 4


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class Page(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.place = tempfile.TemporaryDirectory(prefix="dw-page-")
        cls.port = free_port()
        cls.start()
        cls.playwright = sync_playwright().start()
        cls.browser = cls.playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])

    @classmethod
    def start(cls):
        cls.server = subprocess.Popen(
            [PROGRAM, "serve", "--listen", f"127.0.0.1:{cls.port}", "--state", cls.place.name + "/state",
             "--model", "small=" + MODEL], stdout=subprocess.PIPE, text=True,
            env=dict(os.environ, DRIFTWOOD_GUESTS=GUESTS))
        cls.server.stdout.readline()

    @classmethod
    def stop(cls, how="terminate"):
        getattr(cls.server, how)()
        cls.server.wait(60)
        cls.server.stdout.close()

    @classmethod
    def tearDownClass(cls):
        cls.browser.close()
        cls.playwright.stop()
        cls.stop()
        cls.place.cleanup()

    def setUp(self):
        self.context = self.browser.new_context(viewport={"width": 1280, "height": 800}, accept_downloads=True)
        self.addCleanup(self.context.close)
        self.page = self.context.new_page()
        self.faults = []
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("console", lambda line: self.faults.append(line.text)
                     if line.type == "error" and "Failed to load resource" not in line.text
                     and "ERR_CONNECTION" not in line.text else None)
        self.page.on("request", lambda request: self.faults.append(request.url)
                     if not request.url.startswith((f"http://127.0.0.1:{self.port}/", "blob:")) else None)
        self.page.goto(f"http://127.0.0.1:{self.port}/")
        self.page.click("#chat-settings summary")
        self.page.fill("#chat-tokens", "12")
        self.page.fill("#chat-temperature", "0")
        self.page.click("#chat-settings summary")

    def tearDown(self):
        self.assertEqual(self.faults, [])

    def settle(self):
        self.page.wait_for_timeout(100)
        self.page.wait_for_selector("li.busy", state="detached", timeout=120000)

    def say(self, text):
        self.page.fill("#chat-input", text)
        self.page.press("#chat-input", "Enter")
        self.settle()

    def answers(self):
        return self.page.locator("li.assistant .text").all_inner_texts()

    def asked(self):
        return self.page.locator("li.user .text").last.inner_text()

    def about(self):
        return self.page.locator("li.assistant .about").last.inner_text()

    def kept(self):
        words = self.about().split("·")
        told = [word for word in words if "prompt tokens were kept" in word][0].split()
        return int(told[0]), int(told[2])

    def image(self, name):
        if not IMAGES:
            return
        os.makedirs(IMAGES, exist_ok=True)
        for theme in ("light", "dark"):
            self.page.emulate_media(color_scheme=theme)
            for width in (1280, 390):
                self.page.set_viewport_size({"width": width, "height": 800})
                self.page.wait_for_timeout(200)
                self.page.screenshot(path=os.path.join(IMAGES, f"{name}-{theme}-{width}.png"))
        self.page.set_viewport_size({"width": 1280, "height": 800})

    # ---- chat ----

    def test_chat_branch_restart_go_on(self):
        self.say(STORY + "How many boats came home?")
        self.say("And how many were lost?")
        first = self.answers()
        self.assertEqual(len(first), 2)
        # An edited message is a branch: what is above it is held already.
        self.page.locator("li.user").nth(1).get_by_text("Edit").click()
        self.page.locator("li.user textarea").fill("Who counted them?")
        self.page.get_by_text("Send as a branch").click()
        self.settle()
        self.assertEqual(self.answers()[0], first[0])
        kept, prompt = self.kept()
        self.assertGreater(kept, prompt // 2)
        self.assertEqual(self.page.locator("#chat-tree g").count(), 6)
        self.image("chat")
        # Back to the other branch, by its arrow, by the tree, and by the keyboard.
        self.page.locator("li.user").nth(1).get_by_label("Branch before").click()
        self.assertEqual((self.answers(), self.asked()), (first, "And how many were lost?"))
        self.page.keyboard.press("Alt+ArrowRight")
        self.assertEqual(self.asked(), "Who counted them?")
        self.page.locator("#chat-tree g").nth(3).click()
        self.assertEqual(self.asked(), "And how many were lost?")
        # The server is killed, and starts again; the page was left alone, and goes on.
        self.stop("kill")
        self.page.wait_for_selector(".health.bad", timeout=30000)
        self.start()
        self.page.wait_for_selector(".health.good", timeout=30000)
        self.say("Thank you.")
        kept, prompt = self.kept()
        self.assertGreaterEqual(kept, 0.8 * prompt, self.about())
        # Loaded again, it shows the same.
        told = self.answers()
        self.page.reload()
        self.page.locator("#chat-list button").nth(0).click()
        if self.answers() != told:
            self.page.locator("#chat-list button").nth(1).click()
        self.assertEqual(self.answers(), told)

    def test_texts_are_no_markup(self):
        evil = "<img src=x onerror=\"document.title='evil'\"><b>bold</b>\n```html\n<script>document.title='evil'</script>\n```"
        self.say(evil)
        self.assertIn("<b>bold</b>", self.page.locator("li.user .text").inner_text())
        self.assertEqual(self.page.locator("li.user img, li.user b, li.user script").count(), 0)
        self.assertEqual(self.page.locator("li.user pre").inner_text().strip(), "<script>document.title='evil'</script>")
        self.assertEqual(self.page.title(), "Driftwood")

    def test_stop(self):
        self.page.click("#chat-settings summary")
        self.page.fill("#chat-tokens", "2000")
        self.page.click("#chat-settings summary")
        self.page.fill("#chat-input", "Tell a very long story.")
        self.page.press("#chat-input", "Enter")
        self.page.wait_for_selector("#chat-stop", state="visible")
        self.page.wait_for_timeout(500)
        self.page.keyboard.press("Escape")
        self.settle()
        self.assertIn("stopped", self.about())

    def test_keys_and_theme(self):
        self.page.keyboard.press("Tab")
        for number, name in enumerate(("chat", "actors", "live", "links"), 1):
            self.page.keyboard.press(f"Alt+{number}")
            self.assertTrue(self.page.locator(f"#{name}").is_visible())
            self.assertEqual(self.page.locator("main > section:visible").count(), 1)
        self.page.keyboard.press("?")
        self.assertTrue(self.page.locator("#help").is_visible())
        self.page.keyboard.press("Escape")
        self.page.click("#theme")
        self.page.click("#theme")
        self.assertEqual(self.page.locator("html").get_attribute("data-theme"), "dark")

    # ---- the rest ----

    def test_links(self):
        self.page.keyboard.press("Alt+4")
        self.page.wait_for_selector(".check", timeout=60000)
        self.assertEqual(self.page.locator(".check .failed").count(), 0)
        self.image("links")

    def test_live(self):
        self.say("Name a sea.")
        self.page.keyboard.press("Alt+3")
        self.page.wait_for_selector("#tenants td")
        self.page.wait_for_timeout(2500)
        told = self.page.locator(".chart .now").all_inner_texts()
        self.assertEqual(len(told), 8)
        self.assertGreaterEqual(sum(text != "–" for text in told), 6, told)
        self.image("live")

    def test_actors(self):
        self.page.keyboard.press("Alt+2")
        self.page.set_input_files("#drop-file", os.path.join(GUESTS, "actor_echo.wasm"))
        self.page.get_by_role("button", name="Spawn").click()
        self.page.locator("#ask-fields input[name=name]").fill("echo")
        self.page.locator("#ask-fields select[name=model]").select_option("")
        self.page.click("#ask-ok")
        self.page.wait_for_selector("#actor-about .buttons")
        actor = self.page.locator("#actor-about h2").inner_text()
        self.assertFalse(self.page.locator("#actor-about .output").is_visible())  # no bar of nothing
        self.page.get_by_label("Message to the actor").fill("a wave")
        self.page.get_by_role("button", name="Send").last.click()
        self.page.wait_for_selector("#actor-about .output:has-text('a wave')")
        for name in ("Freeze", "Park", "Thaw", "Fork"):
            self.page.locator("#actor-about").get_by_role("button", name=name, exact=True).click()
            self.page.wait_for_selector(f"#notes p:has-text('{actor}: {name.lower()} done')")
        self.page.wait_for_selector("#actors-tree [aria-level='2']")
        self.image("actors")
        with self.page.expect_download() as told:
            self.page.get_by_role("button", name="Export").click()
        snapshot = os.path.join(self.place.name, "echo.snapshot")
        told.value.save_as(snapshot)
        before = self.page.locator("#actors-tree [role=treeitem]").count()
        self.page.set_input_files("#drop-file", snapshot)
        self.page.wait_for_selector("#notes p:has-text('imported')")
        self.assertEqual(self.page.locator("#actors-tree [role=treeitem]").count(), before + 1)
        self.page.locator(f"[data-id='{actor}']").click()
        self.page.get_by_role("button", name="Rewind").click()
        self.page.click("#ask-ok")
        self.page.wait_for_selector("#notes p:has-text('rewind done')")
        self.page.get_by_role("button", name="Stop").click()
        self.page.get_by_role("button", name="Stop").click()
        self.page.wait_for_selector(f"[data-id='{actor}']", state="detached")


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])

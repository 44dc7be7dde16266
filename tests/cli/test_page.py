#!/usr/bin/env python3
"""driftwood serve for browsers: the dashboard's files, the links, and whose pages may ask.

Called by ctest with the source and the build folder. Chromium goes through it in
tests/clients/check_page.py.
"""
import http.client
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from serving import BUILD, PROGRAM, SOURCE, Server  # noqa: E402

PAGE = os.path.join(SOURCE, "src/dashboard/page")
ENVIRONMENT = dict(os.environ, DRIFTWOOD_GUESTS=os.path.join(BUILD, "guests"))


def port_of(server):
    return int(server.address.rpartition(":")[2])


def ask(port, path, method="GET", body=None, **headers):
    """-> status, headers, bytes. Header names have '_' for '-'."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    read = answer.read()
    connection.close()
    return answer.status, answer.headers, read


class Case(unittest.TestCase):
    OPTIONS = ()

    @classmethod
    def setUpClass(cls):
        cls.server = Server(*cls.OPTIONS)
        cls.port = port_of(cls.server)

    @classmethod
    def tearDownClass(cls):
        assert cls.server.end() == 0, cls.server.errors

    def status(self, path, **how):
        return ask(self.port, path, **how)[0]


class Page(Case):
    def test_files_are_in_the_program_as_they_are(self):
        for name in os.listdir(PAGE):
            with open(os.path.join(PAGE, name), "rb") as file:
                whole = file.read()
            path = "/" if name == "index.html" else "/page/" + name
            status, headers, read = ask(self.port, path)
            self.assertEqual((status, read), (200, whole), name)
            self.assertIn("default-src 'none'", headers["Content-Security-Policy"])
            self.assertNotIn("unsafe", headers["Content-Security-Policy"])
            self.assertEqual(headers["X-Content-Type-Options"], "nosniff")
        status, headers, read = ask(self.port, "/", method="HEAD")
        self.assertEqual((status, read), (200, b""))

    def test_what_the_page_names_is_there(self):
        """What it loads, each module that another imports, and nothing of another machine."""
        for name in os.listdir(PAGE):
            with open(os.path.join(PAGE, name), encoding="utf-8") as file:
                text = file.read()
            for path in re.findall(r'(?:src|href)="(/[^"]*)"', text):
                self.assertEqual(self.status(path), 200, path)
            for module in re.findall(r'from "\./([^"]+)"', text):
                self.assertTrue(os.path.exists(os.path.join(PAGE, module)), module)
            self.assertEqual(re.findall(r"https?://(?!www\.w3\.org/2000/svg)", text), [], name)
            self.assertNotRegex(text, r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(")
            self.assertNotRegex(text, r'\son[a-z]+="|\sstyle="', name)

    def test_ids_that_the_scripts_use_are_in_the_page(self):
        with open(os.path.join(PAGE, "index.html"), encoding="utf-8") as file:
            ids = re.findall(r'\bid="([^"]+)"', file.read())
        self.assertEqual(len(ids), len(set(ids)))
        for name in os.listdir(PAGE):
            with open(os.path.join(PAGE, name), encoding="utf-8") as file:
                for used in re.findall(r'byId\("([^"]+)"\)', file.read()):
                    self.assertIn(used, ids, name)

    def test_others_paths_and_methods(self):
        for path in ("/page/", "/page/../page/main.js", "/page/none.js", "/page/index.html/", "//"):
            self.assertEqual(self.status(path), 404, path)
        self.assertIn(self.status("/", method="POST"), (404, 405))

    def test_links_are_the_doctors(self):
        status, _, read = ask(self.port, "/v1/links")
        self.assertEqual(status, 200, read)
        told = json.loads(read)
        doctor = json.loads(subprocess.run([PROGRAM, "doctor", "--json"], capture_output=True,
                                           text=True, check=True, env=ENVIRONMENT).stdout)
        for key in ("ok", "device", "description", "backend", "unified"):
            self.assertEqual(told[key], doctor[key])
        for key in ("name", "link", "unit", "goal", "what", "ok"):
            self.assertEqual([c[key] for c in told["checks"]], [c[key] for c in doctor["checks"]])


class Origins(Case):
    OPTIONS = ("--allow-origin", "https://chat.example", "--allow-origin", "http://10.1.2.3:3000")

    def test_a_page_of_another_site_is_refused(self):
        for origin in ("https://evil.example", "null", "http://127.0.0.1:1", "https://chat.example.evil",
                       "https://chat.example:444", "file://", ""):
            status, headers, read = ask(self.port, "/v1/models", Origin=origin)
            self.assertEqual((status, json.loads(read)["error"]["code"]), (403, "origin"), origin)
            self.assertNotIn("Access-Control-Allow-Origin", headers)
            self.assertEqual(self.status("/v1/models", method="OPTIONS", Origin=origin), 403)

    def test_its_own_page_and_allowed_ones(self):
        own = f"http://127.0.0.1:{self.port}"
        status, headers, _ = ask(self.port, "/v1/models", Origin=own)
        self.assertEqual(status, 200)
        self.assertNotIn("Access-Control-Allow-Origin", headers)
        for origin in ("https://chat.example", "http://10.1.2.3:3000"):
            status, headers, _ = ask(self.port, "/v1/models", Origin=origin)
            self.assertEqual((status, headers["Access-Control-Allow-Origin"]), (200, origin))
            self.assertEqual(headers["Vary"], "Origin")
            status, headers, _ = ask(self.port, "/v1/chat/completions", method="OPTIONS", Origin=origin,
                                     Access_Control_Request_Method="POST",
                                     Access_Control_Request_Headers="authorization,x-a")
            self.assertEqual((status, headers["Access-Control-Allow-Headers"]), (200, "authorization,x-a"))
            self.assertIn("POST", headers["Access-Control-Allow-Methods"])

    def test_names_that_anybody_may_point_here(self):
        for host in ("evil.example", f"evil.example:{self.port}", "127.0.0.1.evil.example", "localhost.evil",
                     "evillocalhost", "1.evil"):
            self.assertEqual(self.status("/v1/models", Host=host), 403, host)
        for host in ("localhost", f"LOCALHOST:{self.port}", "a.localhost", "[::1]:80", "192.168.0.7:8080",
                     "chat.example"):
            self.assertEqual(self.status("/v1/models", Host=host), 200, host)


class SocketFiles(unittest.TestCase):
    def test_any_host(self):
        """No name can point to a socket file; what a page sends is refused there as well."""
        with tempfile.TemporaryDirectory(prefix="dw-page-") as place:
            server = Server(state=place + "/state", listen=f"unix:{place}/s")
            for path in ("s", "state/server"):
                for headers, wanted in (("", 200), ("Origin: https://evil.example\r\n", 403)):
                    with socket.socket(socket.AF_UNIX) as one:
                        one.settimeout(60)
                        one.connect(f"{place}/{path}")
                        one.sendall(f"GET /v1/models HTTP/1.1\r\nHost: some.name\r\n{headers}\r\n".encode())
                        self.assertIn(f" {wanted} ".encode(), one.recv(4096), (path, headers))
            self.assertEqual(server.end(), 0)


class WithKeys(unittest.TestCase):
    def test_the_page_is_for_all_and_what_it_shows_is_not(self):
        with tempfile.TemporaryDirectory(prefix="dw-page-") as place:
            told = subprocess.run([PROGRAM, "serve", "--new-key", "t"], capture_output=True, text=True,
                                  check=True).stdout.split("\n")
            with open(place + "/keys", "w", encoding="utf-8") as file:
                file.write(told[1] + "\n")
            server = Server("--keys", place + "/keys", state=place + "/state")
            port = port_of(server)
            self.assertEqual(ask(port, "/")[0], 200)
            self.assertEqual(ask(port, "/page/main.js")[0], 200)
            self.assertEqual(ask(port, "/v1/links")[0], 401)
            self.assertEqual(ask(port, "/v1/models", Host="models.example")[0], 401)
            self.assertEqual(ask(port, "/v1/models", Host="models.example",
                                 Authorization="Bearer " + told[0])[0], 200)
            self.assertEqual(ask(port, "/v1/models", Origin="https://evil.example",
                                 Authorization="Bearer " + told[0])[0], 403)
            self.assertEqual(server.end(), 0)

    def test_an_origin_of_no_such_form(self):
        for origin in ("chat.example", "https://chat.example/path", "ftp://a"):
            told = subprocess.run([PROGRAM, "serve", "--allow-origin", origin], capture_output=True, text=True)
            self.assertEqual(told.returncode, 2, told)
            self.assertIn(origin, told.stderr)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])

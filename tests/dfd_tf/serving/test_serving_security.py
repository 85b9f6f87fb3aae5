"""Who may ask, and what every answer says to browsers."""

import io
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from dfd_tf.serving.application import create_app
from dfd_tf.serving.security import allowed_hosts
from dfd_tf.serving.settings import ServeSettings

PREDICT = "/api/v1/predict?model=whole"


def form(data):
    return {"file": (io.BytesIO(data), "x.jpg")}


def test_d15_nothing_is_ever_fetched(client, portraits):
    """A listener on loopback that every kind of reference points to is never asked."""
    asked = []

    class Listener(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(404)
            self.end_headers()

        do_HEAD = do_GET

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Listener)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/secret.jpg"
    bodies = [
        url.encode(),
        f'{{"url": "{url}"}}'.encode(),
        f"#EXTM3U\n#EXTINF:1,\n{url}\n".encode(),
        f"ffconcat version 1.0\nfile {url}\n".encode(),
        f'<svg xmlns="http://www.w3.org/2000/svg"><image href="{url}"/></svg>'.encode(),
    ]
    try:
        for body in bodies:
            assert client.post(PREDICT, data=body).status_code == 422
            assert client.post(PREDICT, data={"file": (io.BytesIO(body), url)}).status_code == 422
            assert client.post(PREDICT, json={"url": url}).status_code == 422
            client.post("/api/v1/jobs", data=body)
        comment = b"\xff\xfe" + (len(url) + 2).to_bytes(2, "big") + url.encode()
        tagged = portraits[0][:2] + comment + portraits[0][2:]
        assert client.post(PREDICT, data=form(tagged)).status_code == 200
    finally:
        server.shutdown()
        server.server_close()
    assert asked == []


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:81"},
        {"Origin": "http://["},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_d16_other_sites_change_nothing(client, portraits, headers):
    assert client.post(PREDICT, data=form(portraits[0]), headers=headers).status_code == 403
    assert client.post("/api/v1/jobs", data=form(portraits[0]), headers=headers).status_code == 403
    assert client.delete("/api/v1/jobs/x", headers=headers).status_code == 403


def test_d16_the_page_itself_may_ask(client, portraits):
    headers = {"Origin": "http://localhost", "Sec-Fetch-Site": "same-origin"}
    answer = client.post(PREDICT, data=form(portraits[0]), headers=headers)
    assert answer.status_code == 200
    assert not any(name.startswith("Access-Control") for name, _ in answer.headers)
    assert "Set-Cookie" not in answer.headers


@pytest.mark.parametrize("path", ["/", "/healthz", "/api/v1/models", "/nothing", "/metrics"])
def test_d17_headers(client, path):
    headers = client.get(path).headers
    policy = headers["Content-Security-Policy"]
    for part in (
        "default-src 'self'",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    ):
        assert part in policy
    assert "unsafe" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cache-Control"] == "no-store"


def test_d20_debugging_is_off_and_loopback_the_default(app, client):
    assert not app.debug
    assert not app.testing
    assert ServeSettings().host == "127.0.0.1"
    assert client.get("/console").status_code == 404
    assert client.get("/?__debugger__=yes&cmd=resource&f=debugger.js").mimetype == "text/html"


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "[", "localhost@x"])
def test_d21_host_names_that_are_not_ours(client, host):
    answer = client.get("/healthz", headers={"Host": host})
    assert answer.status_code == 403
    assert "allow-host" in answer.get_json()["error"]


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8080", "127.0.0.1:1", "[::1]:8080"])
def test_d21_host_names_that_are_ours(client, host):
    assert client.get("/healthz", headers={"Host": host}).status_code == 200


def test_d21_any_address_but_no_name_when_listening_everywhere(service, monkeypatch):
    everywhere = ServeSettings(host="0.0.0.0", allow_hosts=("faces.example",))
    monkeypatch.setattr(service, "settings", everywhere)
    client = create_app(service).test_client()
    codes = [
        client.get("/healthz", headers={"Host": host}).status_code
        for host in ("10.0.0.7:8080", "faces.example", "evil.example")
    ]
    assert codes == [200, 200, 403]


def test_allowed_hosts_without_case_brackets_and_ports():
    others = ("Faces.Example", "faces.example:8080", "[::1]:8080", "localhost:1")
    assert allowed_hosts("[::1]", others) == {
        "::1", "localhost", "127.0.0.1", "faces.example",
    }  # fmt: skip


@pytest.mark.parametrize("path", ["/api//v1/models", "/api/v1//models", "/static//base.css"])
def test_there_are_no_redirects(client, path):
    answer = client.get(path)
    assert (answer.status_code, list(answer.get_json())) == (404, ["error"])


def test_static_files_come_from_memory(client, monkeypatch):
    monkeypatch.setattr("builtins.open", lambda *_, **__: pytest.fail("a file is opened"))
    answer = client.get("/static/base.css")
    assert (answer.status_code, answer.mimetype) == (200, "text/css")
    tag = answer.headers["ETag"]
    assert client.get("/static/base.css", headers={"If-None-Match": tag}).status_code == 304
    assert client.head("/static/base.css").data == b""
    for name in ("../api.py", "%2e%2e/api.py", "none.css"):
        assert client.get(f"/static/{name}").status_code == 404


def test_d21_other_methods(client):
    assert client.head("/healthz").data == b""
    assert client.options("/api/v1/predict").status_code == 200
    assert client.get("/healthz/").status_code == 404


def test_help_needs_neither_flask_nor_tensorflow():
    code = (
        "import sys; from dfd_tf.cli.main import run; run(['serve', '--help']);"
        "sys.exit(any(name in sys.modules for name in ('flask', 'tensorflow', 'waitress')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert "--allow-host" in done.stdout

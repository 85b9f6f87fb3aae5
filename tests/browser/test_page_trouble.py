"""Broken storage, files that vanish, folders, a busy server: the page goes on."""

import json
import shutil

from browser_answers import model, result, served

ENTRY = {
    "name": "kept.jpg",
    "when": "2026-01-01T00:00:00Z",
    "picture": None,
    "results": [{"model": "one", "verdict": "real", "score": 1.0, "probability": None}],
}
BROKEN = [
    None,
    7,
    {},
    ENTRY | {"name": "a", "results": None},
    ENTRY | {"name": "b", "picture": "https://example.org/spy.png"},
    ENTRY | {"name": "c", "when": "yesterday"},
    ENTRY | {"name": "d", "results": [{"model": "one"}]},
    ENTRY | {"name": "e", "results": [None]},
]
STORE = "localStorage.setItem('dfd-tf.history', {})"
NO_STORAGE = """Object.defineProperty(window, 'localStorage', {
    get() { throw new DOMException('blocked', 'SecurityError'); } });"""
FULL_STORAGE = """Storage.prototype.setItem = () => {
    throw new DOMException('full', 'QuotaExceededError'); };"""
DROP_FOLDER = """() => {
    const file = name => ({ isFile: true, name, file: done => done(new File(["x"], name)) });
    const lost = { isFile: true, name: "lost.jpg", file: (done, failed) => failed(new Error()) };
    const folder = (name, parts) => ({ isFile: false, name, createReader: () => ({
        readEntries: done => done(parts.shift() ?? []) }) });
    const inner = folder("inner", [[file("c.jpg")]]);
    const root = folder("root", [[file("a.jpg"), file(".hidden")], [file("b.jpg"), inner, lost]]);
    DataTransferItem.prototype.webkitGetAsEntry = () => root;
    const data = new DataTransfer();
    data.items.add(new File(["x"], "root"));
    dispatchEvent(new DragEvent("drop", { dataTransfer: data, cancelable: true }));
}"""


def one_model(page):
    served([model("one")], [[result("one")]])(page)


def test_a_corrupt_history_loses_only_what_is_corrupt(visit):
    def ready(page):
        one_model(page)
        page.add_init_script(STORE.format(json.dumps(json.dumps([*BROKEN, ENTRY]))))

    here = visit(ready=ready)
    assert here.page.locator(".history-name").all_inner_texts() == ["kept.jpg"]
    here.add("portrait.jpg")
    assert here.card("portrait.jpg").get_attribute("data-state") == "done"


def test_without_storage_files_are_checked_all_the_same(visit):
    def ready(page):
        one_model(page)
        page.add_init_script(NO_STORAGE)

    here = visit(ready=ready)
    here.add("portrait.jpg")
    assert here.card("portrait.jpg").get_attribute("data-state") == "done"
    assert "lets the page store nothing" in here.page.locator("#history").inner_text()


def test_full_storage_is_said(visit):
    def ready(page):
        one_model(page)
        page.add_init_script(FULL_STORAGE)

    here = visit(ready=ready)
    here.add("portrait.jpg")
    here.page.get_by_text("no room left").wait_for()
    assert here.card("portrait.jpg").get_attribute("data-state") == "done"


def test_a_history_that_fails_leaves_the_verdict(visit):
    def ready(page):
        one_model(page)
        page.add_init_script(
            "HTMLCanvasElement.prototype.toDataURL = () => { throw new Error('no canvas'); }"
        )

    here = visit(ready=ready)
    here.add("portrait.jpg")
    here.page.wait_for_timeout(300)
    assert here.card("portrait.jpg").get_attribute("data-state") == "done"
    assert here.card("portrait.jpg").locator(".verdict").count() == 1


def test_a_file_that_changed_is_not_sent(visit, tmp_path):
    here = visit(ready=one_model)
    path = tmp_path / "vanishing.jpg"
    shutil.copy(here.media / "portrait.jpg", path)
    here.page.set_input_files("#files", [str(path)])
    card = here.card("vanishing.jpg")
    card.locator(".verdict").wait_for()
    path.write_bytes(b"something else altogether")
    card.get_by_label("Judged at").select_option("strict")
    card.locator(".note.failed").wait_for()
    assert "This file can no longer be read" in card.locator(".note.failed").inner_text()


def test_folders_are_walked(visit):
    here = visit(ready=one_model)
    here.page.evaluate(DROP_FOLDER)
    here.page.wait_for_function("document.querySelectorAll('.card').length === 3")
    assert set(here.page.locator(".card h3").all_inner_texts()) == {"a.jpg", "b.jpg", "c.jpg"}
    assert "lost.jpg" in here.page.locator("#unreadable").inner_text()


def test_images_pass_videos_that_have_to_wait(visit):
    def ready(page):
        one_model(page)
        page.route(
            "**/api/v1/jobs?*",
            lambda route: route.fulfill(
                status=503, headers={"Retry-After": "60"}, json={"error": "busy"}
            ),
        )

    here = visit(ready=ready)
    here.allowed.append("503 (Service Unavailable)")
    names = ["clip.webm", "clip.webm", "portrait.jpg"]
    here.page.set_input_files("#files", [str(here.media / name) for name in names])
    here.card("portrait.jpg").locator(".verdict").wait_for(timeout=10_000)
    assert here.page.get_by_text("The server is busy; trying again shortly").count() == 2

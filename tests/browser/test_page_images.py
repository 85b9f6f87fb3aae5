import hashlib
import json

import pytest
import requests

from dfd_tf.cli.main import run

ODD_NAME = "<img src=x onerror=document.title=1>.jpg"
DROP = """bytes => {
    const data = new DataTransfer();
    data.items.add(new File([new Uint8Array(bytes)], "dropped.jpg", { type: "image/jpeg" }));
    dispatchEvent(new DragEvent("dragenter", { dataTransfer: data }));
    const isInvited = !document.getElementById("veil").hidden;
    const over = new DragEvent("dragover", { dataTransfer: data, cancelable: true });
    if (dispatchEvent(over)) return false;  // a browser would open the file instead
    dispatchEvent(new DragEvent("drop", { dataTransfer: data, cancelable: true }));
    return isInvited && document.getElementById("veil").hidden;
}"""
MOST_ALPHA = """heat => {
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [heat.naturalWidth, heat.naturalHeight];
    const context = canvas.getContext("2d");
    context.drawImage(heat, 0, 0);
    const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
    return data.reduce((most, value, at) => at % 4 === 3 ? Math.max(most, value) : most, 0);
}"""
STORED = "localStorage.getItem('dfd-tf.history')"


def asked(url, path, **query):
    """What the interface itself answers."""
    answer = requests.post(
        f"{url}/api/v1/predict", params=query, files={"file": path.read_bytes()}, timeout=60
    )
    return answer.json()


def shown_scores(card):
    """Scores of the models compared, as the page holds them."""
    row = card.locator(".comparison tr", has=card.page.get_by_role("rowheader", name="Score"))
    return [float(data.get_attribute("value")) for data in row.locator("data").all()]


def test_an_image_is_scored_as_by_interface_and_command_line(visit, url, media, runs, capsys):
    here = visit()
    here.add("pair.png")
    card = here.card("pair.png")
    results = asked(url, media / "pair.png")["results"]
    printed = []
    for one in runs:
        assert run(["predict", str(one), str(media / "pair.png"), "--format", "jsonl"]) == 0
        printed.append(json.loads(capsys.readouterr().out.splitlines()[-1])["score"])
    assert shown_scores(card) == pytest.approx([one["score"] for one in results], abs=1e-6)
    assert shown_scores(card) == pytest.approx(printed, abs=1e-6)
    verdicts = [badge.get_attribute("data-verdict") for badge in card.locator("td .badge").all()]
    assert verdicts == [one["verdict"] or "none" for one in results] == ["real", "none"]


def test_the_card_says_what_the_numbers_mean(visit):
    here = visit()
    here.add("pair.png")
    verdict = here.card("pair.png").locator(".verdict")
    text = verdict.inner_text().replace("\u00a0", " ")
    assert "Looks real" in text
    assert "not above the threshold 50" in text
    assert "of 40 real calibration photos score this high" in text or "None of 40" in text
    assert "At most 5 % of real faces like those of the calibration are called fake" in text
    assert "Not calibrated: this model gives no probability" in text
    assert "Random initial weights" in text
    assert "An estimate, not proof." in text
    assert "100 %" not in text


def test_faces_have_boxes_and_heat_maps_with_a_strength(visit):
    here = visit()
    here.add("pair.png")
    card = here.card("pair.png")
    assert card.locator(".box").count() == 2
    heats = card.locator(".heat")
    assert heats.count() == 2
    assert heats.first.evaluate("heat => heat.naturalWidth") == 32
    assert all(heat.evaluate(MOST_ALPHA) > 60 for heat in heats.all())
    card.get_by_label("Heat map strength").fill("25")
    assert [heat.evaluate("heat => getComputedStyle(heat).opacity") for heat in heats.all()] == [
        "0.25",
        "0.25",
    ]
    card.locator(".box").nth(1).click()
    assert here.page.evaluate("document.activeElement.innerText").startswith("Face 2")
    card.get_by_role("tab", name="tiny-dae").click()
    captions = card.locator(".crop figcaption").all_inner_texts()
    assert captions == ["Heat map", "Rebuilt by the model", "Difference"] * 2


def test_another_operating_point_is_asked_for(visit, url, media):
    here = visit()
    here.ask_only("tiny-spatial")
    here.add("portrait.jpg")
    card = here.card("portrait.jpg")
    assert "Looks real" in card.locator(".verdict").inner_text()
    card.get_by_label("Judged at").select_option("optimal")
    card.locator(".verdict", has_text="(optimal)").wait_for()
    query = {"model": "tiny-spatial", "operating_point": "optimal"}
    (result,) = asked(url, media / "portrait.jpg", **query)["results"]
    assert result["verdict"] == "fake"
    assert "Looks fake" in card.locator(".verdict").inner_text()
    assert card.locator(".heat").count() == 1
    assert here.page.evaluate("document.activeElement.value") == "optimal"
    here.allowed.append("ERR_FAILED")
    here.page.route("**/api/v1/predict?*", lambda route: route.abort())
    card.get_by_label("Judged at").select_option("balanced")
    card.locator(".note.failed").wait_for()
    assert "could not be reached" in card.locator(".note.failed").inner_text()
    assert "Looks fake" in card.locator(".verdict").inner_text()


def test_files_that_cannot_be_used_say_why(visit, url, media):
    here = visit()
    here.allowed.append("422 (UNPROCESSABLE ENTITY)")
    here.add("letter.jpg", "portrait.jpg")
    reason = asked(url, media / "letter.jpg")["error"]
    assert here.card("letter.jpg").locator(".note.failed").inner_text() == reason
    assert here.card("portrait.jpg").get_attribute("data-state") == "done"
    here.page.get_by_role("button", name="Remove all").click()
    here.page.get_by_role("button", name="Remove", exact=True).last.click()
    assert here.page.locator(".card").count() == 0


def test_a_picture_without_a_face_has_no_score(visit):
    here = visit()
    here.ask_only("tiny-spatial")
    here.add("wall.png")
    text = here.card("wall.png").locator(".verdict").inner_text()
    assert "No face found" in text
    assert "Score" not in text


def test_file_names_are_text(visit):
    here = visit()
    here.add(ODD_NAME)
    assert here.card(ODD_NAME).get_by_role("heading").first.inner_text() == ODD_NAME
    assert here.page.locator(".history-name").inner_text() == ODD_NAME
    assert here.page.locator("img[src=x]").count() == 0
    assert here.page.title() != "1"


def test_over_a_limit_nothing_is_sent(visit):
    def small(page):
        def answer(route):
            models = route.fetch().json()
            models["limits"]["max_image_bytes"] = 1000
            route.fulfill(json=models)

        page.route("**/api/v1/models", answer)

    here = visit(ready=small)
    here.add("portrait.jpg")
    assert "at most 1000 bytes" in here.card("portrait.jpg").locator(".note.failed").inner_text()
    assert [one for one in here.requests if one.method == "POST"] == []


def test_a_busy_server_is_asked_again(visit):
    answers = iter([True])

    def busy_once(route):
        if next(answers, False):
            route.fulfill(status=503, headers={"Retry-After": "1"}, json={"error": "busy"})
        else:
            route.continue_()

    here = visit(ready=lambda page: page.route("**/api/v1/predict?*", busy_once))
    here.allowed.append("503 (Service Unavailable)")
    here.add("portrait.jpg", finished=False)
    here.page.get_by_text("The server is busy; trying again shortly").wait_for()
    here.page.wait_for_selector(".card[data-state=done]")


def test_two_files_are_sent_at_once(visit):
    held = []
    here = visit(
        ready=lambda page: page.route("**/api/v1/predict?*", lambda route: held.append(route))
    )
    here.add("portrait.jpg", "pair.png", "wall.png", finished=False)
    here.wait_until(lambda: len(held) == 2)
    here.page.wait_for_timeout(200)
    assert len(held) == 2
    uploading = here.page.locator(".card", has_text="Uploading")
    assert uploading.count() == 2
    uploading.first.get_by_role("button", name="Cancel").click()
    here.wait_until(lambda: len(held) == 3)
    assert here.page.get_by_text("Cancelled.").count() == 1


def test_the_export_holds_the_answer(visit, url, media):
    here = visit()
    here.add("pair.png")
    with here.page.expect_download() as download:
        here.card("pair.png").get_by_role("button", name="JSON").click()
    content = json.loads(download.value.path().read_text())
    assert download.value.suggested_filename == "pair.dfd-tf.json"
    digest = hashlib.sha256((media / "pair.png").read_bytes()).hexdigest()
    assert content["file"]["sha256"] == digest
    results = asked(url, media / "pair.png", explain="true")["results"]
    assert content["results"] == results
    assert content["program"] == "dfd-tf"
    assert content["calibrations"]["tiny-spatial"]["num_real"] == 40
    assert content["calibrations"]["tiny-dae"] is None


def test_history_stays_here_until_cleared(visit):
    here = visit()
    here.ask_only("tiny-spatial")
    here.add("portrait.jpg")
    here.page.locator(".history-list li").wait_for()
    (entry,) = json.loads(here.page.evaluate(STORED))
    assert entry["name"] == "portrait.jpg"
    assert entry["results"][0]["verdict"] == "real"
    assert len(entry["picture"]) < 8000
    here.open()
    assert here.page.locator(".history-list li").count() == 1
    here.page.get_by_role("button", name="Clear").click()
    assert here.page.locator(".history-list li").count() == 0
    assert here.page.evaluate(STORED) is None
    here.page.get_by_label("Remember in this browser").uncheck()
    here.add("pair.png")
    here.page.wait_for_timeout(200)
    assert here.page.evaluate(STORED) is None


def test_files_can_be_dropped_anywhere(visit, media):
    here = visit()
    assert here.page.evaluate(DROP, list((media / "portrait.jpg").read_bytes()))
    here.page.wait_for_selector(".card[data-state=done]")
    assert here.page.locator(".card h3").inner_text() == "dropped.jpg"


def test_a_snapshot_goes_the_way_of_a_file(visit):
    here = visit()
    here.page.get_by_role("button", name="Use the webcam").click()
    take = here.page.get_by_role("button", name="Take a snapshot")
    here.page.wait_for_selector("#camera-take:not([disabled])")
    take.click()
    here.page.wait_for_selector(".card[data-state=done]")
    assert here.page.locator(".card h3").inner_text().startswith("webcam ")


def test_without_a_webcam_the_reason_is_said(visit):
    here = visit(ready=lambda page: page.add_init_script("delete Navigator.prototype.mediaDevices"))
    assert not here.page.get_by_role("button", name="Use the webcam").is_visible()
    assert "No webcam here" in here.page.locator("#webcam-reason").inner_text()


def test_while_models_are_loaded_the_page_waits(visit):
    answers = iter([True])

    def loading_once(route):
        answer = route.fetch().json()
        route.fulfill(json=answer | {"models": []} if next(answers, False) else answer)

    here = visit(ready=lambda page: page.route("**/api/v1/models", loading_once))
    assert here.page.get_by_role("button", name="Choose files").is_enabled()
    assert here.page.locator(".models li").count() >= 2

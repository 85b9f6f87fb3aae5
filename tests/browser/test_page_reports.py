"""What is printed of a card, and of the page."""

import hashlib
from datetime import datetime

from browser_answers import SHA256, clip_result, model, result, served

NO_PRINTER = "window.print = () => {}"


def report_of(visit, name, *prepare):
    """Opens the report of a file as it would be printed."""

    def ready(page):
        page.add_init_script(NO_PRINTER)
        for one in prepare:
            one(page)

    here = visit(ready=ready)
    here.add(name)
    here.card(name).get_by_role("button", name="Report").click()
    here.page.wait_for_selector("body.reporting", state="attached")
    here.page.emulate_media(media="print")
    return here, here.page.locator("#report")


def value_of(report, name):
    row = report.locator("tr", has=report.page.locator(f"th:text-is('{name}')"))
    return row.locator("td").first.inner_text().replace("\u00a0", " ")


def test_the_report_is_all_that_is_printed(visit, media):
    here, report = report_of(visit, "pair.png")
    assert hashlib.sha256((media / "pair.png").read_bytes()).hexdigest() in report.inner_text()
    assert here.page.title() == "dfd-tf report pair.png"
    assert not here.page.locator("main").is_visible()
    models = here.page.request.get(f"{here.url}/api/v1/models").json()["models"]
    text = report.inner_text()
    assert all(one["model"] in text for one in models)
    assert models[0]["calibration"]["dataset_fingerprint"] in text
    assert "not proof" in text
    # The picture; of each of two models two crops under heat maps, of the dae two pictures more.
    assert report.locator("img").count() == 1 + 2 * 2 + 2 * 4


def test_the_report_of_an_image_can_be_checked(visit):
    answers = [[result("one"), result("two", "real")]]
    made_up = served([model("one", clips=(23, 9)), model("two")], answers)
    _, report = report_of(visit, "portrait.jpg", made_up)
    assert SHA256 in value_of(report, "SHA-256")
    assert "computed by the server, over the bytes it judged" in value_of(report, "SHA-256")
    assert datetime.fromisoformat(value_of(report, "Checked")).tzinfo is not None
    assert value_of(report, "Image") == "200 × 200 pixels"
    assert "stability check off" in value_of(report, "Asked")
    section = report.locator(".report-model").first
    calibration = value_of(section, "Calibration")
    assert "made-up: 40 real and 20 fake images, 23 real and 9 fake clips" in calibration
    assert "fe" * 32 in calibration
    assert "2 of 40 real calibration photos score this high" in section.inner_text().replace(
        "\u00a0", " "
    )
    assert "made up" in section.locator(".reason").inner_text().lower()
    assert section.locator(".report-face img").count() == 4
    assert "The models disagree" in report.inner_text()


def test_without_a_secure_page_the_report_says_why_there_is_no_fingerprint(visit):
    def insecure(page):
        page.add_init_script("Object.defineProperty(crypto, 'subtle', { value: undefined })")
        listed = [model("one")]
        served(listed, [[result("one")]])(page)
        answer = {"kind": "image", "image": {"width": 2, "height": 2}, "results": [result("one")]}
        page.route("**/api/v1/predict?*", lambda route: route.fulfill(json=answer))

    _, report = report_of(visit, "portrait.jpg", insecure)
    assert value_of(report, "SHA-256").startswith("not available because")


def test_the_report_of_a_video_has_timeline_and_persons(visit):
    made_up = served([model("one", clips=(23, 9))], [[clip_result("one")]])
    _, report = report_of(visit, "clip.webm", made_up)
    assert value_of(report, "Video") == "400 × 200 pixels, 2.4 s long"
    assert "every frame: looked at 12 of 12" in value_of(report, "Frames")
    assert "mean over the frames (made up)" in value_of(report, "Score of a person")
    assert report.locator(".report-timeline svg .person-mark").count() >= 12
    rows = report.locator(".report-persons tbody tr")
    cells = [row.locator("td").all_inner_texts() for row in rows.all()]
    assert [row[:3] + row[4:7] for row in cells] == [
        ["Person 1", "Looks fake", "1.5", "0.167", "yes", "0:00.0 to 0:02.2, 12 frames"],
        ["Person 2", "Looks real", "1.5", "0.167", "no", "0:00.0 to 0:02.2, 1 frame"],
    ]
    assert "p\u00a0=\u00a00.25; share of 31 persons" in cells[0][7]
    assert "At 0:02.2" in report.locator("figure figcaption").first.inner_text()
    assert report.locator(".report-picture").evaluate("image => image.naturalWidth") > 100


def test_the_page_on_paper_has_all_models(visit):
    answers = [[result("one"), result("two", "real"), result("three")]]
    here = visit(ready=served([model(name) for name in ("one", "two", "three")], answers))
    here.add("portrait.jpg")
    here.page.evaluate("dispatchEvent(new Event('beforeprint'))")
    here.page.emulate_media(media="print")
    lines = here.card("portrait.jpg").locator(".model-line")
    assert [line.is_visible() for line in lines.all()] == [True] * 3
    assert here.page.locator(".foot").is_visible()
    here.page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert lines.count() == 1
    here.page.emulate_media(media="screen")
    here.page.get_by_role("tab", name="two").click()
    assert "two" in lines.inner_text()

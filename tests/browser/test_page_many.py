"""Thirty files at once: a summary, filters, exports, folded cards."""

import csv
import json

import pytest
from browser_answers import SHA256, model, result, served

VERDICTS = ["fake", "real", "inconclusive", "fake", "real", "real", "fake"]


@pytest.fixture
def many(visit):
    answers = [[result("one", verdict)] for verdict in VERDICTS]
    here = visit(ready=served([model("one")], [*answers, "=HYPERLINK(1) is no image"]))
    here.allowed.append("422 (Unprocessable Entity)")
    here.add(*["portrait.jpg"] * 8)
    return here


def test_many_files_are_counted_and_filtered(many):
    strip = many.page.locator("#triage")
    words = "8 of 8 done: 3 fake, 3 real, 1 inconclusive, 1 failed"
    assert strip.locator(".triage-words").inner_text() == words
    strip.get_by_role("button", name="inconclusive").click()
    visible = [card for card in many.page.locator(".card").all() if card.is_visible()]
    assert len(visible) == 1
    assert visible[0].locator("[data-verdict=inconclusive]").count() >= 1
    strip.get_by_role("button", name="all", exact=False).first.click()
    assert all(card.is_visible() for card in many.page.locator(".card").all())
    assert many.violations() == []


def test_cards_after_the_first_are_a_line_that_opens(many):
    bodies = many.page.locator(".card-body")
    assert [body.is_visible() for body in bodies.all()] == [True] * 3 + [False] * 5
    card = many.page.locator(".card").nth(5)
    assert card.locator(".card-line .badge").is_visible()
    opener = card.get_by_role("button", name="Show")
    assert opener.get_attribute("aria-expanded") == "false"
    opener.click()
    assert bodies.nth(5).is_visible()
    assert many.page.evaluate("document.activeElement.getAttribute('aria-expanded')") == "true"


def test_all_results_go_into_one_file(many):
    with many.page.expect_download() as download:
        many.page.get_by_role("button", name="All as JSON").click()
    content = json.loads(download.value.path().read_text())
    assert [len(one["results"]) for one in content["files"]] == [1] * 7 + [0]
    assert content["files"][0]["file"]["sha256"] == SHA256
    with many.page.expect_download() as download:
        many.page.get_by_role("button", name="All as CSV").click()
    with download.value.path().open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["verdict"] for row in rows] == [*VERDICTS, ""]
    assert [float(row["score"]) for row in rows[:7]] == [1.5] * 7
    assert rows[7]["error"] == "'=HYPERLINK(1) is no image"


def test_all_can_be_cancelled_and_removed(visit):
    held = []

    def ready(page):
        served([model("one")], [[result("one")]])(page)
        page.route("**/api/v1/predict?*", lambda route: held.append(route))

    here = visit(ready=ready)
    here.add(*["portrait.jpg"] * 5, finished=False)
    here.wait_until(lambda: len(held) == 2)
    here.page.get_by_role("button", name="Cancel all").click()
    here.page.wait_for_function(
        "document.querySelectorAll('.card[data-state=cancelled]').length === 5"
    )
    here.page.get_by_role("button", name="Remove all").click()
    here.page.get_by_role("button", name="Keep").click()
    assert here.page.locator(".card").count() == 5
    here.page.get_by_role("button", name="Remove all").click()
    here.page.get_by_role("button", name="Remove", exact=True).last.click()
    here.page.wait_for_function("document.querySelectorAll('.card').length === 0")


def test_three_models_fit_a_phone(visit):
    names = ["real-spatial", "real-dae-with-a-long-name", "ensemble"]
    verdicts = ["fake", "inconclusive", "no face"]
    results = [result(name, verdict) for name, verdict in zip(names, verdicts, strict=True)]
    here = visit(width=360, ready=served([model(name) for name in names], [results]))
    here.add("portrait.jpg")
    assert here.overflow() == 0
    badges = here.page.locator(".comparison td .badge").all()
    assert len(badges) == 3
    for badge in badges:
        inner = badge.bounding_box()
        outer = badge.locator("xpath=ancestor::td").bounding_box()
        assert inner["x"] >= outer["x"]
        assert inner["x"] + inner["width"] <= outer["x"] + outer["width"] + 0.5
        assert inner["y"] + inner["height"] <= outer["y"] + outer["height"] + 0.5

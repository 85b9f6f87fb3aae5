import pytest
import requests

CLIP_SECONDS = 12 / 5


def checked(visit, url):
    """A visit with the clip checked frame by frame, and what the interface says of it."""
    here = visit()
    here.ask_only("tiny-spatial")
    here.page.get_by_label("Every frame of videos").check()
    assert here.page.locator("#asking").inner_text().startswith("Asking tiny-spatial at balanced")
    with here.page.expect_response(lambda one: '"state":"done"' in safe_text(one)) as found:
        here.add("clip.webm")
    return here, here.card("clip.webm"), found.value.json()["job"]["results"][0]


def safe_text(response):
    return response.text() if "/api/v1/jobs/" in response.url else ""


def time_now(card):
    return card.locator("video").evaluate("video => video.currentTime")


def test_a_video_has_a_timeline_that_seeks(visit, url):
    here, card, result = checked(visit, url)
    assert len(result["video"]["frames"]) == 12
    here.page.wait_for_function("() => document.querySelector('video').readyState >= 1")
    assert card.locator("video").evaluate("video => video.duration") == pytest.approx(
        CLIP_SECONDS, abs=0.25
    )
    faceless = sum(frame["num_faces"] == 0 for frame in result["video"]["frames"])
    assert card.locator(".timeline .faceless").count() == faceless >= 3
    assert card.locator(".timeline g[data-person]").count() == len(result["persons"]) == 2
    slider = card.get_by_role("slider", name="Time in the video")
    box = slider.bounding_box()
    slider.click(position={"x": box["width"] - 12 - 0.25 * (box["width"] - 58), "y": 60})
    assert time_now(card) == pytest.approx(0.75 * CLIP_SECONDS, abs=0.1)
    assert float(slider.get_attribute("aria-valuenow")) == pytest.approx(time_now(card), abs=0.01)
    here.page.keyboard.press("Home")
    assert time_now(card) == 0
    here.page.keyboard.press("ArrowRight")
    assert time_now(card) == pytest.approx(result["video"]["frames"][1]["seconds"], abs=0.01)
    assert "Person 1 scores" in slider.get_attribute("aria-valuetext")


def test_people_are_tabs_and_scores_those_of_the_interface(visit, url):
    here, card, result = checked(visit, url)
    tabs = card.get_by_role("tablist", name="People in the video").get_by_role("tab")
    assert tabs.count() == 2
    tabs.first.focus()
    for key, selected in (("ArrowRight", 1), ("ArrowRight", 0), ("End", 1), ("Home", 0)):
        here.page.keyboard.press(key)
        assert tabs.nth(selected).get_attribute("aria-selected") == "true"
        assert tabs.nth(1 - selected).get_attribute("tabindex") == "-1"
        person = result["persons"][selected]
        shown = card.locator(".person .facts data").first.get_attribute("value")
        assert float(shown) == pytest.approx(person["score"], abs=1e-6)
    panel = card.locator(".person")
    assert panel.locator(".heat").count() == 1
    assert "Second opinion, from the changes over time" in panel.inner_text()
    assert result["persons"][0]["temporal"]["note"] in panel.inner_text()
    assert result["video"]["sampling"] in card.locator(".sampling").inner_text()
    shown = card.locator(".verdict .score data").first.get_attribute("value")
    assert float(shown) == pytest.approx(result["score"], abs=1e-6)
    assert "no false-alarm rate is promised for clips" in card.locator(".verdict").inner_text()


def state_of(job_url):
    return requests.get(job_url, timeout=60).json().get("job", {}).get("state")


def test_a_running_video_can_be_cancelled(visit):
    def never_done(route):
        if route.request.method == "DELETE":
            return route.continue_()
        job = route.fetch().json()["job"]
        job |= {"state": "running", "stage": "reading", "done": 1, "total": 3, "results": None}
        return route.fulfill(json={"job": job})

    here = visit(ready=lambda page: page.route("**/api/v1/jobs/*", never_done))
    here.add("clip.webm", finished=False)
    card = here.card("clip.webm")
    here.page.get_by_text("frame 1 of 3").wait_for()
    with here.page.expect_response(lambda one: one.request.method == "DELETE") as deleted:
        card.get_by_role("button", name="Cancel").click()
    assert deleted.value.status == 200
    # A job that is done by now is gone, not cancelled.
    here.wait_until(lambda: state_of(deleted.value.url) in (None, "cancelled"))
    assert card.get_attribute("data-state") == "cancelled"


def test_a_video_without_a_videos_name_is_found_out(visit):
    here = visit()
    here.ask_only("tiny-spatial")
    here.allowed.append("415 (UNSUPPORTED MEDIA TYPE)")
    here.add("clip.bin")
    assert here.card("clip.bin").locator(".timeline").count() == 1

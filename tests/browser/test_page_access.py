"""Small windows, dark rooms, keyboards and screen readers."""

import pytest


def ground(here):
    colour = here.page.evaluate("getComputedStyle(document.body).backgroundColor")
    return sum(int(value) for value in colour.strip("rgb()").split(",")) / 3


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(visit, scheme):
    here = visit(scheme=scheme)
    here.allowed.append("422 (UNPROCESSABLE ENTITY)")
    assert (ground(here) < 60) == (scheme == "dark")
    assert here.violations() == []
    here.add("pair.png", "letter.jpg")
    assert here.violations() == []
    here.page.get_by_role("tab", name="tiny-dae").click()
    here.add("clip.webm")
    assert here.violations() == []


def test_a_phone_needs_no_sideways_scrolling(visit):
    here = visit(width=360)
    here.allowed.append("422 (UNPROCESSABLE ENTITY)")
    assert here.overflow() == 0
    here.add("pair.png", "letter.jpg", "clip.webm")
    assert here.overflow() == 0
    assert here.violations() == []


def test_colours_are_remembered(visit):
    here = visit()
    here.page.get_by_role("radio", name="Dark").check()
    assert ground(here) < 60
    here.open()
    assert ground(here) < 60
    assert here.page.get_by_role("radio", name="Dark").is_checked()
    here.page.get_by_role("radio", name="Auto").check()
    assert ground(here) > 200


def test_models_are_tabs_for_the_keyboard(visit):
    here = visit()
    here.add("portrait.jpg")
    tabs = here.card("portrait.jpg").get_by_role("tablist", name="Models").get_by_role("tab")
    tabs.first.focus()
    here.page.keyboard.press("ArrowRight")
    assert tabs.nth(1).get_attribute("aria-selected") == "true"
    assert "tiny-dae" in here.card("portrait.jpg").locator(".model-line").inner_text()


def test_progress_and_verdict_are_announced(visit):
    here = visit()
    here.ask_only("tiny-spatial")
    here.add("portrait.jpg")
    assert here.page.locator("#announcer").inner_text() == "portrait.jpg: looks real"

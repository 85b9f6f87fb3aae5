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
    said = here.page.locator("#announcer")
    here.wait_until(lambda: said.inner_text() == "portrait.jpg: looks real")


def test_what_comes_together_is_announced_together(visit):
    here = visit()
    here.allowed.append("422 (UNPROCESSABLE ENTITY)")
    here.add("letter.jpg", "wall.png")
    said = here.page.locator("#announcer")
    here.wait_until(lambda: "wall.png: " in said.inner_text())
    assert "tiny-spatial no face found, tiny-dae" in said.inner_text()
    live = ".card [role=status], .card [role=alert], .card [aria-live]"
    assert here.page.locator(live).count() == 0


def focused(here):
    return here.page.evaluate("document.activeElement.textContent")


def test_focus_stays_on_a_card_that_changes(visit):
    held = []

    def ready(page):
        page.route("**/api/v1/predict?*", lambda route: held.append(route))

    here = visit(ready=ready)
    here.add("portrait.jpg", finished=False)
    here.wait_until(lambda: held)
    cancel = here.card("portrait.jpg").get_by_role("button", name="Cancel")
    cancel.focus()
    held[0].continue_()
    here.page.wait_for_selector(".card[data-state=done]")
    assert focused(here) == "portrait.jpg"
    here.add("pair.png", finished=False)
    here.wait_until(lambda: len(held) == 2)
    here.card("pair.png").get_by_role("button", name="Cancel").press("Enter")
    here.page.wait_for_selector(".card[data-state=cancelled]")
    assert focused(here) == "pair.png"
    here.card("pair.png").get_by_role("button", name="Remove").press("Enter")
    assert here.page.evaluate("document.activeElement.id") == "results"

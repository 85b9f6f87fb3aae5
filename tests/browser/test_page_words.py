"""What is said of a verdict, and of what it rests on."""

import pytest
from browser_answers import clip_result, data_uri, model, result, served

UNSET = "no verdicts: operating point strict was not set: needs 99 real images, there are 40"


def plain(locator):
    return locator.inner_text().replace("\u00a0", " ")


def clip(visit, clips, **changes):
    models = [model("one", clips=clips)]
    here = visit(ready=served(models, [[clip_result("one", **changes)]]))
    here.add("clip.webm")
    return here.card("clip.webm")


def test_a_clip_is_compared_with_the_clips_of_the_calibration(visit):
    card = clip(visit, (23, 9))
    assert "3 of 23 real calibration clips score this high (p = 0.167)" in plain(card)
    assert "3 of 23 real calibration clips" in plain(card.locator(".person"))
    opinion = plain(card.locator(".person .note").first)
    assert "p = 0.25" in opinion
    assert "share of 31 persons" in opinion
    assert "of 100" not in plain(card)
    assert "calibrated on single images" not in plain(card)


def test_without_a_count_of_clips_only_p_is_said(visit):
    card = clip(visit, None)
    assert "Against the real calibration clips: p = 0.167." in plain(card)
    assert "of 100" not in plain(card)


@pytest.mark.parametrize("clips", [None, (5, 5)])
def test_a_probability_from_single_images_says_so(visit, clips):
    reason = "ordinary; limits are those of single images, without a promise"
    card = clip(visit, clips, reason=reason, promised_fpr=None, p_value=None)
    words = "calibrated on single images, not on clips"
    assert words in plain(card.locator(".verdict .probability"))
    assert words in plain(card.locator(".person .facts"))


def test_the_comparison_says_which_probability_is_of_single_images(visit):
    models = [model("one", clips=(23, 9)), model("two")]
    here = visit(ready=served(models, [[clip_result("one"), clip_result("two")]]))
    here.add("clip.webm")
    cells = here.card("clip.webm").locator(".comparison td")
    said = [cell for cell in cells.all_inner_texts() if "calibrated on single images" in cell]
    assert len(said) == 1


def test_an_operating_point_that_a_model_lacks_is_marked(visit):
    models = [model("one"), model("two", points=("balanced",))]
    two = result("two", None, operating_point="not set", threshold=None, reason=UNSET)
    here = visit(ready=served(models, [[result("one"), two]]))
    here.page.get_by_role("radio", name="strict").check()
    assert "(one only)" in here.page.locator(".segments.wide").inner_text()
    assert "Not set for two" in here.page.locator("#settings").inner_text()
    here.add("portrait.jpg")
    card = here.card("portrait.jpg")
    assert "strict (one only)" in card.locator("select").inner_text()
    card.get_by_role("tab", name="two").click()
    assert UNSET.lower() in card.locator(".verdict .reason").inner_text().lower()
    here.ask_only("one")
    assert "only" not in here.page.locator(".segments.wide").inner_text()


def test_the_interface_gives_the_true_reason(visit):
    here = visit()
    here.ask_only("tiny-spatial")
    answer = here.page.request.post(
        f"{here.url}/api/v1/predict?operating_point=strict",
        multipart={"file": {"name": "p.png", "mimeType": "image/png", "buffer": portrait(here)}},
    ).json()
    assert answer["results"][0]["reason"] == UNSET


def portrait(here):
    return (here.media / "pair.png").read_bytes()


def test_whole_pictures_are_called_so_once(visit):
    models = [model("one", faces="none"), model("two", faces="none")]
    here = visit(ready=served(models, [[result("one"), result("two")]]))
    assert "Every face is scored" not in here.page.locator("#drop").inner_text()
    here.add("portrait.jpg")
    text = here.card("portrait.jpg").inner_text()
    assert text.count("No face was looked for; the whole picture was scored as one face.") == 1
    other = visit(ready=served([model("one")], [[result("one")]]))
    assert "Every face is scored" in other.page.locator("#drop").inner_text()


def test_an_empty_heat_map_is_called_empty(visit):
    one = result("one")
    empty = one | {"explanations": [one["explanations"][0] | {"heat": data_uri(0)}]}
    here = visit(ready=served([model("one")], [[one], [empty]]))
    here.add("portrait.jpg")
    here.add("pair.png")
    here.card("pair.png").get_by_text("Heat map is empty").wait_for()
    assert "empty" not in here.card("portrait.jpg").inner_text()


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("not a JPEG/PNG file (found: a HEIC image)", "Convert it to JPEG or PNG"),
        ("animated (12 frames); pass it as a video", "save one frame as an image"),
    ],
)
def test_what_cannot_be_read_comes_with_advice(visit, said, shown):
    here = visit(ready=served([model("one")], [said]))
    here.allowed.append("422 (Unprocessable Entity)")
    here.add("portrait.jpg")
    text = here.card("portrait.jpg").locator(".note.failed").inner_text()
    assert shown in text
    assert "pass it as a video" not in text


def test_the_chooser_offers_what_the_server_reads(visit):
    accepted = visit().page.locator("#files").get_attribute("accept").split(",")
    assert {"image/jpeg", "image/png", "image/webp", "image/bmp", "image/gif"} <= set(accepted)
    assert "image/*" not in accepted
    assert "video/mp4" in accepted

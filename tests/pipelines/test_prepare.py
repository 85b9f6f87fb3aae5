"""Prepare as a whole: every item accounted for, the same bytes whatever happens on the way."""

import csv
import io
import json
import subprocess
import sys
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from prepare_samples import (
    NUM_IMAGES,
    REPOSITORY,
    WHOLE,
    contents,
    draw,
    records,
    run,
    sources,
)

from pipelines.errors import Cause, InputError
from pipelines.executors import LocalExecutor
from pipelines.media_item import MediaItem
from pipelines.output_folder import WORK
from pipelines.prepare import Progress, prepare
from pipelines.records.manifest import load_manifest
from pipelines.records.verification import verify_records
from pipelines.settings import CropSettings, FaceSettings, PrepareSettings
from pipelines.shard_plan import PlannedItem, plan_shards


def test_every_photo_becomes_one_record_with_its_pixels_and_facts(photos, reference):
    verify_records(reference, deep=True)
    found = {record.path: record for _, record in records(reference)}
    assert len(found) == NUM_IMAGES
    for number in range(NUM_IMAGES):
        label = "fake" if number % 3 == 0 else "real"
        record = found[f"{label}/{number:03d}.png"]
        source = photos / record.path
        assert record.label == (label == "fake")
        assert record.source_bytes == source.stat().st_size
        assert (record.source_format, record.source_jpeg_quality) == ("PNG", -1)
        assert (record.face_box, record.face_index) == ((0.0, 0.0, 1.0, 1.0), 0)
    pixels = np.asarray(Image.open(io.BytesIO(record.encoded)))
    np.testing.assert_array_equal(pixels, np.asarray(Image.open(source)))


def test_splits_have_their_shares_and_shards_mix_the_labels(reference):
    manifest = load_manifest(reference)
    sizes = Counter(split for split, _ in records(reference))
    assert sizes["train"] == pytest.approx(0.7 * NUM_IMAGES, abs=2)
    # ceil(n / 64) shards each: 161 -> 3, 34 -> 1, 35 -> 1.
    assert Counter(shard.split for shard in manifest.shards) == {"train": 3, "val": 1, "test": 1}
    for shard in manifest.shards:
        assert shard.counts["0|photos"] > shard.counts["1|photos"] > 0
    assert manifest.split_proof["leak_free"] is True
    assert manifest.settings["crop"]["size"] == 32
    assert manifest.failed == ()
    (source,) = manifest.sources
    assert (source["name"], source["items"], source["recorded"]) == ("photos", 230, 230)


def test_two_workers_give_the_bytes_of_one(photos, reference, tmp_path):
    events: list[Progress] = []
    run(photos, tmp_path / "records", workers=2, progress=events.append)
    assert contents(tmp_path / "records") == contents(reference)
    for stage in ("index", "shards"):
        done = [event.done for event in events if event.stage == stage]
        assert done == sorted(done)
        assert (done[0], done[-1]) == (0, NUM_IMAGES)


def test_other_settings_or_media_are_refused_unless_overwritten(photos, reference, tmp_path):
    out, other = tmp_path / "records", tmp_path / "other"
    run(photos, out)
    before = contents(out)
    larger = replace(WHOLE, seed=5, crop=CropSettings(size=48, format="png"))
    with pytest.raises(InputError, match=r"crop\.size: 32 there, 48 now, seed: 0 there, 5 now"):
        run(photos, out, larger)
    for number in range(8):
        draw(other / ("real" if number % 2 else "fake") / f"{number}.png", 900 + number)
    with pytest.raises(InputError, match=r"other media \(230 items, now 8"):
        run(other, out)
    assert contents(out) == before
    (out / "mine.txt").write_text("kept")
    manifest = run(other, out, larger, overwrite=True)
    assert sum(shard.records for shard in manifest.shards) == 8
    assert len(list(out.glob("faces-*"))) == len(manifest.shards)
    assert (out / "mine.txt").read_text() == "kept"
    verify_records(out, deep=True)


@pytest.mark.parametrize("mine", ["real/a.jpg", "manifest.json"])
def test_overwrite_refuses_a_folder_that_holds_no_records(photos, tmp_path, mine):
    """Somebody's photos given as --out by mistake: nothing is deleted, nothing put among them."""
    out = tmp_path / "holiday"
    (out / mine).parent.mkdir(parents=True)
    (out / mine).write_text("mine")
    with pytest.raises(InputError, match="holds no records to overwrite, but"):
        run(photos, out, overwrite=True)
    assert [path for path in out.rglob("*") if path.is_file()] == [out / mine]
    assert (out / mine).read_text() == "mine"
    assert not (out / WORK).exists()


def test_overwrite_takes_a_new_folder_and_an_interrupted_one(photos, tmp_path):
    out = tmp_path / "records"
    (out / WORK).mkdir(parents=True)
    (out / "media").mkdir()
    run(photos, out, overwrite=True)
    (out / "manifest.json").unlink()
    run(photos, out, overwrite=True)
    verify_records(out, deep=False)


def test_records_of_unknown_origin_are_refused(photos, tmp_path):
    out = tmp_path / "records"
    out.mkdir()
    (out / "manifest.json").write_text("{}")
    with pytest.raises(InputError, match="holds records, but not"):
        run(photos, out)


def test_bad_files_are_failures_with_key_and_cause(photos, tmp_path):
    folder = tmp_path / "mixed"
    for number in range(6):
        draw(folder / "real" / f"{number}.png", number)
    (folder / "real" / "empty.jpg").touch()
    (folder / "fake").mkdir()
    (folder / "fake" / "page.jpg").write_text("<html>not found</html>")
    whole = (photos / "real" / "001.png").read_bytes()
    (folder / "fake" / "cut.png").write_bytes(whole[: len(whole) // 2])
    manifest = run(folder, tmp_path / "records", workers=2)
    failed = {failure.key: failure.cause for failure in manifest.failed}
    assert failed == {
        "real/empty.jpg": Cause.EMPTY,
        "fake/page.jpg": Cause.NOT_MEDIA,
        "fake/cut.png": Cause.DAMAGED,
    }
    (source,) = manifest.sources
    assert (source["items"], source["recorded"]) == (9, 6)
    assert len(records(tmp_path / "records")) == 6


def test_no_face_and_small_faces_are_failures(shared_data, tmp_path):
    folder = tmp_path / "faces"
    portraits = sorted((shared_data / "images/stylegan2/test/fake").glob("*.jpg"))[3:9]
    for number, portrait in enumerate(portraits):
        target = folder / "real" / f"{number}.jpg"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(portrait.read_bytes())
    draw(folder / "real" / "pattern.png", 7, size=200)
    with Image.open(portraits[0]) as portrait:
        canvas = Image.new("RGB", (200, 200), (128, 128, 128))
        canvas.paste(portrait.resize((30, 30), Image.Resampling.LANCZOS), (80, 80))
    canvas.save(folder / "real" / "small.png")
    manifest = run(folder, tmp_path / "records", PrepareSettings(crop=CropSettings(size=64)))
    causes = {failure.key: failure.cause for failure in manifest.failed}
    assert causes == {"real/pattern.png": Cause.NO_FACE, "real/small.png": Cause.FACE_TOO_SMALL}
    assert manifest.sources[0]["recorded"] == 6


def test_stated_splits_are_kept(tmp_path):
    folder = tmp_path / "stated"
    for number in range(30):
        split = ("train", "train", "train", "val", "test")[number % 5]
        draw(folder / split / ("real" if number % 2 else "fake") / f"{number}.png", number)
    run(folder, tmp_path / "records", replace(WHOLE, splits=None))
    found = records(tmp_path / "records")
    assert len(found) == 30
    assert all(record.path.split("/")[0] == split for split, record in found)
    assert load_manifest(tmp_path / "records").split_proof["mode"] == "kept"


def test_overlapping_stated_splits_can_be_dropped(tmp_path):
    folder = tmp_path / "leaky"
    for number in range(20):
        split = ("train", "train", "val", "test")[number % 4]
        draw(folder / split / ("real" if number % 3 else "fake") / f"{number}.png", number)
    draw(folder / "train" / "fake" / "copy.png", 3)  # a picture of test
    settings = replace(WHOLE, splits=None, on_overlap="drop")
    manifest = run(folder, tmp_path / "records", settings)
    assert [(f.key, f.cause) for f in manifest.failed] == [("train/fake/copy.png", Cause.OVERLAP)]
    assert manifest.sources[0]["recorded"] == 20
    reported = run(folder, tmp_path / "other", replace(settings, on_overlap="report"))
    assert reported.split_proof["leak_free"] is False


def test_two_sources_may_use_the_same_names(tmp_path):
    for domain in ("camera", "phone"):
        for number in range(10):
            seed = number + (100 if domain == "phone" else 0)
            draw(tmp_path / domain / ("real" if number % 2 else "fake") / f"{number}.png", seed)
    places = sources(tmp_path / "camera", tmp_path / "phone")
    manifest = prepare(places, tmp_path / "records", WHOLE, LocalExecutor())
    assert manifest.domains == ("camera", "phone")
    paths = {record.path for _, record in records(tmp_path / "records")}
    assert paths >= {"camera/fake/0.png", "phone/fake/0.png"}
    assert len(paths) == 20


def test_nothing_usable_is_one_line(tmp_path):
    (tmp_path / "empty" / "real").mkdir(parents=True)
    with pytest.raises(InputError):
        run(tmp_path / "empty", tmp_path / "a")
    (tmp_path / "bad" / "real").mkdir(parents=True)
    (tmp_path / "bad" / "real" / "x.jpg").write_text("no picture")
    with pytest.raises(InputError, match=r"bad: 1 items, none of them can be read \(1 not_media"):
        run(tmp_path / "bad", tmp_path / "b")
    draw(tmp_path / "faceless" / "real" / "x.png", 1, size=100)
    with pytest.raises(InputError, match=r"none of them gave a face \(1 no_face"):
        run(tmp_path / "faceless", tmp_path / "c", PrepareSettings())
    assert not (tmp_path / "c" / "manifest.json").exists()


def test_a_missing_detector_is_told_before_anything_is_read(photos, tmp_path):
    settings = PrepareSettings(faces=FaceSettings(detector="yunet", model="nowhere.onnx"))
    with pytest.raises(InputError, match=r"nowhere\.onnx"):
        run(photos, tmp_path / "records", settings)
    assert not (tmp_path / "records").exists()


def test_awkward_files_are_all_accounted_for(shared_data, tmp_path):
    rows = list(csv.DictReader((shared_data / "robust/CASES.csv").read_text().splitlines()))
    table = tmp_path / "robust.csv"
    with table.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label"])
        writer.writerows([shared_data / row["path"], "real"] for row in rows)
    settings = PrepareSettings(frames=4, crop=CropSettings(size=64))
    manifest = run(table, tmp_path / "records", settings, workers=2)
    found = [record for _, record in records(tmp_path / "records")]
    recorded = {record.path for record in found}
    (source,) = manifest.sources
    assert source["items"] == len(rows)
    assert source["recorded"] == len(recorded) >= 40
    failed = {failure.key for failure in manifest.failed}
    assert len(recorded | failed) == len(rows)
    assert {Cause.NO_FACE, Cause.ANIMATED, Cause.DAMAGED, Cause.EMPTY} <= set(manifest.failures)
    assert all("\n" not in failure.reason for failure in manifest.failed)
    late = [record for record in found if record.path.endswith("face_appears_late.mp4")]
    assert late
    assert all(record.time_seconds > 0 and record.video for record in late)
    (cut,) = [f for f in manifest.failed if f.key.endswith("video/truncated_50.mp4")]
    assert cut.cause in (Cause.TRUNCATED, Cause.DAMAGED)
    verify_records(tmp_path / "records", deep=False)


def test_shards_are_clamped_and_count_the_frames_of_videos():
    def planned(number: int, kind: str) -> PlannedItem:
        item = MediaItem(path=str(number), key=f"{number:05d}", label=0, domain="d")
        return PlannedItem(item, kind, "0" * 64)

    def num_shards(count: int, kind: str, frames: int = 32) -> int:
        items = [planned(number, kind) for number in range(count)]
        return len(plan_shards(items, ["train"] * count, replace(WHOLE, frames=frames)))

    assert [num_shards(n, "image") for n in (1, 64, 65, 640, 20_000)] == [1, 1, 2, 10, 128]
    # 10 videos of 32 frames: 320 records, 5 shards; never more shards than items.
    assert num_shards(10, "video") == 5
    assert num_shards(3, "video", frames=200) == 3


def test_the_order_of_the_items_does_not_matter_and_the_seed_does():
    items = [
        PlannedItem(MediaItem(path="p", key=f"{n}", label=0, domain="d"), "image", "0" * 64)
        for n in range(100)
    ]
    splits = ["train" if n % 3 else None for n in range(100)]
    tasks = plan_shards(items, splits, WHOLE)
    assert plan_shards(items[::-1], splits[::-1], WHOLE) == tasks
    assert sum(len(task.items) for task in tasks) == 66
    assert plan_shards(items, splits, replace(WHOLE, seed=1)) != tasks


def test_workers_do_not_import_tensorflow():
    modules = "sys, pipelines.media_index, pipelines.shard_work"
    code = f"import {modules}; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY).returncode == 0


def test_the_plan_holds_no_place_of_the_machine(photos, reference, tmp_path):
    notes = json.dumps([data.decode("latin-1") for data in contents(reference).values()])
    assert str(photos.parent) not in notes
    assert str(reference.parent) not in notes

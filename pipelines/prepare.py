"""Media to records: index, splits, shards, manifest.

1. Index pass: every medium is looked at once (kind, sha256, small pictures, or what is wrong).
2. Splits: connected components, with their proof.
3. Where harmonisation was asked for: every face is measured, and the carrier chosen.
4. Shards: each a unit of work, written aside and renamed, skipped when done and intact.
5. The manifest, last and by rename: a folder without one is not finished.

The result is a pure function of media and settings: killed anywhere and run again, with any number
of workers, the folder holds the same bytes. Memory does not grow with the pictures: of each medium
some kilobytes are kept.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.carrier_survey import measure_items, survey_report
from pipelines.errors import Cause, DatasetError, InputError
from pipelines.executors import Executor
from pipelines.faces.registry import open_detector
from pipelines.fingerprints import find_near_duplicates
from pipelines.harmonization import MeasuredFace, choose_carrier, with_carrier
from pipelines.listing import account, list_media, nothing_usable
from pipelines.media_index import Indexed, index_items
from pipelines.media_item import MediaItem
from pipelines.output_folder import TFDS_FILES, OutputFolder, open_output
from pipelines.records.manifest import Failure, Manifest, load_manifest, save_manifest
from pipelines.records.tfds_metadata import write_tfds_metadata
from pipelines.settings import PrepareSettings
from pipelines.shard_plan import (
    PlannedItem,
    digest,
    item_identity,
    plain_settings,
    plan_shards,
    settings_identity,
)
from pipelines.shard_work import ShardResult, write_shard
from pipelines.sources.base import Source
from pipelines.splits import SplitItem, SplitPlan, assign_splits

INDEX_CHUNK = 32


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is.

    Args:
        stage: `index`, `carrier` (harmonisation only) or `shards`.
        done: Media finished in this stage.
        total: Media there are in this stage.
        reused: Media whose shards an earlier run had finished.
    """

    stage: str
    done: int
    total: int
    reused: int = 0


def prepare(
    sources: Sequence[Source],
    out: Path,
    settings: PrepareSettings,
    executor: Executor,
    progress: Callable[[Progress], None] = lambda _: None,
    *,
    overwrite: bool = False,
) -> Manifest:
    """Turns the media of the sources into a record folder.

    With several sources the keys begin with the name of theirs.

    Args:
        sources: Where the media are.
        out: The record folder; an unfinished one is finished.
        settings: Everything that decides the records.
        executor: Where the work runs.
        progress: Called after each piece of work.
        overwrite: Replace the records of another dataset or of other settings.

    Returns:
        The manifest, as written. Every item the sources gave is in the records or in the failures.

    Raises:
        InputError: No usable media, no face anywhere, a folder that belongs to another dataset or
            to another running process, impossible settings.
        DatasetError: The folder cannot be written.
    """
    open_detector(settings.faces)  # a missing model should not wait for the end of the index pass
    identity = settings_identity(settings)
    with open_output(out, overwrite=overwrite) as folder:
        folder.require_settings(identity)
        listing = list_media(sources)
        indexed = _index(listing.items, settings, executor, progress)
        failures = listing.failures + [found.failure for found in indexed if found.failure]
        planned = [found.planned for found in indexed if found.planned]
        if not planned:
            raise InputError(nothing_usable("none of them can be read", listing, failures))
        media = digest([[item_identity(p) for p in planned], [_plain(f) for f in failures]])
        folder.claim(identity, len(listing.items), media)
        plan = _split(planned, indexed, settings)
        del indexed
        harmonization: Mapping[str, Any] = {}
        if settings.harmonize:
            harmonization = _survey(folder, planned, media, settings, executor, progress)
            settings = with_carrier(settings, harmonization)
        results = _write(folder, planned, plan, settings, executor, progress)
        failures += [failure for result in results for failure in result.failures]
        failures += [
            Failure(planned[i].item.key, Cause.OVERLAP.value, why) for i, why in plan.overlaps
        ]
        recorded = {key for result in results for key in result.recorded}
        if not recorded:
            raise InputError(nothing_usable("none of them gave a face", listing, failures))
        manifest = Manifest(
            name=out.resolve().name,
            settings=plain_settings(settings),
            sources=tuple(account(listing, recorded, failures)),
            harmonization=harmonization,
            domains=tuple(sorted({p.item.domain for p in planned if p.item.key in recorded})),
            shards=tuple(result.info for result in results),
            failed=tuple(sorted(failures, key=lambda f: (f.key, f.cause, f.reason))),
            split_proof=plan.proof.to_dict(),
        )
        _finish(folder, manifest)
    return manifest


def _index(
    items: Sequence[MediaItem],
    settings: PrepareSettings,
    executor: Executor,
    progress: Callable[[Progress], None],
) -> list[Indexed]:
    chunks = [items[i : i + INDEX_CHUNK] for i in range(0, len(items), INDEX_CHUNK)]
    indexed: list[Indexed] = []
    progress(Progress("index", 0, len(items)))
    for found in executor.run(partial(index_items, limits=settings.limits), chunks):
        indexed += found
        progress(Progress("index", len(indexed), len(items)))
    return indexed


def _split(
    planned: Sequence[PlannedItem], indexed: Sequence[Indexed], settings: PrepareSettings
) -> SplitPlan:
    thumbnails = [found.thumbnails for found in indexed if found.planned]
    owners = np.repeat(np.arange(len(planned)), [len(pictures) for pictures in thumbnails])
    items = [
        SplitItem(
            key=p.item.key,
            label=p.item.label,
            domain=p.item.domain,
            identity=p.item.identity,
            video=p.item.video,
            related=p.item.related,
            sha256=p.sha256,
            split=p.item.split,
        )
        for p in planned
    ]
    near = find_near_duplicates(np.concatenate(thumbnails), owners.tolist())
    return assign_splits(
        items,
        settings.splits,
        settings.seed,
        near_duplicates=near,
        on_overlap=settings.on_overlap,
    )


def _survey(
    folder: OutputFolder,
    planned: Sequence[PlannedItem],
    media: str,
    settings: PrepareSettings,
    executor: Executor,
    progress: Callable[[Progress], None],
) -> dict[str, Any]:
    """Measures every face, or reads what an interrupted run measured of these media."""
    known = folder.survey(media)
    if known is not None:
        return known
    chunks = [planned[i : i + INDEX_CHUNK] for i in range(0, len(planned), INDEX_CHUNK)]
    faces: list[MeasuredFace] = []
    done = 0
    progress(Progress("carrier", 0, len(planned)))
    work = partial(measure_items, settings=settings)
    for chunk, found in zip(chunks, executor.run(work, chunks), strict=True):
        faces += found
        done += len(chunk)
        progress(Progress("carrier", done, len(planned)))
    if not faces:
        return {}
    carrier = choose_carrier(faces, settings.crop.size, settings.crop.quality)
    report = survey_report(faces, carrier, settings.crop.size)
    folder.save_survey(media, report)
    return report


def _write(
    folder: OutputFolder,
    planned: Sequence[PlannedItem],
    plan: SplitPlan,
    settings: PrepareSettings,
    executor: Executor,
    progress: Callable[[Progress], None],
) -> list[ShardResult]:
    tasks = plan_shards(planned, plan.splits, settings)
    total = sum(len(task.items) for task in tasks)
    work = partial(write_shard, out=folder.path, sidecars=folder.work, settings=settings)
    results: list[ShardResult] = []
    done = reused = 0
    progress(Progress("shards", 0, total))
    for task, result in zip(tasks, executor.run(work, tasks), strict=True):
        results.append(result)
        done += len(task.items)
        reused += len(task.items) if result.skipped else 0
        progress(Progress("shards", done, total, reused))
    return results


def _finish(folder: OutputFolder, manifest: Manifest) -> None:
    if all((folder.path / name).is_file() for name in TFDS_FILES):
        try:
            if load_manifest(folder.path) == manifest:
                return
        except DatasetError:
            pass  # none yet, or a damaged one: it is written anew
    write_tfds_metadata(folder.path, manifest)
    folder.sort_tfds_splits()
    save_manifest(folder.path, manifest)


def _plain(failure: Failure) -> list[str]:
    return [failure.key, failure.cause, failure.reason]

"""`dfd-tf prepare`: media to faces to leak-proof splits to TFRecords."""

import os
from pathlib import Path

import click

SOURCES = ["auto", "folder", "csv", "tfds", "synthetic", "pseudo_fakes"]
DETECTORS = ["haar", "yunet", "none"]


@click.command()
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True)
@click.option("--source", "kind", type=click.Choice(SOURCES), default="auto", show_default=True)
@click.option("--domain", help="Domain of all items; default: told by the source.")
@click.option("--faces", type=click.Choice(DETECTORS), default="haar", show_default=True)
@click.option("--yunet-model", type=click.Path(), help="ONNX file of YuNet.")
@click.option("--min-face", type=click.IntRange(min=8), default=40, show_default=True)
@click.option("--margin", type=click.FloatRange(0, 2), default=0.3, show_default=True)
@click.option("--align", is_flag=True, help="Level the eyes (Haar then looks for eyes as well).")
@click.option("--size", type=click.IntRange(16, 1024), default=256, show_default=True)
@click.option("--format", "crop_format", type=click.Choice(["jpeg", "png"]), default="jpeg")
@click.option("--quality", type=click.IntRange(50, 100), default=95, show_default=True)
@click.option("--frames", type=click.IntRange(min=1), default=32, show_default=True)
@click.option(
    "--splits",
    default="0.7,0.15,0.15",
    show_default=True,
    help="Fractions of train, val, test; or `keep` to keep and check those the source states.",
)
@click.option(
    "--on-overlap",
    type=click.Choice(["report", "drop"]),
    default="report",
    show_default=True,
    help="With --splits keep: drop training items that share content with val or test.",
)
@click.option(
    "--harmonize",
    is_flag=True,
    help="Bring all faces to one size, sharpness and JPEG quality, so that only content differs.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--max-pixels", type=click.IntRange(min=64), default=40_000_000, show_default=True)
@click.option("--max-bytes", type=click.IntRange(min=1), default=32 * 2**20, show_default=True)
@click.option("--workers", type=click.IntRange(min=1), help="Processes; default: one a core.")
@click.option("--overwrite", is_flag=True, help="Replace a different dataset in --out.")
def command(
    sources: tuple[str, ...],
    out: Path,
    kind: str,
    domain: str | None,
    faces: str,
    yunet_model: str | None,
    min_face: int,
    margin: float,
    align: bool,
    size: int,
    crop_format: str,
    quality: int,
    frames: int,
    splits: str,
    on_overlap: str,
    harmonize: bool,
    seed: int,
    max_pixels: int,
    max_bytes: int,
    workers: int | None,
    overwrite: bool,
) -> int:
    """Find faces in SOURCE, split without leaks, and write TFRecords to --out.

    SOURCE is a folder (`[train|val|test]/real|fake/...`), a CSV manifest
    (`path,label[,domain,identity,video,split,method]`), `tfds:NAME`,
    `synthetic[:IDENTITIES[:SEED]]`, or `pseudo_fakes:[FAMILY,...:]FOLDER`: the real faces in
    FOLDER, each with a fake made of it a family (self_blend, splice, resample). A stopped run goes
    on where it was when called again. Exits with 3 when some items could not be used; they are
    listed in the manifest by cause.
    """
    from dfd_tf.cli.console import stderr, warn
    from dfd_tf.cli.inspect import print_manifest
    from dfd_tf.cli.prepare_report import PrepareProgress
    from pipelines.errors import Cause
    from pipelines.executors import LocalExecutor
    from pipelines.media_item import SPLITS
    from pipelines.output_folder import MEDIA
    from pipelines.prepare import prepare
    from pipelines.settings import CropSettings, FaceSettings, MediaLimits, PrepareSettings
    from pipelines.sources.registry import open_source

    settings = PrepareSettings(
        frames=frames,
        splits=_fractions(splits),
        on_overlap=on_overlap,
        seed=seed,
        harmonize=harmonize,
        limits=MediaLimits(max_image_bytes=max_bytes, max_pixels=max_pixels),
        faces=FaceSettings(
            detector=faces,
            model=yunet_model,
            min_size=min_face,
            margin=margin,
            align=align,
            eyes=align and faces == "haar",
        ),
        crop=CropSettings(size=size, format=crop_format, quality=quality),
    )
    opened = [
        open_source(kind, location, domain=domain, staging=out / MEDIA) for location in sources
    ]
    num_workers = workers or len(os.sched_getaffinity(0))
    with PrepareProgress(stderr) as progress:
        manifest = prepare(
            opened, out, settings, LocalExecutor(num_workers), progress, overwrite=overwrite
        )
    print_manifest(manifest, stderr)
    stderr.print(f"records: {out}", highlight=False, soft_wrap=True)
    for split, share in zip(SPLITS, settings.splits or (), strict=False):
        if share and not any(shard.records for shard in manifest.split_shards(split)):
            warn(f"the {split} split is empty: there are too few groups that share nothing")
    if not manifest.split_proof["leak_free"]:
        warn("`train` refuses splits that share content; --on-overlap drop drops their train side")
    # Dropping overlaps was asked for; it is counted, but no failure.
    return 3 if manifest.failures.keys() - {Cause.OVERLAP} else 0


def _fractions(text: str) -> tuple[float, float, float] | None:
    if text == "keep":
        return None
    try:
        train, val, test = (float(part) for part in text.split(","))
    except ValueError:
        train = -1.0
    if train < 0 or val < 0 or test < 0 or abs(train + val + test - 1) > 1e-6:
        raise click.BadParameter(
            f"{text!r}: expected `keep` or three fractions that add up to 1, as in 0.7,0.15,0.15",
            param_hint="--splits",
        )
    return train, val, test

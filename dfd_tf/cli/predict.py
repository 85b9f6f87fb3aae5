"""`dfd-tf predict`: scores and labels of files and folders."""

import os
import sys
from pathlib import Path

import click


@click.command()
@click.argument("run")
@click.argument("paths", nargs=-1, required=True)
@click.option(
    "--format",
    "output_format",
    type=click.Choice(["table", "jsonl", "csv"]),
    default="table",
    show_default=True,
)
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), help="Write to a file.")
@click.option("--operating-point", default="balanced", show_default=True)
@click.option("--faces", type=click.Choice(["haar", "yunet", "none"]), help="Face detector.")
@click.option("--yunet-model", type=click.Path(), help="ONNX file of YuNet.")
@click.option("--threads", type=click.IntRange(min=1), help="Threads that read files.")
@click.option(
    "--stability",
    is_flag=True,
    help="Score every face after JPEG quality 75 and resizing to 75 % as well; a verdict that"
    " changes is inconclusive. Three times the scoring.",
)
@click.option("--strict", is_flag=True, help="Count a video that is cut short as failed.")
def command(
    run: str,
    paths: tuple[str, ...],
    output_format: str,
    output: Path | None,
    operating_point: str,
    faces: str | None,
    yunet_model: str | None,
    threads: int | None,
    stability: bool,
    strict: bool,
) -> int:
    """Score the images and videos at PATHS (files or folders) with RUN.

    The verdict is real, fake, inconclusive or no face, with the reason beside it. Faces are found
    and cropped as in the run's training data unless --faces says otherwise. Exits with 3 when some
    files of a batch could not be scored, with 2 when the only one could not.
    """
    from contextlib import nullcontext

    import numpy as np
    from rich.markup import escape

    from dfd_tf.cli.tensorflow_start import start_tensorflow

    start_tensorflow()
    from dfd_tf.cli.console import progress_bar, stderr, warn
    from dfd_tf.inference.media_faces import list_files
    from dfd_tf.inference.output import open_output
    from dfd_tf.inference.prediction import missing_threshold, predict_files
    from dfd_tf.inference.prediction import operating_point as find_operating_point
    from dfd_tf.inference.predictor import load_predictor
    from dfd_tf.inference.shift import batch_warning
    from pipelines.errors import InputError, printable

    files, is_batch = list_files(paths)
    if not files:
        raise InputError(f"{printable(', '.join(paths))}: no files there")
    predictor = load_predictor(run).with_faces(faces, yunet_model)
    threshold = find_operating_point(predictor, operating_point)
    calibration = predictor.calibration
    for caveat in (*predictor.model.caveats, *(calibration.caveats if calibration else ())):
        warn(escape(caveat))
    reason = missing_threshold(predictor, operating_point)
    if reason is not None:
        warn(reason)
    num_threads = threads or len(os.sched_getaffinity(0))
    counts = {"ok": 0, "no_face": 0, "error": 0}
    verdicts = dict.fromkeys(("real", "fake", "inconclusive"), 0)
    image_scores: list[float] = []
    num_truncated = 0
    # Rows that come as they are made and a bar would overwrite each other on a terminal.
    has_rows = output is None and output_format != "table" and sys.stdout.isatty()
    bar = nullcontext(lambda _done, _total: None) if has_rows else progress_bar("predicting")
    # The output first: rich's bar redirects sys.stdout to stderr.
    with open_output(output, output_format, predictor, operating_point) as write, bar as progress:
        for result in predict_files(predictor, files, threshold, num_threads, stability=stability):
            write(result)
            counts[result.status] += 1
            if result.verdict in verdicts:
                verdicts[result.verdict] += 1
            if result.kind == "image" and result.score is not None:
                image_scores.append(result.score)
            num_truncated += result.truncated
            progress(sum(counts.values()), len(files))
    stderr.print(
        f"{counts['ok']} scored, {counts['no_face']} without a face, {counts['error']} failed"
        + (f", {num_truncated} cut short" if num_truncated else ""),
        highlight=False,
    )
    if any(verdicts.values()):
        called = ", ".join(f"{count} {name}" for name, count in verdicts.items())
        stderr.print(f"verdicts: {called}", highlight=False)
    shifted = calibration and batch_warning(np.array(image_scores), calibration)
    if shifted:
        warn(escape(shifted))
    if counts["ok"] == len(files) and not (strict and num_truncated):
        return 0
    if is_batch:
        return 3
    raise InputError(f"{result.path}: {result.error or '; '.join(result.notes)}")

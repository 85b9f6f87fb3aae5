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
    "--frames",
    type=click.IntRange(1, 3000),
    help="Frames looked at in a video, evenly spaced.  [default: as many as in training]",
)
@click.option(
    "--dense",
    is_flag=True,
    help="Look at every frame of a video; of more than 3,000, at every second, third and so on.",
)
@click.option(
    "--stability",
    is_flag=True,
    help="Score every face after JPEG quality 75 and resizing to 75 % as well; a verdict that"
    " changes is inconclusive. Three times the scoring.",
)
@click.option(
    "--explain",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write pictures to this folder that show where each score comes from.",
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
    frames: int | None,
    dense: bool,
    stability: bool,
    explain: Path | None,
    strict: bool,
) -> int:
    """Score the images and videos at PATHS (files or folders) with RUN.

    The verdict is real, fake, inconclusive or no face, with the reason beside it. Faces are found
    and cropped as in the run's training data unless --faces says otherwise. The persons of a video
    are told apart, and the video is as fake as the worst of them; --format jsonl tells of each
    person and of each frame. Exits with 3 when some files of a batch could not be scored, with 2
    when the only one could not.
    """
    from contextlib import nullcontext

    import numpy as np
    from rich.markup import escape

    from dfd_tf.cli.tensorflow_start import start_tensorflow

    start_tensorflow()
    from dfd_tf.cli.console import progress_bar, stderr, warn
    from dfd_tf.inference.explanation_files import open_explanation_folder
    from dfd_tf.inference.judgement import UNSET
    from dfd_tf.inference.media_faces import FrameSampling, list_files
    from dfd_tf.inference.output import open_output
    from dfd_tf.inference.prediction import missing_threshold, predict_media
    from dfd_tf.inference.prediction import operating_point as find_operating_point
    from dfd_tf.inference.predictor import load_predictor
    from dfd_tf.inference.result_places import check_apart, without_results
    from dfd_tf.inference.shift import batch_warning
    from pipelines.errors import InputError, MediaError, printable

    if dense and frames is not None:
        raise InputError("--frames and --dense: a number of frames, or every frame; give one")
    sampling = FrameSampling(frames, dense)
    check_apart(paths, output, explain)
    listed, is_batch = list_files(paths)
    files = without_results(listed, output, explain)
    if len(files) < len(listed):
        warn(f"{len(listed) - len(files)} files left out: --explain or --output writes there")
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
    num_truncated = num_unexplained = 0
    folder = None
    if explain is not None:
        folder = open_explanation_folder(explain, predictor, sampling, operating_point)
    # Rows that come as they are made and a bar would overwrite each other on a terminal.
    has_rows = output is None and output_format != "table" and sys.stdout.isatty()
    bar = nullcontext(lambda _done, _total: None) if has_rows else progress_bar("predicting")
    # The output first: rich's bar redirects sys.stdout to stderr.
    with open_output(output, output_format, predictor, operating_point) as write, bar as progress:
        for media, result in predict_media(
            predictor,
            files,
            threshold,
            num_threads,
            stability=stability,
            sampling=sampling,
            unset=reason or UNSET,
        ):
            write(result)
            if folder is not None:
                try:
                    folder.write(1 + sum(counts.values()), media, result)
                except MediaError as error:
                    num_unexplained += 1
                    warn(escape(f"{result.path}: not explained: {printable(error.reason)}"))
            counts[result.status] += 1
            if result.verdict in verdicts:
                verdicts[result.verdict] += 1
            if result.kind == "image" and result.score is not None:
                image_scores.append(result.score)
            num_truncated += result.truncated
            progress(sum(counts.values()), len(files))
    stderr.print(
        f"{counts['ok']} scored, {counts['no_face']} without a face, {counts['error']} failed"
        + (f", {num_truncated} cut short" if num_truncated else "")
        + (f", {num_unexplained} not explained" if num_unexplained else ""),
        highlight=False,
    )
    if any(verdicts.values()):
        called = ", ".join(f"{count} {name}" for name, count in verdicts.items())
        stderr.print(f"verdicts: {called}", highlight=False)
    shifted = calibration and batch_warning(np.array(image_scores), calibration)
    if shifted:
        warn(escape(shifted))
    if counts["ok"] == len(files) and not (strict and num_truncated) and not num_unexplained:
        return 0
    if is_batch:
        return 3
    raise InputError(f"{result.path}: {result.error or '; '.join(result.notes) or 'not explained'}")

"""`dfd-tf demo`: the whole way, on faces it renders itself."""

from pathlib import Path
from typing import Any

import click

DETECTORS = ("spatial", "residual_ae")
NEW_PEOPLE_SEED = 4_242
RUN_COLUMNS = {
    "run": "detector",
    "n": "real + fake",
    "auc": "test AUC [95 %]",
    "average_precision": "AP [95 %]",
    "eer": "EER [95 %]",
    "balanced_accuracy": "balanced accuracy [95 %]",
    "fpr": "FPR (5 % promised)",
}


@click.command()
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), default="demo", show_default=True
)
@click.option("--quick", is_flag=True, help="One epoch on few faces: shows the way, no figures.")
def command(out: Path, quick: bool) -> None:
    """Render faces, prepare, audit, train detectors of two kinds, calibrate, evaluate, predict.

    Takes some minutes on two cores. Called again, it goes on where it was stopped.
    """
    from dfd_tf.cli.tensorflow_start import start_tensorflow

    start_tensorflow()
    from dfd_tf.cli.console import figures_table, results_console, stderr

    records = out / "records"
    _say(stderr, "1/4", "rendering faces, preparing and auditing records")
    _prepare(records, quick)
    rows: list[dict[str, Any]] = []
    for number, detector in enumerate(DETECTORS, 2):
        _say(stderr, f"{number}/4", f"training, calibrating and evaluating {detector}")
        rows += _train_and_evaluate(detector, records, out / "runs" / detector, quick)
    _say(stderr, "4/4", "predicting new files")
    new = out / "new"
    _render_new_files(new)
    for detector in DETECTORS:
        _predict(out / "runs" / detector, new, out / f"predictions_{detector}.csv")
    console = results_console()
    console.print(figures_table("Test split, rendered faces", rows, RUN_COLUMNS))
    report = out / "runs" / "spatial" / "reports" / "records" / "test" / "report.html"
    for place, what in (
        (report, "everything about one evaluation; likewise for residual_ae"),
        (out / "predictions_spatial.csv", "predictions for the new files"),
        (records / "contact_sheet.png", "what the records hold"),
        (records / "audit" / "audit.html", "whether figures on them mean anything"),
    ):
        console.print(f"{place}: {what}", highlight=False, soft_wrap=True)
    console.print(f"tensorboard --logdir {out / 'runs'}", highlight=False, soft_wrap=True)


def _say(console: Any, step: str, what: str) -> None:
    console.print(f"[bold]{step}[/] {what}", highlight=False)


def _prepare(records: Path, quick: bool) -> None:
    from dfd_tf.cli.main import cli

    identities = 24 if quick else 140
    arguments = [f"synthetic:{identities}", "--out", str(records)]
    # Faces cut close at the size the demo trains on: the quickest way to a fair figure.
    arguments += ["--size", "64", "--margin", "0.05"]
    cli.main(["prepare", *arguments], prog_name="dfd-tf", standalone_mode=False)
    for check in ("inspect", "audit"):
        cli.main([check, str(records)], prog_name="dfd-tf", standalone_mode=False)


def _train_and_evaluate(
    detector: str, records: Path, run: Path, quick: bool
) -> list[dict[str, Any]]:
    from dfd_tf.cli.console import progress_bar, stderr
    from dfd_tf.cli.evaluate import summary_rows
    from dfd_tf.config.loading import load_experiment
    from dfd_tf.evaluation.evaluate_run import evaluate_run
    from dfd_tf.inference.predictor import load_predictor
    from dfd_tf.training.run import train

    overrides = ["detector.phases.0.epochs=1"] if quick else []
    experiment = load_experiment(f"{detector}_demo", overrides)
    resume = (run / "config.yaml").exists()
    train(experiment, records, str(run), resume=resume, console=stderr)
    with progress_bar("evaluating") as progress:
        evaluation, _ = evaluate_run(
            load_predictor(str(run)), records, "test", "balanced", progress
        )
    return summary_rows(evaluation.figures)


def _render_new_files(folder: Path) -> None:
    """Writes files of people in no split: real and fake, one without a face, a broken one."""
    import shutil

    from pipelines.media_item import LABEL_NAMES
    from pipelines.sources.synthetic import SyntheticFaces

    staging = folder.parent / "new_media"
    source = SyntheticFaces(f"synthetic:2:{NEW_PEOPLE_SEED}", domain=None, staging=staging)
    folder.mkdir(parents=True, exist_ok=True)
    for number, item in enumerate(source.items()):
        shutil.copyfile(item.path, folder / f"{LABEL_NAMES[item.label]}_{number:02}.jpg")
    whole = (folder / "real_10.jpg").read_bytes()
    (folder / "broken.jpg").write_bytes(whole[: len(whole) // 2])
    _draw_landscape(folder / "no_face.png")


def _draw_landscape(path: Path) -> None:
    import cv2
    import numpy as np

    rows = np.linspace(0, 1, 240)[:, None, None]
    picture = (1 - rows) * (230, 190, 140) + rows * (90, 140, 110)
    cv2.imwrite(str(path), np.broadcast_to(picture, (240, 320, 3)).astype(np.uint8))


def _predict(run: Path, folder: Path, output: Path) -> None:
    from dfd_tf.cli.main import cli

    arguments = [str(run), str(folder), "--format", "csv", "--output", str(output)]
    cli.main(["predict", *arguments], prog_name="dfd-tf", standalone_mode=False)

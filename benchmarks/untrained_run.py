"""A run as training would write it, but for the training: for measuring speed only."""

from collections.abc import Sequence
from dataclasses import asdict

from pipelines.settings import CropSettings, FaceSettings, PrepareSettings


def write_untrained_run(
    folder: str, config: str, faces: str = "haar", changes: Sequence[str] = ()
) -> None:
    """Writes the run of a configuration with random weights, uncalibrated, and says so in it."""
    from dfd_tf.config.atomic_files import file_sha256
    from dfd_tf.config.loading import load_experiment
    from dfd_tf.config.run_directory import ModelFile, RunDirectory
    from dfd_tf.detectors.registry import build_detector

    experiment = load_experiment(config, ["detector.weights=none", *changes])
    run = RunDirectory(folder)
    run.create()
    detector = build_detector(experiment.detector)
    detector.save_weights(str(run.best_weights))
    model = ModelFile(
        detector=experiment.detector.name,
        num_domains=1,
        bytes=run.best_weights.stat().length,
        sha256=file_sha256(run.best_weights),
        pretrained="random weights",
        caveats=("random weights: its scores mean nothing",),
        phase="none",
        epoch=0,
        selection="val_loss",
        value=0.0,
    )
    settings = PrepareSettings(
        faces=FaceSettings(detector=faces), crop=CropSettings(size=experiment.detector.image_size)
    )
    records = {"folder": folder, "fingerprint": "", "settings": asdict(settings)}
    run.write_experiment(experiment)
    run.write_json(run.model, model.model_dump())
    run.write_json(run.provenance, {"records": records})

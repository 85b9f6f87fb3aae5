"""Runs for the tests of inference."""

from dfd_tf.config.atomic_files import file_sha256
from dfd_tf.config.loading import load_experiment
from dfd_tf.config.provenance import provenance
from dfd_tf.config.run_directory import ModelFile, RunDirectory
from dfd_tf.detectors.registry import build_detector
from dfd_tf.training.data import record_facts


def write_untrained_run(path, records, manifest):
    """Writes the run of an untrained 32-pixel network on some records."""
    run = RunDirectory(path)
    experiment = load_experiment(
        "spatial_small", ["detector.backbone=resnet32", "detector.image_size=32"]
    )
    run.create()
    detector = build_detector(experiment.detector)
    detector.save_weights(str(run.best_weights))
    model = ModelFile(
        detector="spatial",
        num_domains=1,
        bytes=run.best_weights.stat().length,
        sha256=file_sha256(run.best_weights),
        pretrained=detector.pretrained,
        phase="none",
        epoch=0,
        selection="val_loss",
        value=0.0,
    )
    run.write_experiment(experiment)
    run.write_json(run.model, model.model_dump())
    facts = {**provenance(), "seed": 0, "selection": {"rule": "none", "metric": "val_loss"}}
    run.write_json(run.provenance, {**facts, "records": record_facts(records, manifest)})
    return run

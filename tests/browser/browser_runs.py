"""Runs for the server behind the page."""

from served_runs import write_calibration, write_run

from dfd_tf.inference.calibration import Interval, Threshold, parse_calibration

FACES = {"faces": "haar"}


def write_runs(folder):
    """Writes the runs; on the score scale of an untrained network the points lie around 0."""
    tiny = ("detector.backbone=resnet32", "detector.image_size=32")
    spatial = write_run(folder / "tiny-spatial", *tiny, **FACES)
    write_calibration(spatial, threshold=50.0)
    add_operating_point(spatial, "optimal", -50.0)
    features = ("detector.image_size=32", "detector.perceptual_weights=none")
    dae = write_run(folder / "tiny-dae", *features, config="dae_small", calibrated=False, **FACES)
    return spatial, dae


def add_operating_point(run, name, value):
    known = parse_calibration(run.calibration.read_text(), str(run.calibration))
    point = Threshold(
        name=name,
        value=value,
        rule="made up",
        num_real=40,
        observed_fpr=0.1,
        observed_fpr_interval=Interval(low=0.0, high=0.3),
    )
    more = known.model_copy(update={"thresholds": (point, *known.thresholds)})
    run.write(run.calibration, more.to_json().encode())

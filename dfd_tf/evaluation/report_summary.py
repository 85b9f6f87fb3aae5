"""What a report says in words: the verdict on a run before any table, and what bounds it."""

from collections.abc import Mapping
from typing import Any

from dfd_tf.config.run_directory import ModelFile
from dfd_tf.inference.calibration import CalibrationFile

CHANCE_AUC = 0.5
SPACE = "\N{NO-BREAK SPACE}"


def level_counts(level: Mapping[str, Any]) -> str:
    """Returns n in words: `107 real and 94 fake`."""
    return f"{level['num_real']} real and {level['num_fake']} fake"


def interval_text(metric: Mapping[str, float | None], *, percent: bool = False) -> str:
    """Returns a metric in words: `0.671 (95 % interval 0.596 to 0.741)`."""
    value, low, high = metric["value"], metric["low"], metric["high"]
    if value is None:
        return "undefined"

    def written(number: float) -> str:
        return f"{100 * number:.1f}{SPACE}%" if percent else f"{number:.3f}"

    if low is None or high is None:
        return f"{written(value)} (no interval)"
    return f"{written(value)} (95{SPACE}% interval {written(low)} to {written(high)})"


def ranking_verdict(name: str, level: Mapping[str, Any]) -> tuple[str, bool]:
    """Says whether a level's scores tell fake from real at all.

    Args:
        name: Name of the level.
        level: Its figures.

    Returns:
        A sentence, and whether it is bad news.
    """
    auc = level["ranking"]["auc"]
    if auc["value"] is None:
        only = "real" if level["num_real"] else "fake"
        return f"Undefined at {name} level: all labelled ones are {only}, AUC needs both.", True
    told = f"AUC {interval_text(auc)} at {name} level, {level_counts(level)}"
    if auc["low"] is None:
        if auc["value"] == 1.0:
            return f"Every fake scored above every real one: {told}.", False
        return f"{told}: without an interval nothing can be said about chance.", True
    if auc["low"] > CHANCE_AUC:
        return f"Better than chance: {told}.", False
    if auc["high"] < CHANCE_AUC:
        return f"Worse than chance, the score points the wrong way on these data: {told}.", True
    return f"Not to be told from chance, the interval holds 0.5: {told}.", True


def decision_verdict(
    figures: Mapping[str, Any], name: str, calibration: CalibrationFile | None
) -> tuple[list[str], bool]:
    """Says what a level's decisions at the report's operating point amount to.

    Args:
        figures: Content of metrics.json.
        name: Name of the level.
        calibration: The run's.

    Returns:
        Sentences, and whether one of them is bad news.
    """
    point = figures["operating_point"]
    level = figures["levels"][name]
    found = level["decisions"].get(point)
    if found is None:
        why = "the run is not calibrated"
        if calibration is not None:
            why = calibration.missing.get(point, "the calibration has no such operating point")
        return [f"No decisions at {name} level: operating point {point} is not set ({why})."], True
    told = [f"Called fake above {found['threshold']:.4g} (operating point {point}):"]
    if level["num_real"]:
        told.append(
            f"{found['false_positives']} of {level['num_real']} real ones,"
            f" false positive rate {interval_text(found['fpr'], percent=True)}"
            + (";" if level["num_fake"] else ".")
        )
    if level["num_fake"]:
        told.append(
            f"{found['true_positives']} of {level['num_fake']} fakes, that is"
            f" {interval_text(found['recall'], percent=True)} of them found."
        )
    sentences = [" ".join(told)]
    stored = None
    if calibration is not None and point not in calibration.missing:
        stored = calibration.threshold(point)
    if stored is None or stored.value != found["threshold"]:
        sentences.append("Thresholds were set anew since: evaluate again.")
        return sentences, True
    alarms = level.get("false_alarms", {}).get(point)
    target = stored.target_fpr
    if alarms is None or target is None:
        return sentences, False
    promise = (
        f"Promised: at most {100 * target:g}{SPACE}% false positives on images like the"
        " calibration's"
    )
    if alarms["band_999"] is None:
        sentences.append(
            f"{promise}; no band to check it by, several of these images show one person or video."
        )
        return sentences, False
    low, high = alarms["band_999"]
    place = "inside" if alarms["inside"] else "outside"
    sentences.append(
        f"{promise}; {alarms['count']} false positives are {place} the band of {low} to {high}"
        f" that holds 99.9{SPACE}% of such counts."
    )
    return sentences, not alarms["inside"]


def calibration_facts(calibration: CalibrationFile | None) -> list[str]:
    """Says what thresholds and probabilities rest on."""
    if calibration is None:
        return ["not calibrated: scores have no thresholds and are no probabilities"]
    facts = [
        f"thresholds rest on {calibration.num_real} real images"
        f" ({calibration.num_real_clusters} persons, videos or lone images) of"
        f" {calibration.dataset}/{calibration.split}, level {calibration.level}"
    ]
    facts += [f"{name} is not set: {reason}" for name, reason in calibration.missing.items()]
    probability = calibration.probability
    if probability is None:
        facts.append("scores are not calibrated to probabilities")
    else:
        fakes = f"{calibration.num_fake} fakes"
        if named := ", ".join(name for name in calibration.fake_methods if name):
            fakes += f" ({named})"
        errors = [
            f"{place} {error:.3f}"
            for place, error in (
                ("of sigmoid(score)", probability.ece_before),
                ("of the map in-sample", probability.ece_after),
                ("of the map cross-fitted", probability.ece_after_cross_fitted),
            )
            if error is not None
        ]
        why = f" ({probability.reason})" if probability.reason else ""
        facts.append(
            f"probabilities by {probability.method}{why}, fitted with {fakes}; expected calibration"
            f" error (ECE) on the calibration images: {', '.join(errors) or 'not measured'}"
        )
    if calibration.cross_fitted:
        facts.append("calibrated on scores of stacks fitted without that person or video")
    facts += video_facts(calibration)
    return [*facts, *calibration.caveats]


def video_facts(calibration: CalibrationFile) -> list[str]:
    """Says how clips are scored and judged; nothing without clips in the calibration data."""
    video = calibration.video
    if video is None:
        return []
    found = [
        f"clips: {video.num_real} real ({video.num_real_clusters} persons or videos;"
        f" {video.num_clips_of_several} show several persons) and {video.num_fake} fake",
        f"clips: a person's score is {video.aggregation_reason}",
    ]
    found += [
        f"clips: called fake above {point.value:.4g} at {point.name} ({point.rule})"
        for point in video.thresholds
    ]
    for reason in dict.fromkeys(video.missing.values()):
        names = ", ".join(name for name, why in video.missing.items() if why == reason)
        found.append(f"clips: {names} of their own not set: {reason}")
    if video.temporal is None:
        found.append(f"clips: change over time is not judged: {video.temporal_missing}")
    else:
        found.append(
            f"clips: change over time is compared with that of {len(video.temporal.statistics)}"
            " persons in real clips"
        )
    return found


def limits(model: ModelFile, crop: Mapping[str, Any], domains: list[str]) -> list[str]:
    """Says what the figures of a run do not cover.

    Args:
        model: Its weights.
        crop: Size, format and quality of the face crops of its training records.
        domains: Domains those hold.
    """
    return [
        *model.caveats,
        "A score is evidence, not proof: it says how much a face looks like the fakes the detector"
        " was shown, or unlike the real faces, and nothing about intent or origin.",
        "Intervals cover the drawing of these test images alone, not other cameras, generators,"
        " compression, lighting or people than those in the data.",
        f"Trained on {', '.join(domains)}: figures of other origins must be measured"
        " (dfd-tf evaluate RUN --data RECORDS), not inferred.",
        f"It judges face crops of {crop['size']} pixels; other manipulations of a picture go"
        " unseen.",
        "A promised false positive rate holds in expectation for images exchangeable with the"
        " calibration's, one picture a person; platforms that compress again break that.",
        "A heat map shows what moved the score, scaled to its own strongest place; it is no"
        " segmentation of a manipulation.",
    ]

"""A folder of pictures that explain predictions: what `dfd-tf predict --explain` writes.

NAME is the number of the file in the call and what is left of its stem: of an image
`NAME_overlay.png` and `NAME_faces.png`, of a video `NAME_timeline.png`, `NAME_faces.png` and
`NAME_annotated.mp4`, and of every file `NAME.json`, written last. Each appears only when it is
whole and replaces one of the same name.
"""

import hashlib
import io
import json
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from etils import epath
from PIL import Image

from dfd_tf.config.atomic_files import temporary_name, write_atomically
from dfd_tf.inference.annotated_clip import write_annotated_clip
from dfd_tf.inference.annotation import Mark, annotated, fitted_size
from dfd_tf.inference.explanations import MOST_FACES, FaceExplanation, explain_faces, telling_faces
from dfd_tf.inference.face_strip import face_strip_png
from dfd_tf.inference.figures import FAKE_COLOR, REAL_COLOR, UNCOUNTED_COLOR, drawable, png_bytes
from dfd_tf.inference.media_faces import FrameSampling, MediaFaces
from dfd_tf.inference.output import row_maker
from dfd_tf.inference.prediction import FilePrediction
from dfd_tf.inference.predictor import Predictor
from dfd_tf.inference.timeline import timeline
from pipelines.errors import InputError, MediaError, printable
from pipelines.media.files import open_regular
from pipelines.media.images import read_image

_LONGEST_STEM = 60


@dataclass(frozen=True)
class ExplanationFolder:
    """Where explanations go, and what is common to all of them.

    Args:
        folder: The folder; it exists.
        predictor: The run, with batches of a few faces.
        sampling: Which frames of videos were looked at.
        row: Makes the plain values of a result that can be read without the run.
    """

    folder: Path
    predictor: Predictor
    sampling: FrameSampling
    row: Callable[[FilePrediction], dict[str, Any]]

    def write(self, number: int, media: MediaFaces, prediction: FilePrediction) -> None:
        """Writes the explanations of one file.

        What a call before has written is kept where the file's content, the result and the
        settings are the same: a call that was stopped goes on where it was.

        Args:
            number: The file's number in the call, from 1.
            media: Its faces.
            prediction: Its result.

        Raises:
            MediaError: The file cannot be read any more.
            InputError: The folder cannot be written to.
        """
        name = f"{number:04d}_{safe_stem(media.path)}"
        pictures = _pictures(prediction)
        files = {kind: f"{name}_{kind}" for kind in pictures}
        content = self._json(prediction, _content_facts(media), list(files.values()))
        report = self.folder / f"{name}.json"
        try:
            if _is_there(report, content, [self.folder / file for file in files.values()]):
                return
            report.unlink(missing_ok=True)
            subject = _Subject(media, prediction, self._explained(media, prediction))
            for kind, file in files.items():
                pictures[kind](self, self.folder / file, subject)
            write_atomically(epath.Path(report), [content])
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise InputError(
                f"{printable(str(self.folder))}: cannot be written to ({reason})"
            ) from None

    def _explained(
        self, media: MediaFaces, prediction: FilePrediction
    ) -> dict[int, FaceExplanation]:
        shown = telling_faces(prediction)[:MOST_FACES]
        found = explain_faces(self.predictor, [media.faces[place].encoded for place in shown])
        return dict(zip(shown, found, strict=True))

    def _json(
        self, prediction: FilePrediction, file: dict[str, Any], pictures: Sequence[str]
    ) -> bytes:
        settings = self.predictor.settings
        facts = {
            "run": printable(Path(str(self.predictor.run)).name),
            "image_size": self.predictor.image_size,
            "faces": asdict(settings.faces),
            "crop": asdict(settings.crop),
            "limits": asdict(settings.limits),
            "frames": None if prediction.video is None else asdict(self.sampling),
        }
        values = self.row(prediction) | file | {"settings": facts, "pictures": list(pictures)}
        return (json.dumps(values, ensure_ascii=False, indent=1) + "\n").encode()


def open_explanation_folder(
    folder: Path,
    predictor: Predictor,
    sampling: FrameSampling,
    operating_point: str,
) -> ExplanationFolder:
    """Makes the folder; `result_places.check_apart` says what it may not hold.

    Raises:
        InputError: It cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"--explain {printable(str(folder))}: cannot be made ({error.strerror})"
        ) from None
    row = row_maker(predictor, operating_point)
    # Few faces are explained at a time, and a batch of the usual size would be mostly padding.
    small = replace(predictor, batch_size=MOST_FACES)
    return ExplanationFolder(folder, small, sampling, row)


def safe_stem(path: str) -> str:
    """What is left of a file's name for that of another: letters, digits, `-`, `_` and dots."""
    stem = re.sub(r"[^A-Za-z0-9._-]+", "_", Path(path).stem)[:_LONGEST_STEM].strip("._")
    return stem or "file"


def _content_facts(media: MediaFaces) -> dict[str, Any]:
    """sha256 and size of a file; None of one that could not be used because it is not there.

    Raises:
        MediaError: It could be read before, and cannot any more.
    """
    try:
        with open_regular(media.path) as file:
            return {"sha256": hashlib.file_digest(file, "sha256").hexdigest(), "bytes": file.tell()}
    except MediaError:
        if media.error is None:
            raise
    return {"sha256": None, "bytes": None}


def _is_there(report: Path, content: bytes, pictures: Sequence[Path]) -> bool:
    return all(path.is_file() for path in (report, *pictures)) and report.read_bytes() == content


@dataclass(frozen=True)
class _Subject:
    """What is drawn: a file, its result, and the explanations of its telling faces by place."""

    media: MediaFaces
    prediction: FilePrediction
    faces: dict[int, FaceExplanation]


_Draw = Callable[[ExplanationFolder, Path, _Subject], None]


def _pictures(prediction: FilePrediction) -> dict[str, _Draw]:
    """What is drawn of a result, by the end of the file's name."""
    if prediction.status == "error":
        return {}
    if prediction.video is None:
        drawn: dict[str, _Draw] = {"overlay.png": _draw_overlay}
    else:
        drawn = {"timeline.png": _draw_timeline}
    if prediction.faces:
        drawn["faces.png"] = _draw_faces
        if prediction.video is not None:
            drawn["annotated.mp4"] = _draw_clip
    return drawn


def _draw_overlay(to: ExplanationFolder, path: Path, subject: _Subject) -> None:
    settings, prediction = to.predictor.settings, subject.prediction
    pixels = read_image(subject.media.path, settings.limits).pixels
    found = subject.media.faces
    marks = [
        Mark(found[n].box, _caption(prediction, n, rank), _color(prediction, n), one.heat)
        for rank, (n, one) in enumerate(subject.faces.items(), 1)
    ]
    others = [place for place in range(len(found)) if place not in subject.faces]
    marks += [Mark(found[place].box, "", UNCOUNTED_COLOR) for place in others]
    size = fitted_size(pixels.shape[1], pixels.shape[0])
    heading = [headline(prediction), prediction.reason]
    content = io.BytesIO()
    Image.fromarray(annotated(pixels, marks, heading, settings.faces, size)).save(content, "PNG")
    write_atomically(epath.Path(path), [content.getvalue()])


def _draw_faces(_: ExplanationFolder, path: Path, subject: _Subject) -> None:
    prediction = subject.prediction
    captions = [_caption(prediction, place, rank) for rank, place in enumerate(subject.faces, 1)]
    title = f"{_shown_name(subject.media)}\n{headline(prediction)}"
    num_telling = len(telling_faces(prediction))
    if num_telling > len(captions):
        title += f"\nthe highest {len(captions)} of {num_telling} persons"
    picture = face_strip_png([*subject.faces.values()], captions, title)
    write_atomically(epath.Path(path), [picture])


def _draw_timeline(_: ExplanationFolder, path: Path, subject: _Subject) -> None:
    drawn = timeline(subject.prediction, _shown_name(subject.media))
    write_atomically(epath.Path(path), [png_bytes(drawn)])


def _draw_clip(to: ExplanationFolder, path: Path, subject: _Subject) -> None:
    unfinished = Path(temporary_name(epath.Path(path)))
    try:
        write_annotated_clip(
            unfinished,
            to.predictor,
            subject.media,
            subject.prediction,
            to.predictor.settings,
            to.sampling,
        )
        os.replace(unfinished, path)  # noqa: PTH105 - as `write_atomically`
    finally:
        unfinished.unlink(missing_ok=True)


def _shown_name(media: MediaFaces) -> str:
    name = drawable(printable(Path(media.path).name))
    return name if len(name) <= _LONGEST_STEM else f"{name[: _LONGEST_STEM - 10]}...{name[-7:]}"


def headline(prediction: FilePrediction) -> str:
    """Verdict and score of a file in one line."""
    parts: list[str] = [prediction.verdict or "no verdict"]
    if prediction.score is not None:
        parts.append(f"score {prediction.score:.3g}")
        if prediction.threshold is not None:
            parts.append(f"threshold {prediction.threshold:.3g}")
    if prediction.probability is not None:
        parts.append(f"probability of fake {prediction.probability:.3g}")
    return ", ".join(parts)


def _caption(prediction: FilePrediction, place: int, rank: int) -> str:
    face = prediction.faces[place]
    if prediction.video is None:
        return f"face {rank}: {face['score']:.3g}"
    return f"person {face['person']}: {face['score']:.3g}\nat {face['seconds']:.2f} s"


def _color(prediction: FilePrediction, place: int) -> str:
    if prediction.threshold is None:
        return UNCOUNTED_COLOR
    above = prediction.faces[place]["score"] > prediction.threshold
    return FAKE_COLOR if above else REAL_COLOR

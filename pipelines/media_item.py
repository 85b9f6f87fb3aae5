"""What a source yields: one image or video file with everything known about it."""

from dataclasses import dataclass

REAL, FAKE, UNKNOWN = 0, 1, -1
LABEL_NAMES = {REAL: "real", FAKE: "fake", UNKNOWN: "unknown"}
SPLITS = ("train", "val", "test")


@dataclass(frozen=True, slots=True)
class MediaItem:
    """One media file.

    Args:
        path: The file as it can be opened.
        key: Path relative to its source's root, `/`-separated: what results and records show and
            what orders the items, so that moving a dataset changes nothing.
        label: 0 real, 1 fake, -1 unknown.
        domain: Name of the domain (dataset or generator) it belongs to.
        dataset: Name of the dataset.
        method: Manipulation or generation method, empty for real or unknown.
        video: Composite key `dataset/method/video` of the video the media is or was cut from;
            empty for a still.
        identity: Composite key `dataset/identity` of the person shown; empty when unknown.
        related: Further keys whose content the item shares (source and donor videos or
            identities); items that share any key never part at a split.
        split: `train`, `val`, `test` where the source states it, else None.
    """

    path: str
    key: str
    label: int
    domain: str
    dataset: str = ""
    method: str = ""
    video: str = ""
    identity: str = ""
    related: tuple[str, ...] = ()
    split: str | None = None

    def __post_init__(self) -> None:
        if self.label not in LABEL_NAMES:
            raise ValueError(f"{self.path}: label {self.label}, expected one of {[*LABEL_NAMES]}")
        if self.split is not None and self.split not in SPLITS:
            raise ValueError(f"{self.path}: split {self.split!r}, expected one of {SPLITS}")

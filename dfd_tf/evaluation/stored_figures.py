"""What reports and model cards need of files that earlier commands left: checked before it is used.

metrics.json, robustness.json and audit.json lie where anyone can reach them, and may be cut short,
edited, or of another version. The schemas name what the templates read; whatever else a file holds
is not looked at.
"""

import json
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, model_validator


class _Stored(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore")


class _Metric(_Stored):
    value: FiniteFloat | None
    low: FiniteFloat | None
    high: FiniteFloat | None


class _Decision(_Stored):
    threshold: FiniteFloat
    true_positives: int
    false_positives: int
    fpr: _Metric
    recall: _Metric
    balanced_accuracy: _Metric


class _CheckedAlarms(_Stored):
    count: int
    band_999: list[int] = Field(min_length=2, max_length=2)
    inside: bool


class _UncheckedAlarms(_Stored):
    count: int
    band_999: None


class _Group(_Stored):
    auc: _Metric


class _Level(_Stored):
    num_real: int
    num_fake: int
    positive_rate: FiniteFloat
    ranking: dict[str, _Metric]
    probability: dict[str, _Metric] = {}
    decisions: dict[str, _Decision]
    false_alarms: dict[str, _CheckedAlarms | _UncheckedAlarms] = {}
    by_domain: dict[str, _Group]
    worst_domain: str | None
    by_method: dict[str, _Group]
    worst_method: str | None

    @model_validator(mode="after")
    def _check(self) -> "_Level":
        if "auc" not in self.ranking:
            raise ValueError("ranking: auc is missing")
        if not {self.worst_domain} <= {None, *self.by_domain}:
            raise ValueError("worst_domain is not in by_domain")
        if not {self.worst_method} <= {None, *self.by_method}:
            raise ValueError("worst_method is not in by_method")
        return self


class StoredEvaluation(_Stored):
    """What the model card reads of a metrics.json."""

    weights_sha256: str
    dataset: str
    dataset_fingerprint: str
    split: str
    domains: list[str]
    selection: str
    interval: str
    operating_point: str
    warnings: list[str]
    levels: dict[str, _Level]


class _Degraded(_Stored):
    auc: _Metric
    auc_change: _Metric
    flip_rate: _Metric
    fpr: _Metric
    recall: _Metric


class _DegradedLevel(_Degraded):
    level: FiniteFloat


class _Perturbation(_Stored):
    meaning: str
    levels: list[_DegradedLevel]


class _Worst(_Stored):
    perturbation: str
    level: FiniteFloat
    auc: FiniteFloat | None
    flip_rate: FiniteFloat | None


class _WorstCases(_Stored):
    auc: _Worst | None
    flip_rate: _Worst | None


class StoredRobustness(_Stored):
    """What the report reads of a robustness.json."""

    weights_sha256: str
    dataset: str
    split: str
    level: str
    operating_point: str
    threshold: FiniteFloat | None
    interval: str
    num_real: int
    num_fake: int
    num_images_of_split: int
    clean: _Degraded
    perturbations: dict[str, _Perturbation]
    not_measured: dict[str, str]
    worst: _WorstCases = _WorstCases(auc=None, flip_rate=None)


class _Counts(_Stored):
    real: int
    fake: int


class _Nuisance(_Stored):
    label: str
    auc: _Metric
    n: _Counts
    verdict: str
    reason: str


class _Count(_Stored):
    count: int
    across_splits: int


class _Copies(_Stored):
    exact: _Count
    near: _Count


class StoredAudit(_Stored):
    """What the report reads of an audit.json."""

    dataset: str
    records_fingerprint: str
    passed: bool
    headline: str
    advice: list[str]
    limit: FiniteFloat
    together: _Nuisance
    nuisances: list[_Nuisance]
    copies: _Copies


def checked_json(content: bytes, schema: type[BaseModel]) -> dict[str, Any]:
    """Reads a JSON object and checks that all the schema names is in it.

    Raises:
        ValueError: It is no such object.
    """
    found = json.loads(content)
    schema.model_validate(found)
    return dict(found)

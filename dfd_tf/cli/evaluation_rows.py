"""Rows of the tables of figures that several commands print."""

from pathlib import Path
from typing import Any

from pipelines.errors import printable

COLUMNS = {
    "dataset": "dataset",
    "relation": "relation",
    "split": "split",
    "level": "level",
    "n": "real + fake",
    "auc": "AUC [95 %]",
    "average_precision": "AP [95 %]",
    "positive_rate": "positive rate",
    "eer": "EER [95 %]",
    "balanced_accuracy": "balanced accuracy [95 %]",
    "fpr": "FPR [95 %]",
}


def summary_rows(figures: dict[str, Any]) -> list[dict[str, Any]]:
    """One row a level, then one a domain where there are several, for rich's table.

    Names in brackets are escaped.
    """
    from rich.markup import escape

    rows = []
    for level, values in figures["levels"].items():
        decisions = values.get("decisions", {}).get(figures["operating_point"], {})
        origin = {
            "run": escape(Path(figures["run"]).name),
            "dataset": escape(figures["dataset"]),
            "relation": figures["relation"],
            "split": figures["split"],
        }
        rows.append(
            {
                **origin,
                "level": level,
                "n": f"{values['num_real']} + {values['num_fake']}",
                "positive_rate": values["positive_rate"],
                **values["ranking"],
                "balanced_accuracy": decisions.get("balanced_accuracy", "no threshold"),
                "fpr": decisions.get("fpr", "no threshold"),
            }
        )
        by_domain = values["by_domain"] if len(values["by_domain"]) > 1 else {}
        for name, group in by_domain.items():
            rows.append(
                {
                    **origin,
                    **group,
                    "level": escape(f"{level}, domain {printable(name)}"),
                    "n": f"{group['num_real']} + {group['num_fake']}",
                    "balanced_accuracy": "",
                    "fpr": "",
                }
            )
    return rows

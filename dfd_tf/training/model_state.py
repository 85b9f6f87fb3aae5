"""Everything a model and its optimiser remember, as arrays, and back.

`save_weights` and `tf.train.Checkpoint` leave out the counters of the seed generators (DESIGN.md,
trap 17). Variables are numbered rather than named: Keras numbers names by process, not by model.
"""

from collections.abc import Collection, Iterator

import keras
import numpy as np

from dfd_tf.detectors.base import Detector
from pipelines.errors import CheckpointError


def capture_variables(model: Detector, *, with_metrics: bool) -> dict[str, np.ndarray]:
    """Returns copies of all variables of a compiled model.

    Args:
        model: Its optimisers are built.
        with_metrics: Also those of the metrics; they matter within an epoch only.
    """
    groups = ("model", "optimizer", "metric") if with_metrics else ("model", "optimizer")
    return {
        name: np.array(keras.ops.convert_to_numpy(variable))
        for name, variable in _variables(model, groups)
    }


def restore_variables(
    model: Detector,
    arrays: dict[str, np.ndarray],
    source: str,
    groups: Collection[str] = ("model", "optimizer"),
) -> None:
    """Assigns what `capture_variables` returned.

    Args:
        model: Compiled, its optimisers built, if groups other than `model` are asked for.
        arrays: Captured variables.
        source: Where they come from, for messages.
        groups: Which of `model`, `optimizer` and `metric` to restore. `fit` resets the metrics
            when an epoch begins, so those come later than the others.

    Raises:
        CheckpointError: The arrays do not fit the model, whatever their checksum says.
    """
    for group in groups:
        if difference := misfit(model, arrays, group):
            raise CheckpointError(f"{source}: {difference}")
    for name, variable in _variables(model, groups):
        variable.assign(arrays[name])


def misfit(model: Detector, arrays: dict[str, np.ndarray], group: str) -> str | None:
    """Returns the first difference between captured variables and those of a model, or None.

    Args:
        model: As for `restore_variables`.
        arrays: Captured variables.
        group: `model`, `optimizer` or `metric`.
    """
    wanted = {name: value for name, value in arrays.items() if name.partition("/")[0] == group}
    variables = dict(_variables(model, [group]))
    if variables.keys() != wanted.keys():
        different = sorted(variables.keys() ^ wanted.keys())
        return (
            f"{len(wanted)} {group} variables, the model has {len(variables)} "
            f"(first difference: {different[0]})"
        )
    for name, variable in variables.items():
        if tuple(variable.shape) != wanted[name].shape:
            return (
                f"{name} has shape {wanted[name].shape}, "
                f"the model's {variable.path} has {tuple(variable.shape)}"
            )
    return None


def _variables(model: Detector, groups: Collection[str]) -> Iterator[tuple[str, keras.Variable]]:
    by_group = {
        "model": lambda: model.variables,
        "optimizer": lambda: [
            variable
            for optimizer in (model.optimizer, *model.extra_optimizers())
            for variable in optimizer.variables
        ],
        "metric": lambda: model.metrics_variables,
    }
    for group in groups:
        for index, variable in enumerate(by_group[group]()):
            yield f"{group}/{index:05d}", variable

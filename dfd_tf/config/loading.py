"""From a YAML file and `--set a.b=c` overrides to a frozen `Experiment`."""

from collections.abc import Iterator, Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from dfd_tf.config.experiment import Experiment
from pipelines.errors import InputError, printable


def shipped_configs() -> list[str]:
    """Returns the names of the configurations that come with the package."""
    folder = resources.files("dfd_tf.configs")
    return sorted(entry.name[:-5] for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def load_experiment(source: str, overrides: Sequence[str] = ()) -> Experiment:
    """Reads an experiment.

    Args:
        source: Path of a YAML file, or the name of a shipped configuration (`spatial_small`).
        overrides: `path.to.key=value` pairs, applied in order; values are YAML.

    Raises:
        InputError: The file is missing or no YAML mapping, or a key or value is not accepted.
    """
    values = _read_mapping(source)
    for override in overrides:
        _apply(values, override)
    return parse_experiment(values, source)


def parse_experiment(values: dict[str, Any], source: str) -> Experiment:
    """Validates plain values; every problem is named with its path and what is allowed."""
    try:
        return Experiment.model_validate(values)
    except ValidationError as error:
        raise InputError(f"{source}: " + "; ".join(_problems(error))) from None


def dump_experiment(experiment: Experiment) -> str:
    """Returns the fully resolved experiment as YAML."""
    return yaml.safe_dump(experiment.model_dump(mode="json"), sort_keys=False)


@cache
def experiment_json_schema() -> dict[str, Any]:
    """Returns the JSON schema of the YAML files, for editors."""
    return Experiment.model_json_schema()


def _read_mapping(source: str) -> dict[str, Any]:
    path = Path(source)
    if path.suffix in {".yaml", ".yml"} or path.exists():
        if not path.is_file():
            raise InputError(f"{source}: no such configuration file")
        text = path.read_text(encoding="utf-8")
    elif source in shipped_configs():
        text = resources.files("dfd_tf.configs").joinpath(f"{source}.yaml").read_text("utf-8")
    else:
        raise InputError(
            f"{source}: neither a file nor a shipped configuration ({', '.join(shipped_configs())})"
        )
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{source}: not valid YAML: {reason}") from None
    if not isinstance(values, dict):
        raise InputError(f"{source}: expected a mapping, found {type(values).__name__}")
    return values


def _apply(values: dict[str, Any], override: str) -> None:
    path, separator, text = override.partition("=")
    if not separator or not path:
        raise InputError(f"--set {override}: expected KEY=VALUE, as in training.optimizer.name=sgd")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        raise InputError(f"--set {override}: {text!r} is not a YAML value") from None
    target: Any = values
    *parents, last = path.split(".")
    for position, key in enumerate(parents):
        target = _child(target, key, ".".join(parents[: position + 1]), override)
    if isinstance(target, list):
        target[_index(target, last, path, override)] = value
    else:
        target[last] = value


def _child(target: Any, key: str, path: str, override: str) -> Any:
    if isinstance(target, list):
        return target[_index(target, key, path, override)]
    child = target.setdefault(key, {})
    if child is None:
        child = target[key] = {}
    if not isinstance(child, dict | list):
        raise InputError(f"--set {override}: {path} is {child!r}, it has no keys")
    return child


def _index(target: list[Any], key: str, path: str, override: str) -> int:
    if not key.isdigit() or int(key) >= len(target):
        raise InputError(
            f"--set {override}: {path}: {key!r} is no index of a list of {len(target)}"
        )
    return int(key)


def _problems(error: ValidationError) -> Iterator[str]:
    for problem in error.errors(include_url=False):
        path = printable(".".join(str(part) for part in problem["loc"])) or "(top level)"
        if problem["type"] in {"extra_forbidden", "unexpected_keyword_argument"}:
            yield f"{path}: unknown key (allowed: {', '.join(_allowed(problem['loc']))})"
        elif problem["type"] == "missing":
            yield f"{path}: missing"
        else:
            message = problem["msg"][0].lower() + problem["msg"][1:]
            yield f"{path}: {message} (found {_shortened(problem['input'])})"


def _shortened(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _allowed(location: tuple[int | str, ...]) -> list[str]:
    """Follows a location through the JSON schema to the keys allowed beside its last part."""
    schema = experiment_json_schema()
    definitions = schema["$defs"]
    node: dict[str, Any] = schema
    for part in location[:-1]:
        node = _step(node, part, definitions)
    return sorted(node.get("properties", {}))


def _step(node: dict[str, Any], part: int | str, definitions: dict[str, Any]) -> dict[str, Any]:
    if isinstance(part, int):
        child = node.get("items", {})
    elif part in node.get("properties", {}):
        child = node["properties"][part]
    else:  # the tag of a discriminated union, or the name of a union member
        mapping = node.get("discriminator", {}).get("mapping", {})
        if part not in mapping:
            return node
        child = {"$ref": mapping[part]}
    for option in [child, *child.get("anyOf", []), *child.get("allOf", [])]:
        if "$ref" in option:
            return definitions[option["$ref"].rsplit("/", 1)[-1]]
    return child

"""Configurations: files, names, overrides, and one line for every mistake."""

import subprocess
import sys

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from dfd_tf.config.experiment import Experiment
from dfd_tf.config.loading import (
    dump_experiment,
    experiment_json_schema,
    load_experiment,
    parse_experiment,
    shipped_configs,
)
from pipelines.errors import InputError


@pytest.mark.parametrize("name", shipped_configs())
def test_every_shipped_configuration_loads(name):
    assert isinstance(load_experiment(name), Experiment)


@pytest.mark.parametrize("name", shipped_configs())
def test_resolved_yaml_reads_back_equal(name, tmp_path):
    experiment = load_experiment(name)
    path = tmp_path / "config.yaml"
    path.write_text(dump_experiment(experiment))
    assert load_experiment(str(path)) == experiment


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "detector: missing"),
        ({"detector": {"name": "spatal"}}, "'spatial'"),
        ({"detector": {"name": "spatial", "size": 1}}, "size: unknown key .*image_size"),
        ({"detector": {"name": "spatial"}, "data": {"augment": {"flap": 1}}}, "flap.*flip"),
        ({"detector": {"name": "spatial"}, "seed": -1}, "seed: .*found -1"),
        (
            {"detector": {"name": "spatial"}, "training": {"optimizer": {"name": "lion"}}},
            "training.optimizer.name: .*'adamw'.*found 'lion'",
        ),
    ],
)
def test_problems_name_path_value_and_what_is_allowed(values, message):
    with pytest.raises(InputError, match=message) as caught:
        parse_experiment(values, "x.yaml")
    assert "\n" not in str(caught.value)


def test_overrides_reach_into_mappings_and_lists(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text("detector: {name: spatial, phases: [{name: a, epochs: 1, learning_rate: 1}]}")
    experiment = load_experiment(
        str(path),
        ["detector.phases.0.epochs=7", "training.optimizer.ema=0.99", "data.augment=null"],
    )
    assert experiment.detector.phases[0].epochs == 7
    assert experiment.training.optimizer.ema == 0.99
    assert experiment.data.augment is None


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("seed", "expected KEY=VALUE"),
        ("seed=[", "not a YAML value"),
        ("detector.name.x=1", "has no keys"),
        ("detector.phases.5.epochs=1", "no index of a list of 1"),
    ],
)
def test_bad_overrides(tmp_path, override, message):
    path = tmp_path / "x.yaml"
    path.write_text("detector: {name: spatial, phases: [{name: a, epochs: 1, learning_rate: 1}]}")
    with pytest.raises(InputError, match=message):
        load_experiment(str(path), [override])


@pytest.mark.parametrize("text", ["[1, 2]", "a: [", "!!python/object/apply:os.system ['true']"])
def test_e12_files_that_are_no_plain_mapping(tmp_path, text):
    path = tmp_path / "x.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match="expected a mapping|not valid YAML"):
        load_experiment(str(path))


@settings(max_examples=100, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda children: (
            st.lists(children, max_size=3)
            | st.dictionaries(st.text(max_size=8), children, max_size=3)
        ),
        max_leaves=8,
    )
)
def test_any_yaml_value_loads_or_is_refused_in_one_line(value):
    try:
        parse_experiment({"detector": value} if not isinstance(value, dict) else value, "x.yaml")
    except InputError as error:
        assert "\n" not in str(error)


def test_json_schema_describes_every_key():
    schema = experiment_json_schema()
    assert schema["properties"].keys() == Experiment.model_fields.keys()
    assert "oneOf" in schema["properties"]["detector"]
    yaml.safe_dump(schema)


def test_configuration_is_free_of_tensorflow():
    code = (
        "import sys; from dfd_tf.config.loading import shipped_configs; shipped_configs();"
        "sys.exit(bool({'tensorflow', 'keras', 'cv2'} & sys.modules.keys()))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

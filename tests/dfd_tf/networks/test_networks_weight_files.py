import h5py
import keras
import numpy as np
import pytest

from dfd_tf.networks.weight_files import load_weight_file
from pipelines.errors import InputError, ModelFileError


@pytest.fixture
def network():
    return keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            keras.layers.Conv2D(4, 3, name="first"),
            keras.layers.ReLU(name="nothing_to_load"),
            keras.layers.BatchNormalization(name="second"),
        ],
        name="tiny",
    )


@pytest.fixture
def arrays(network):
    random = np.random.default_rng(0)
    return [random.normal(size=weight.shape).astype("float32") for weight in network.weights]


def write_legacy(path, arrays, chunked=False):
    """A Keras 2 weights file written by hand, with the slashes in names that it had."""
    layers = {"conv/first": arrays[:2], "relu": [], "bn": arrays[2:]}
    with h5py.File(path, "w") as file:
        for layer, values in layers.items():
            group = file.create_group(layer)
            group.attrs["weight_names"] = [f"{layer}/w{i}:0".encode() for i in range(len(values))]
            for i, value in enumerate(values):
                group.create_dataset(f"{layer}/w{i}:0", data=value)
        names = [layer.encode() for layer in layers]
        if chunked:
            file.attrs["layer_names0"], file.attrs["layer_names1"] = names[:1], names[1:]
        else:
            file.attrs["layer_names"] = names
    return path


@pytest.mark.parametrize("chunked", [False, True])
def test_legacy_file_is_read_in_order(network, arrays, tmp_path, chunked):
    load_weight_file(network, write_legacy(tmp_path / "w.h5", arrays, chunked))
    for weight, value in zip(network.weights, arrays, strict=True):
        np.testing.assert_array_equal(weight, value)


def test_keras_3_file_round_trip(network, arrays, tmp_path):
    network.set_weights(arrays)
    network.save_weights(tmp_path / "w.weights.h5")
    network.set_weights([np.zeros_like(value) for value in arrays])
    load_weight_file(network, tmp_path / "w.weights.h5")
    for weight, value in zip(network.weights, arrays, strict=True):
        np.testing.assert_array_equal(weight, value)


def test_missing_file(network, tmp_path):
    with pytest.raises(InputError, match=r"w\.h5: no such weights file"):
        load_weight_file(network, tmp_path / "w.h5")


def test_too_few_arrays(network, arrays, tmp_path):
    with pytest.raises(InputError, match="holds 5 arrays, tiny without classifier has 6"):
        load_weight_file(network, write_legacy(tmp_path / "w.h5", arrays[:5]))


def test_other_shape_leaves_the_network_as_it_was(network, arrays, tmp_path):
    before = network.get_weights()
    arrays[-1] = arrays[-1][:3]
    with pytest.raises(InputError, match=r"has shape \(3,\), tiny expects \(4,\)"):
        load_weight_file(network, write_legacy(tmp_path / "w.h5", arrays))
    for weight, value in zip(network.weights, before, strict=True):
        np.testing.assert_array_equal(weight, value)


def test_keras_3_file_of_another_network(network, tmp_path):
    other = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(2, 3)])
    other.save_weights(tmp_path / "w.weights.h5")
    with pytest.raises(InputError, match=r"w\.weights\.h5: does not fit tiny") as caught:
        load_weight_file(network, tmp_path / "w.weights.h5")
    assert "\n" not in str(caught.value)


def test_whole_models_are_refused(network, tmp_path):
    with h5py.File(tmp_path / "model.h5", "w") as file:  # The layout of Keras 2's model.save.
        file.attrs["model_config"] = '{"class_name": "Sequential"}'
        file.create_group("model_weights")
    with pytest.raises(ModelFileError, match="whole saved models are not loaded"):
        load_weight_file(network, tmp_path / "model.h5")


@pytest.mark.parametrize("content", [b"", b"not hdf5", b"\x89HDF\r\n\x1a\n" + bytes(100)])
def test_other_files_are_refused(network, tmp_path, content):
    (tmp_path / "w.h5").write_bytes(content)
    with pytest.raises(ModelFileError, match=r"w\.h5: not a readable HDF5 weights file"):
        load_weight_file(network, tmp_path / "w.h5")


def test_truncated_file_is_refused(network, arrays, tmp_path):
    path = write_legacy(tmp_path / "w.h5", arrays)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ModelFileError):
        load_weight_file(network, path)


def replace_last_array(path, make):
    """Replaces the network's last array by what `make(group, name)` puts there."""
    with h5py.File(path, "r+") as file:
        group = file["bn/bn"]
        del group["w3:0"]
        make(group, "w3:0")


def external_link(group, name):
    group[name] = h5py.ExternalLink("secret.h5", "/values")


def soft_link(group, name):
    group[name] = h5py.SoftLink("/bn/bn/w2:0")


def external_storage(group, name):
    group.create_dataset(name, (4,), "float32", external=[("secret.bin", 0, 16)])


def virtual_dataset(group, name):
    layout = h5py.VirtualLayout((4,), "float32")
    layout[:] = h5py.VirtualSource("secret.h5", "values", (4,))
    group.create_virtual_dataset(name, layout)


def shape_bomb(group, name):
    group.create_dataset(name, (2**36,), "float32", chunks=(2**20,))


def strings(group, name):
    group.create_dataset(name, data=[b"abcd"] * 4)


@pytest.mark.parametrize("suffix", ["h5", "weights.h5"])
@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (external_link, "is a link"),
        (soft_link, "is a link"),
        (external_storage, "stored in another file"),
        (virtual_dataset, "stored in another file"),
        (shape_bomb, "larger than any array of tiny"),
        (strings, "not numbers"),
    ],
)
def test_attacks_are_refused_before_anything_is_read(
    network, arrays, tmp_path, make, reason, suffix
):
    (tmp_path / "secret.bin").write_bytes(bytes(16))
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["values"] = np.zeros(4, "float32")
    path = write_legacy(tmp_path / f"w.{suffix}", arrays)
    replace_last_array(path, make)
    with pytest.raises(ModelFileError, match=f"refused.*{reason}"):
        load_weight_file(network, path)


def test_a_group_that_contains_itself_ends_the_walk(network, arrays, tmp_path):
    path = write_legacy(tmp_path / "w.h5", arrays)
    with h5py.File(path, "r+") as file:
        file["bn/loop"] = file["bn"]
    load_weight_file(network, path)
    np.testing.assert_array_equal(network.weights[0], arrays[0])


def test_files_of_very_many_groups_are_refused(network, arrays, tmp_path):
    path = write_legacy(tmp_path / "w.h5", arrays)
    with h5py.File(path, "r+") as file:
        for number in range(300):
            file.create_group(f"extra{number}")
    with pytest.raises(ModelFileError, match="more than 220 groups and arrays"):
        load_weight_file(network, path)

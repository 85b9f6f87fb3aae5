"""Readers of `.pth` and `.safetensors`: what they read, and that they run nothing."""

import json
import os
import pickle
import zipfile
from collections import OrderedDict
from copy import copy

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_files import write_archive, write_safetensors, write_torch

from dfd_tf.networks.safetensors_file import read_safetensors
from dfd_tf.networks.torch_file import read_torch_file
from pipelines.errors import ModelFileError

ARRAYS = {
    "conv.weight": np.arange(24, dtype="f4").reshape(2, 3, 2, 2),
    "bn.bias": np.array([0.5, -1.5], "f2"),
    "bn.num_batches_tracked": np.array(3, "int64"),
    "fc.weight": np.arange(6, dtype="f8").reshape(2, 3),
}


def same(found, expected=ARRAYS):
    assert list(found) == list(expected)
    for name, array in expected.items():
        assert found[name].dtype == array.dtype
        assert found[name].shape == array.shape
        np.testing.assert_array_equal(found[name], array)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("order", ["C", "F"])
def test_state_dict_round_trip(tmp_path, protocol, order):
    same(read_torch_file(write_torch(tmp_path / "w.pth", ARRAYS, protocol, order)))


def test_safetensors_round_trip(tmp_path):
    same(read_safetensors(write_safetensors(tmp_path / "w.safetensors", ARRAYS)))


def test_bfloat16_of_both(tmp_path):
    # bfloat16 is the upper half of float32: 1.5 is 0x3FC0.
    bits = np.array([0x3FC0, 0xC000], "<u2").tobytes()
    header = json.dumps({"w": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]}}).encode()
    path = tmp_path / "w.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + bits)
    np.testing.assert_array_equal(read_safetensors(path)["w"].astype("f4"), [1.5, -2])
    write_torch(tmp_path / "half.pth", {"w": np.zeros(2, "f2")})
    pickled = content(tmp_path / "half.pth").replace(b"HalfStorage", b"BFloat16Storage")
    path = write_archive(tmp_path / "w.pth", pickled, [bits])
    np.testing.assert_array_equal(read_torch_file(path)["w"].astype("f4"), [1.5, -2])


def content(path, member="name/data.pkl"):
    with zipfile.ZipFile(path) as archive:
        return archive.read(member)


class Trap:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", [0, 1, 2, 4])
@pytest.mark.parametrize("place", ["root", "entry", "metadata"])
def test_code_in_the_pickle_is_not_run(tmp_path, protocol, place):
    sentinel = tmp_path / "sentinel"
    trap = Trap(os.mkdir, str(sentinel))
    value = {"root": trap, "entry": {"conv1.weight": trap}, "metadata": OrderedDict(a=1)}[place]
    if place == "metadata":
        value._metadata = trap
    pickled = pickle.dumps(value, protocol)
    path = write_archive(tmp_path / "evil.pth", pickled, [])
    with pytest.raises(ModelFileError, match=r"evil\.pth: refused: ") as caught:
        read_torch_file(path)
    assert "\n" not in str(caught.value)
    assert not sentinel.exists()
    # The trap is a live one.
    pickle.loads(pickled)
    assert sentinel.is_dir()


def test_refusal_names_what_the_file_wanted(tmp_path):
    path = write_archive(tmp_path / "w.pth", pickle.dumps(Trap(os.system, "true"), 2), [])
    with pytest.raises(ModelFileError, match=r"names posix\.system, which is neither .* run code"):
        read_torch_file(path)


def test_names_that_are_not_strings_are_refused_before_they_are_hashed(tmp_path):
    key = ()
    for _ in range(60):  # Its hash takes 2 ** 60 steps.
        key = (key, key)
    pickled = b"\x80\x02}" + pickle.dumps(key, 2)[2:-1] + b"K\x01s."
    with pytest.raises(ModelFileError, match="a name in it is not a string"):
        read_torch_file(write_archive(tmp_path / "w.pth", pickled, []))


@pytest.mark.parametrize(
    ("pickled", "message"),
    [
        (pickle.dumps([1, 2], 2), "does not hold a state dict"),
        (pickle.dumps({"epoch": 3}, 2), "the entry epoch is not a tensor; save model.state_dict"),
        (pickle.dumps({"a": bytearray(4)}, 5), "the instruction BYTEARRAY8, no state dict needs"),
        (b"", "damaged"),
        (b"\x80\x02}", "damaged"),
        (b"\x80\x02}q\x00.extra", None),
        (b"\x80\x02t.", "damaged"),
        (b"\x80\x02\x85.", "too few values"),
        (b"\x80\x02(}\x86.", "too few values"),
        (b"\x80\x02h\x05.", "damaged"),
        (b"\x80\x02)R.", "too few values"),
        (b"\x80\x02))R.", "calls something that is not a function"),
        (b"\x80\x02}}.", "does not end in one value"),
    ],
)
def test_senseless_pickles(tmp_path, pickled, message):
    path = write_archive(tmp_path / "w.pth", pickled, [])
    if message is None:
        assert read_torch_file(path) == {}
        return
    with pytest.raises(ModelFileError, match=message):
        read_torch_file(path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        # Four elements of which the storage holds four: shape, offset and stride overstated.
        (b"K\x04\x85q", b"K\x05\x85q", "reaches beyond its storage"),
        (b"K\x00K\x04\x85", b"K\x01K\x04\x85", "reaches beyond its storage"),
        (b"K\x01\x85q", b"K\x02\x85q", "reaches beyond its storage"),
        (b"K\x04\x85q", b"M\x00\xff\x85q", "reaches beyond its storage"),
        (b"K\x04\x85q", b"J\xff\xff\xff\xff\x85q", "not natural numbers"),
        (b"K\x04\x85q", b"K\x02K\x02\x86q", "shape and strides of w do not fit"),
        (b"X\x07\x00\x00\x00storage", b"X\x07\x00\x00\x00mystery", "in an unknown way"),
        (b"FloatStorage", b"BoolStorage", "names torch.BoolStorage"),
        (b"X\x01\x00\x00\x000", b"X\x05\x00\x00\x00../x0", r"name/data/\.\./x0 is missing"),
    ],
)
def test_tensors_that_are_not_in_the_file(tmp_path, old, new, message):
    array = np.arange(4, dtype="f4")
    path = write_torch(tmp_path / "w.pth", {"w": array})
    pickled = content(path)
    assert pickled.count(old) == 1
    path = write_archive(path, pickled.replace(old, new), [array.tobytes()])
    with pytest.raises(ModelFileError, match=message):
        read_torch_file(path)


def test_archives_that_are_not_pytorchs(tmp_path):
    path = write_torch(tmp_path / "w.pth", ARRAYS)
    pickled = content(path)
    with pytest.raises(ModelFileError, match="2 members are called data.pkl"):
        read_torch_file(write_archive(path, pickled, [], **{"b/data.pkl": pickled}))
    with pytest.raises(ModelFileError, match="data.pkl takes more than 1048576 bytes"):
        read_torch_file(write_archive(path, bytes(2**20 + 1), []))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("name/data.pkl", pickled)
    with pytest.raises(ModelFileError, match="data.pkl is compressed, PyTorch's are not"):
        read_torch_file(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("name/data.pkl", pickled)
        archive.writestr("name/data/0", bytes(2**16))
        for number in range(1, 4):  # Members that share their bytes.
            member = copy(archive.getinfo("name/data/0"))
            member.filename = f"name/data/{number}"
            archive.filelist.append(member)
    with pytest.raises(ModelFileError, match="take more bytes than the file"):
        read_torch_file(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("name/data.pkl", pickled)
        archive.writestr("name/byteorder", "big")
    with pytest.raises(ModelFileError, match="byte order is b'big'"):
        read_torch_file(path)
    path.write_bytes(b"PK\x03\x04" + bytes(50))
    with pytest.raises(ModelFileError, match="not a readable PyTorch file"):
        read_torch_file(path)


ENTRY = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ({"w": {**ENTRY, "dtype": "F8_E4M3"}}, "has the dtype 'F8_E4M3', known: F64"),
        ({"w": {**ENTRY, "dtype": ["F32"]}}, "has the dtype"),
        ({"w": {**ENTRY, "shape": [3]}}, r"w takes 8 bytes, which is not \[3\] float32"),
        ({"w": {**ENTRY, "shape": [1] * 9 + [2]}}, "w takes 8 bytes"),
        ({"w": {**ENTRY, "shape": [-1, -2]}}, "not natural numbers"),
        ({"w": {**ENTRY, "shape": [True, 2]}}, "not natural numbers"),
        ({"w": {**ENTRY, "shape": [2.0]}}, "not natural numbers"),
        ({"w": {**ENTRY, "shape": 2}}, "entry of w is incomplete"),
        ({"w": {"dtype": "F32"}}, "entry of w is incomplete"),
        ({"w": 3}, "entry of w is incomplete"),
        ({"w": {**ENTRY, "data_offsets": [8, 16]}}, "belong to no array or to several"),
        ({"w": {**ENTRY, "data_offsets": [0, 8, 8]}}, "entry of w is incomplete"),
        ({"w": ENTRY, "v": ENTRY}, "belong to no array or to several"),
        ({"w": {**ENTRY, "shape": [1], "data_offsets": [0, 4]}}, "take 4 bytes, the file has 8"),
        ({"w": {**ENTRY, "shape": [4], "data_offsets": [0, 16]}}, "take 16 bytes, the file has 8"),
        ([], "is not an object"),
        (b'{"w": 1, "w": 2}', "a name occurs twice"),
        (b"{" * 100_000, "is not JSON"),
        (b"\xff\xfe{}", "is not JSON"),
    ],
)
def test_unsound_safetensors(tmp_path, header, message):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path = tmp_path / "w.safetensors"
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(8))
    with pytest.raises(ModelFileError, match=message):
        read_safetensors(path)


@pytest.mark.parametrize("start", [b"", b"\x05", b"\xff" * 8, (2**21).to_bytes(8, "little")])
def test_safetensors_headers_longer_than_the_file(tmp_path, start):
    path = tmp_path / "w.safetensors"
    path.write_bytes(start + b"{}")
    with pytest.raises(ModelFileError, match="its header is .* bytes long"):
        read_safetensors(path)


@pytest.fixture(scope="module")
def sound_files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sound")
    return {
        "pth": (read_torch_file, write_torch(folder / "w.pth", ARRAYS)),
        "safetensors": (read_safetensors, write_safetensors(folder / "w.safetensors", ARRAYS)),
    }


@pytest.mark.parametrize("form", ["pth", "safetensors"])
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_damaged_files_are_read_or_refused(sound_files, form, data):
    read, path = sound_files[form]
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    damaged = path.with_suffix(".damaged")
    damaged.write_bytes(content[: data.draw(st.integers(0, len(content)))] or content)
    try:
        arrays = read(damaged)
    except ModelFileError as error:
        assert "\n" not in str(error)
    else:
        assert all(isinstance(array, np.ndarray) for array in arrays.values())


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_damaged_pickles_are_read_or_refused(sound_files, data):
    path = sound_files["pth"][1]
    pickled = bytearray(content(path))
    for _ in range(data.draw(st.integers(1, 4))):
        pickled[data.draw(st.integers(0, len(pickled) - 1))] = data.draw(st.integers(0, 255))
    storages = [content(path, f"name/data/{number}") for number in range(len(ARRAYS))]
    damaged = write_archive(path.with_suffix(".pickled"), bytes(pickled), storages)
    try:
        read_torch_file(damaged)
    except ModelFileError as error:
        assert "\n" not in str(error)

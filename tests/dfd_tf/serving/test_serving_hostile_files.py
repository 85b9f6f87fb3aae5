"""D-08: every odd file as an upload is answered, and the server is fine afterwards."""

import csv
import io
import os
import random
from pathlib import Path

import pytest

PREDICT = "/api/v1/predict?model=whole"


def resident_bytes(process):
    return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def total_bytes(service):
    return sum(map(resident_bytes, [os.getpid(), *service.worker_ids]))


@pytest.fixture(scope="module")
def odd_files(shared_data):
    """Images and videos that are broken, huge, tiny or of another kind."""
    with (shared_data / "robust" / "CASES.csv").open(encoding="utf-8") as file:
        paths = [shared_data / row["path"] for row in csv.DictReader(file)]
    return [path for path in paths if path.is_file()]


def test_d08_odd_files_as_uploads(client, service, odd_files, portraits):
    before = total_bytes(service)
    codes = {}
    for path in odd_files:
        data = path.read_bytes()
        answer = client.post(PREDICT, data={"file": (io.BytesIO(data), "x")})
        codes[path.name] = answer.status_code
        assert answer.status_code in (200, 413, 415, 422), (path, answer.text)
        if answer.status_code != 200:
            reason = answer.get_json()["error"]
            assert reason
            assert "\n" not in reason
            assert "/proc" not in reason
            assert "Traceback" not in reason
    assert {200, 413, 415, 422} <= set(codes.values())
    assert client.post(PREDICT, data=portraits[0]).status_code == 200
    assert total_bytes(service) - before < 300 * 2**20


def test_d08_mutations_of_good_files(client, portraits, clip):
    choices = random.Random(5)
    for number in range(150):
        data = bytearray(choices.choice([*portraits, clip]))
        kind = number % 3
        if kind == 0:
            del data[choices.randrange(len(data)) :]
        elif kind == 1:
            for _ in range(10):
                data[choices.randrange(len(data))] = choices.randrange(256)
        else:
            start = choices.randrange(len(data))
            data[start:start] = choices.choice(portraits)[:500]
        answer = client.post(PREDICT, data=bytes(data))
        assert answer.status_code in (200, 413, 415, 422), answer.text
    assert client.post(PREDICT, data=portraits[0]).status_code == 200

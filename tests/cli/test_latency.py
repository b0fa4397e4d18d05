"""`archipel latency build|check|show|measure` on a space and a device of one's own that are measured in a moment."""

import pytest

from archipel.cost import Device

SPACE = """
from torch import nn


def small(choose, *, classes=10, channels=1, size=8):
    layers = [nn.Conv2d(channels, 8, 3, padding=1)]
    for i in range(4):
        layers.append(choose.op(f"l{i}", {f"k{k}": lambda k=k: nn.Conv2d(8, 8, k, padding=k // 2) for k in (1, 3, 5)}))
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, classes))
"""
QUICK = "--rounds 3 --cover 2 --probed 6 --calibrating 12 --held-out 4 --threads 1 --quiet".split()  # noqa: SIM905


PHONE = """
def milliseconds(module, inputs, rounds):
    layers = [part for part in module.modules() if hasattr(part, "kernel_size")]
    return [0.1 + len(inputs) * sum(layer.kernel_size[0] ** 2 for layer in layers)] * rounds

def gone(module, inputs, rounds):
    raise ConnectionError("no phone")
"""
NET = """
from torch import nn

def tall(choose, *, classes=10, size=32):
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * (size - 2) ** 2, classes))

def lost(choose):
    return nn.Conv2d(1, 4, 3)
"""


@pytest.fixture
def table(call, tmp_path):
    (tmp_path / "my.py").write_text(SPACE)
    ended = call("latency", "build", "--space", "my.py:small", "--data", "digits", "--out", "t.json", *QUICK, "--json")
    assert ended.code == 0, ended.err
    return ended.json


def test_build_show_check(call, table):
    assert table["table"] == "t.json"
    assert table["fidelity"]["n"] == 4
    text = call("latency", "show", "t.json").out
    assert "space       small" in text
    assert "1×8×8" in text
    assert "4 held-out networks" in text
    assert call("latency", "show", "t.json", "--json").json["space"]["name"] == "small"
    found = call("latency", "check", "t.json", "--space", "my.py:small", "--children", 5, "--quiet", "--json").json
    assert found["n"] == 5
    assert {"mape", "tau", "coverage", "nominal"} <= found.keys()
    ended = call("latency", "check", "t.json", "--space", "my.py:small", "--children", 3, "--quiet")
    assert "held-out networks (uniform)" in ended.out


def test_a_table_is_never_overwritten(call, table, tmp_path):
    before = (tmp_path / table["table"]).read_bytes()
    ended = call("latency", "build", "--space", "my.py:small", "--out", "t.json", *QUICK)
    assert ended.code == 2
    assert "t.json exists" in ended.line
    assert (tmp_path / table["table"]).read_bytes() == before


@pytest.mark.usefixtures("table")
def test_a_table_fits_one_space_and_device(call, tmp_path, monkeypatch):
    assert "name it with --space FILE.py:small" in call("latency", "check", "t.json").line
    (tmp_path / "other.py").write_text(SPACE.replace("(1, 3, 5)", "(1, 3)"))
    ended = call("latency", "check", "t.json", "--space", "other.py:small")
    assert ended.code == 2
    assert "is of another space" in ended.line
    monkeypatch.setattr(Device, "fingerprint", lambda self: {"device": self.name, "model": "abacus"})
    ended = call("latency", "check", "t.json", "--space", "my.py:small")
    assert ended.code == 2
    assert "is of another device" in ended.line


@pytest.fixture
def phone(tmp_path):
    (tmp_path / "my.py").write_text(SPACE)
    (tmp_path / "net.py").write_text(NET)
    (tmp_path / "phone.py").write_text(PHONE)


@pytest.mark.usefixtures("phone")
def test_a_device_of_ones_own(call, tmp_path, monkeypatch):
    ended = call("latency", "build", "--space", "my.py:small", "--size", 8, "--device", "phone.py:milliseconds",
                 "--batch", 2, *QUICK)  # fmt: skip
    assert ended.code == 0, ended.err
    file = "small-phone-milliseconds-b2.json"
    assert file in ended.out
    # What a convolution of k × k takes is 2 k², alone and in any network: the table cannot be wrong.
    fidelity = call("latency", "show", file, "--json").json["fidelity"]
    assert fidelity["mape"] < 0.01
    assert fidelity["tau"] > 0.99
    units = call("latency", "show", file, "--json").json["units"]
    assert units["l2=k3"]["ms"] == pytest.approx(18)
    monkeypatch.chdir(tmp_path / "..")
    checked = call("latency", "check", tmp_path / file, "--space", f"{tmp_path}/my.py:small", "--quiet", "--json").json
    assert checked["mape"] < 0.01
    (tmp_path / "phone.py").write_text(PHONE.replace("0.1", "0.2"))
    ended = call("latency", "check", tmp_path / file, "--space", f"{tmp_path}/my.py:small")
    assert ended.code == 2
    assert "is of another device" in ended.line


@pytest.mark.usefixtures("phone")
def test_measure(call, tmp_path):
    (tmp_path / "a.json").write_text('{"l0": "k1", "l1": "k3", "l2": "k5", "l3": "k5"}')
    device = ["--device", "phone.py:milliseconds", "--rounds", 4, "--quiet"]
    words = ["latency", "measure", "net.py:tall", "--space", "my.py:small", "--architecture", "a.json", *device]
    found = call(*words, "--batch", 2, "--size", 8, "--json").json
    assert found["device"]["fingerprint"]["device"] == "phone.py:milliseconds"
    assert (found["batch"], found["rounds"]) == (2, 4)
    tall, small = found["networks"]
    assert (tall["network"], small["network"]) == ("tall", "small")
    assert tall["input_shape"] == [3, 8, 8]
    assert small["input_shape"] == [1, 8, 8]
    assert tall["ms"] == pytest.approx(0.05 + 9)  # an image
    assert small["ms"] == pytest.approx(0.05 + 9 + 1 + 9 + 25 + 25)
    assert tall["parameters"] == 3 * 4 * 9 + 4 + 4 * 36 * 10 + 10
    assert tall["madds"] == 36 * 4 * 27 + 4 * 36 * 10
    assert tall["samples"] == [tall["ms"]] * 4
    ended = call("latency", "measure", "net.py:tall", *device)
    assert ended.code == 0
    assert "phone.py:milliseconds, batch 1, 4 rounds" in ended.out
    assert "9.1" in ended.out
    random = call("latency", "measure", "--space", "my.py:small", "--random", 3, *device, "--json").json
    assert len(random["networks"]) == 1


def test_measure_published_networks_on_this_cpu(call):
    found = call("latency", "measure", "mobilenet_v2", "--size", 8, "--width", 0.25, "--rounds", 2, "--threads", 1,
                 "--quiet", "--json").json  # fmt: skip
    (row,) = found["networks"]
    assert row["ms"] > 0
    assert row["input_shape"] == [3, 8, 8]


@pytest.mark.usefixtures("phone")
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("measure", "there is nothing to time"),
        ("measure mobilenet_v2 --batch 0", "--batch is 0"),
        ("measure mobilenet_v2 --rounds 0", "--rounds is 0"),
        ("measure mobilenet_v3", "did you mean 'mobilenet_v2'?"),
        ("measure net.py:tall net.py:tall", "two networks are called 'tall'"),
        ("measure my.py:small", "a space of many networks; give it as --space with --architecture FILE or --random"),
        ("measure --space my.py:small", "a space of many networks"),
        ("measure net.py:tall --size 8 --option.channels 1", "has no option 'channels'"),
        ("measure net.py:lost --threads 1", "a network cannot take images of 3×32×32: "),
        ("measure net.py:tall --random 3", "name it with --space"),
        ("measure net.py:tall --device onxruntime", "unknown device 'onxruntime'"),
        ("measure net.py:tall --device onxruntime", "did you mean 'onnxruntime'?"),
        ("measure net.py:tall --device phone.py:gone", "device 'phone.py:gone' raised ConnectionError: no phone"),
        ("build --space my.py:small --device phone.py", "unknown device 'phone.py'"),
        ("build --space my.py:small --device phone.py:gon", "did you mean 'gone'?"),
        ("build --space my.py:small --device phone.py:gone", "raised ConnectionError: no phone"),
    ],
)
def test_bad_input_with_devices(call, arguments, words):
    ended = call("latency", *arguments.split(), "--quiet")
    assert ended.code == 2
    assert words in ended.line


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("show none.json", "there is no latency table none.json"),
        ("check none.json", "there is no latency table none.json"),
        ("show text.json", "cannot be read"),
        ("check list.json", "list.json is no latency table"),
        ("check list.json --children 1", "--children is 1"),
        ("check list.json --rounds 0", "--rounds is 0"),
        ("build --batch 0", "--batch is 0"),
        ("build --rounds 0", "rounds is 0"),
        ("build --round 3", "did you mean '--rounds'?"),
        ("build --out nowhere/t.json --threads 1", "the folder of nowhere/t.json does not exist"),
        ("build --space nix", "there is no space 'nix'"),
        ("build --device cuda:99", "cuda:99"),
    ],
)
def test_bad_input(call, tmp_path, arguments, words):
    (tmp_path / "text.json").write_text("table")
    (tmp_path / "list.json").write_text("[]")
    ended = call("latency", *arguments.split())
    assert ended.code == 2
    assert words in ended.line

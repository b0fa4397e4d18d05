"""Published networks by name: shown with their published totals, trained by their recipe, judged, exported."""

import pytest

TINY = ("--images", 80, "--test-images", 20, "--epochs", 1, "--batch", 40, "--threads", 1)


def test_show(call):
    """One of them; the totals of all are in spaces/test_nets.py."""
    content = call("show", "proxyless_cpu", "--json").json
    assert (content["parameters"], content["madds"]) == (4_361_648, 439_243_864)
    assert content["input_shape"] == [3, 224, 224]
    assert len(content["architecture"]) == 21
    assert content["space"] == "proxyless"


def test_a_published_network_takes_the_shape_of_a_data_set(call):
    shown = call("show", "proxyless_mobile", "--data", "digits", "--json").json
    assert shown["input_shape"] == [1, 8, 8]
    assert shown["options"]["classes"] == 10
    assert shown["options"]["widths"][-1] == 1280
    assert call("show", "proxyless_mobile", "--size", 160, "--json").json["input_shape"] == [3, 160, 160]
    other = call("show", "proxyless_mobile", "--option.classes", 10, "--json").json
    assert other["parameters"] == 4_080_512 - 990 * 1281


def test_another_network_of_the_same_space(call):
    one = call("show", "proxyless_gpu", "--random", 1, "--json").json
    assert one["architecture"] != call("show", "proxyless_gpu", "--json").json["architecture"]
    assert one["options"]["widths"][0] == 40


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("proxyless_cpuu", "did you mean 'proxyless_cpu'?"),
        ("proxyless_cpuu", "pnasnet_5, or your own: file.py:function"),
        ("proxyless_cpu --option.macro light", "9 widths are given; this macro-structure has 7"),
        ("proxyless_cpu --option.width 0", "give a width above 0"),
    ],
)
def test_bad_input(call, arguments, words):
    ended = call("show", *arguments.split())
    assert ended.code == 2
    assert words in ended.line


def test_the_recipe_is_the_authors_where_nothing_else_is_said(call, tmp_path):
    narrow = ("--option.widths", "[8,8,8,8,8,8,8,8,16]")
    ended = call("train", "proxyless_mobile", *narrow, *TINY, "--out", "a", "--quiet", "--json")
    assert ended.code == 0, ended.err
    assert ended.json["title"] == "proxyless_mobile on digits"
    config = (tmp_path / "a" / "config.yaml").read_text()
    for line in ("lr: 0.05", "weight_decay: 4.0e-05", "label_smoothing: 0.1", "epochs: 1", "batch: 40", "ema: 0.0"):
        assert line in config
    again = call("eval", "a", "--json").json
    assert again["score"] == ended.json["test"]["score"]
    assert "proxyless_mobile on 20 test images of digits" in call("eval", "a").out


def test_what_is_said_weighs_more_than_the_recipe(call, tmp_path):
    asked = ("--label-smoothing", 0.2, "--precision", "bfloat16", "--ema", 0.9, "--option.dropout", 0.4)
    ended = call("train", "mobilenet_v2", "--width", 0.25, *asked, *TINY, "--out", "a", "--quiet", "--json")
    assert ended.code == 0, ended.err
    config = (tmp_path / "a" / "config.yaml").read_text()
    for line in ("label_smoothing: 0.2", "precision: bfloat16", "ema: 0.9", "dropout: 0.4"):
        assert line in config


def test_a_precision_that_the_device_lacks_leaves_no_folder(call, tmp_path):
    ended = call("train", "mobilenet_v2", "--precision", "float16", *TINY)
    assert ended.code == 2
    assert "precision is float16, which needs CUDA; give bfloat16" in ended.line
    assert not (tmp_path / "runs").exists()

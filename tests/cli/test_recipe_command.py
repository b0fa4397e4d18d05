"""`archipel run` around a stand-in recipe: settings from preset, file and options; folders; resuming; endings."""

from pathlib import Path

import pytest
import yaml
from PIL import Image

from archipel.cli import recipe_command
from archipel.cli.app import main
from archipel.errors import OptionError
from archipel.run.atomic import StorageError
from archipel.run.folder import RunFolder

SHORT = ("--threads", 1, "--quiet")
MISTAKE = OptionError("a target of 0.1 ms is below the cheapest child, 0.4 ms")
FULL = StorageError("no space left to write x")


def test_a_run_ends_with_the_table_and_the_report(standin, recipe, tmp_path):
    ended = standin("run", "--out", "a", "--threads", 1)
    assert ended.code == 0
    lines = ended.out.splitlines()
    assert lines[0].startswith("Stand-in on digits (3 s)")
    row = next(line for line in lines if line.startswith("InstaNAS A"))
    assert row.split() == ["InstaNAS", "A", "92.0", "1.50", "1.60", "0.200", "1.20", "M", "31.0", "%"]
    assert any(line.startswith("MobileNetV2 0.5") for line in lines)
    assert "Instance-awareness was worth 1.0 points." in lines
    assert any("mean absolute error 3.1 %, Kendall's τ 0.95" in line for line in lines)
    assert "! collapse: one architecture (stage search, seed 0, epoch 7)" in lines
    assert lines[-1] == "Report: a/report.html"
    assert (tmp_path / "a" / "report.html").is_file()
    assert ended.err.splitlines() == ["one done", "two done", "three done"]
    assert recipe.calls[0].settings == recipe.PRESETS["small"]
    assert recipe.calls[0].seeds == 3


def test_json_is_all_there_is_on_stdout(standin):
    ended = standin("run", "--out", "a", *SHORT, "--json")
    assert ended.json["run"] == "a"
    assert ended.json["report"] == "a/report.html"
    assert ended.json["points"][0]["name"] == "A"
    assert ended.err == ""


def test_options_over_file_over_preset(standin, recipe, tmp_path):
    (tmp_path / "my.yaml").write_text(
        "preset: faithful\nseeds: 5\nsearch: {rate: 1e-2, epochs: 7}\ntuning: {fix: no}\n"
    )
    standin("run", "--config", "my.yaml", "--search.epochs", 3, "--search.sweep", 0.25, 0.5, 1, "--seed", 4, *SHORT)
    call = recipe.calls[0]
    assert call.settings.search == recipe.Search(epochs=3, rate=0.01, kind="paper", sweep=(0.25, 0.5, 1.0))
    assert call.settings.tuning == recipe.Search(epochs=10, fix=False)
    assert (call.seeds, call.seed) == (5, 4)


def test_flags_and_optional_leaves(standin, recipe):
    standin("run", "--search.no-fix", "--search.target", 2, "--tuning.kind", "paper", "--target-ms", 1.5, *SHORT)
    assert recipe.calls[0].settings.search.fix is False
    assert recipe.calls[0].settings.search.target == 2.0
    assert recipe.calls[0].settings.tuning.kind == "paper"
    assert recipe.calls[0].target_ms == 1.5


def test_the_written_config_repeats_the_run(standin, recipe, tmp_path):
    standin("run", "--out", "a", "--images", 500, "--search.epochs", 3, *SHORT)
    written = yaml.safe_load((tmp_path / "a" / "config.yaml").read_text())
    assert written["images"] == 500
    assert written["search"]["epochs"] == 3
    assert written["tuning"]["sweep"] == [0.5, 1.0]
    assert standin("run", "--config", "a/config.yaml", "--out", "b", "--quiet").code == 0
    first, second = recipe.calls
    assert first.settings == second.settings
    assert first.task.splits == second.task.splits
    assert first.folder.config == second.folder.config


def test_help_keeps_the_words_of_the_settings(standin):
    text = " ".join(standin("run", "--help").out.replace("│", " ").split())
    assert "--search.epochs INT How many epochs. [cpu: 40]" in text
    assert "--search.fix --search.no-fix [cpu: yes]" in text
    assert "search: The search stage" in text
    assert "A folder with one subfolder of pictures a class" in text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("--serch.epochs 3", "unknown option '--serch.epochs' of 'archipel run'; did you mean '--search.epochs'?"),
        ("--search.epoch 3", "did you mean '--search.epochs'?"),
        ("--search.epochs 1.5", "'1.5' is no whole number; see 'archipel run --help'"),
        ("--search.kind papr", 'Choose from: "ours", "paper"'),
        ("--preset cpuu", "there is no preset 'cpuu' (cpu, faithful, small); did you mean 'cpu'?"),
        ("--data nowhere/x", "folder 'nowhere/x' does not exist"),
        ("--data empty", "empty"),
        ("--data one", "class"),
        ("--data broken", "broken"),
        ("--data cifar10", "'cifar10' is read from files of yours; name their folder with --data FOLDER"),
        ("--data digts", "digts"),
        ("--space instans", "there is no space 'instans'"),
        ("--space my.py:missing", "has no function 'missing'"),
        ("--space bad.py:f", "raised ZeroDivisionError"),
        ("--device tpu", "unknown device 'tpu'"),
        ("--threads 0", "threads is 0; give a number above 0"),
        ("--seeds -1", "seeds is -1"),
        ("--images 0", "images is 0"),
        ("--target-ms -2", "target-ms is -2.0"),
        ("--table none.json", "there is no latency table"),
        ("--table my.py", "latency table"),
        ("--config none.yaml", "cannot read none.yaml: No such file"),
        ("--config bad.yaml", "unknown key 'sead' in bad.yaml; did you mean 'seed'?"),
        ("--config worse.yaml", "unknown key 'search.epoch' in worse.yaml; did you mean 'epochs'?"),
        ("--config wrong.yaml", "'search.epochs' in wrong.yaml is 'many'; expected a whole number"),
        ("--config wrong2.yaml", "'seeds' in wrong2.yaml is 'x'; expected a whole number"),
        ("--resume nowhere", "nowhere is no run: there is no such folder"),
        ("--resume empty", "empty is no run: it holds no config.yaml"),
        ("--out my.py", "my.py is a file"),
        ("--out my.py/run", "my.py is a file"),
        ("--resume my.py", "my.py is no run: it is a file"),
        ("--out one", "one is not empty"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(standin, recipe, tmp_path, arguments, words):
    (tmp_path / "empty").mkdir()
    (tmp_path / "one" / "cat").mkdir(parents=True)
    for i in range(8):
        Image.new("RGB", (8, 8), (i, 0, 0)).save(tmp_path / "one" / "cat" / f"{i}.png")
    for name in ("cat", "dog"):
        (tmp_path / "broken" / name).mkdir(parents=True)
        for i in range(8):
            (tmp_path / "broken" / name / f"{i}.png").write_bytes(b"no picture")
    (tmp_path / "my.py").write_text("def f(choose): ...\n")
    (tmp_path / "bad.py").write_text("1 / 0\n")
    (tmp_path / "bad.yaml").write_text("sead: 1\n")
    (tmp_path / "worse.yaml").write_text("search: {epoch: 1}\n")
    (tmp_path / "wrong.yaml").write_text("search: {epochs: many}\n")
    (tmp_path / "wrong2.yaml").write_text("seeds: x\n")
    ended = standin("run", *arguments.split(), "--quiet", *(() if "--threads" in arguments else ("--threads", 1)))
    assert ended.code == 2
    assert words in ended.line
    assert not (tmp_path / "runs").exists()
    assert recipe.calls == []


def test_a_mistake_found_by_the_recipe_leaves_no_folder(standin, recipe, tmp_path):
    recipe.fail, recipe.at = MISTAKE, 0
    ended = standin("run", "--out", "a", *SHORT)
    assert ended.code == 2
    assert ended.line == f"archipel: {MISTAKE}"
    assert not (tmp_path / "a").exists()


def test_work_that_was_done_is_kept(standin, recipe, tmp_path):
    recipe.fail = MISTAKE
    assert standin("run", "--out", "a", *SHORT).code == 2
    assert (tmp_path / "a" / "stages" / "one.json").is_file()


def test_ctrl_c_says_how_to_continue_and_resuming_gives_the_same(standin, recipe):
    whole = standin("run", "--out", "whole", *SHORT, "--json").json
    recipe.did.clear()
    recipe.fail = KeyboardInterrupt()
    ended = standin("run", "--out", "a b", *SHORT)
    assert ended.code == 130
    assert ended.line == "archipel: stopped; continue with 'archipel run --resume 'a b''"
    recipe.fail = None
    resumed = standin("run", "--resume", "a b", "--json", "--quiet")
    assert recipe.did == ["one", "two", "three"]
    assert resumed.json["points"] == whole["points"]
    assert [event["event"] for event in RunFolder.open("a b", write=False).events()].count("resumed") == 1


def test_a_full_disk_is_code_1(standin, recipe):
    recipe.fail = FULL
    ended = standin("run", "--out", "a", *SHORT)
    assert ended.code == 1
    assert ended.line == f"archipel: {FULL}; then continue with 'archipel run --resume a'"


def test_resuming_keeps_the_settings(standin, recipe):
    recipe.fail = KeyboardInterrupt()
    standin("run", "--out", "a", "--search.epochs", 3, *SHORT)
    recipe.fail = None
    for arguments, words in [
        (("--search.epochs", 4), "--search.epochs 4 contradicts a, which has 3"),
        (("--seeds", 5), "--seeds 5 contradicts a, which has 3"),
        (("--target-ms", 5), "--target-ms 5.0 contradicts a, which has None"),
        (("--out", "b"), "--resume takes everything from a; leave out --out"),
        (("--config", "b"), "leave out --config"),
    ]:
        ended = standin("run", "--resume", "a", *arguments)
        assert ended.code == 2
        assert words in ended.line
    ended = standin("run", "--resume", "a", "--search.epochs", 3, "--data", "digits", "--quiet")
    assert ended.code == 0
    assert recipe.calls[-1].settings.search.epochs == 3


def test_a_finished_run_can_be_resumed_and_shown(standin, recipe):
    first = standin("run", "--out", "a", *SHORT)
    again = standin("run", "--resume", "a", "--quiet")
    shown = standin("show", "a")
    assert again.out == first.out
    assert first.out.splitlines()[0] in shown.out
    assert "stages done  one, two, three" in shown.out
    assert standin("show", "a", "--json").json["finished"] is True
    assert recipe.did == ["one", "two", "three"]


def test_an_unfinished_run_says_how_to_continue(standin, recipe):
    recipe.fail = KeyboardInterrupt()
    standin("run", "--out", "a", *SHORT)
    assert "continue with 'archipel run --resume a'" in standin("show", "a").out
    assert standin("show", "a", "--json").json["resume"] == "archipel run --resume a"
    assert standin("show", "a", "--size", 8).code == 2


def test_two_processes_never_run_one_folder(standin, recipe):
    recipe.fail = KeyboardInterrupt()
    standin("run", "--out", "a", *SHORT)
    with RunFolder.open("a"):
        ended = standin("run", "--resume", "a")
    assert ended.code == 2
    assert "in use by another archipel" in ended.line


def test_an_existing_run_is_not_overwritten(standin):
    standin("run", "--out", "a", *SHORT)
    before = Path("a/result.json").read_bytes()
    ended = standin("run", "--out", "a", *SHORT)
    assert ended.code == 2
    assert "already holds a run" in ended.line
    assert Path("a/result.json").read_bytes() == before


def test_a_relative_folder_of_data_is_found_from_elsewhere(standin, recipe, tmp_path, monkeypatch):
    for name in ("cat", "dog"):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for i in range(12):
            Image.new("RGB", (8, 8), (20 * i, 0 if name == "cat" else 90, 0)).save(
                tmp_path / "pets" / name / f"{i}.png"
            )
    (tmp_path / "my.py").write_text("import torch\ndef net(choose, classes=2):\n    return torch.nn.Identity()\n")
    ended = standin("run", "--data", "pets", "--space", "my.py:net", "--out", "a", *SHORT)
    assert ended.code == 0, ended.err
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert standin("run", "--resume", tmp_path / "a", "--quiet").code == 0
    assert recipe.calls[1].space.__name__ == "net"


def test_an_eval_of_a_search_says_what_it_is(standin):
    standin("run", "--out", "a", *SHORT)
    assert "a holds no network that stands alone" in standin("eval", "a").line


def test_a_groups_own_name_is_its_first_setting(monkeypatch):
    """`--baselines all` beside `--baselines.NAME`."""
    seen = []

    def noting(recipe, asked, options, **_):  # noqa: ARG001
        seen.append(options)
        raise OptionError("enough")

    monkeypatch.setattr(recipe_command, "start", noting)
    for words in (["--baselines", "all", "--baselines.pool", "3"], ["--baselines=all", "--baselines.pool", "3"]):
        assert main(["run", *words]) == 2
    assert seen == [{"baselines": {"which": "all", "pool": 3}}] * 2

"""The table of nets: its figures are those of the nets, its accuracies have an origin."""

import json
import re
import shlex
import subprocess
import sys
from dataclasses import replace

import pytest
import tiny
import torch
from hydra.utils import instantiate

from aed.base.errors import AedError
from aed.dsp import PRESETS
from aed.run import models

pytestmark = pytest.mark.usefixtures("processes")


@pytest.fixture(scope="module")
def table() -> dict[str, models.Row]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    made = {row.name: row for row in models.rows()}
    torch.set_num_threads(threads)
    return made


def test_every_shipped_net_has_a_row(table):
    families = {re.match(r"\w+", name)[0] for name in table}
    assert families == {"YAMNet", "MobileNetAS", "MiniResNet", "DSCNN", "BCResNet"}
    assert len(table) == 4 + 4 + 2 * 3 * 2 + 2
    assert {row.recipe for row in table.values() if row.recipe} == set(json.loads(models.MEASURED.read_text()))


def test_figures_are_those_of_the_nets(table):
    for entry in models.catalogue():
        row, net = table[entry.name], entry.net()
        assert row.parameters == sum(part.numel() for part in net.parameters())
        assert row.input == (PRESETS[entry.frontend].n_mels, PRESETS[entry.frontend].patch_frames)
        assert row.streamable is PRESETS[entry.frontend].streamable
        assert row.weights_bytes > 0 and row.activations_bytes > 0


def test_known_figures(table):
    yamnet = table["YAMNet-256 (st)"]
    assert round(yamnet.macc / 1e6, 1) == 23.9 and round(yamnet.weights_bytes / 1024, 1) == 135.9
    assert yamnet.licence == "Apache-2.0" and yamnet.streamable and yamnet.planned
    assert round(table["YAMNet-1024 (google)"].macc / 1e6) == 69
    assert not table["MiniResNet v1, stacks: 2, pooling: none"].streamable
    assert table["MiniResNet v2, stacks: 3, pooling: avg"].weights is None
    assert table["DSCNN"].planned and table["DSCNN"].weights is None


@pytest.mark.parametrize("entry", list(models.catalogue()), ids=lambda entry: entry.name)
def test_a_recipe_makes_the_net_of_its_row(entry):
    if entry.recipe is None:
        pytest.skip("no recipe: no weights are published")
    composed = tiny.composed(*f"experiment={entry.recipe}".split())
    ours, theirs = entry.net(), instantiate(composed.model.net, num_classes=models.NUM_CLASSES, _convert_="all")
    assert type(ours) is type(theirs)
    assert [part.shape for part in ours.parameters()] == [part.shape for part in theirs.parameters()]
    assert composed.model.pretrained is (entry.weights is not None)
    if entry.weights:
        entry.weights.check_frontend(instantiate(composed.frontend))


def test_accuracies_come_with_the_command_that_printed_them(table):
    for recipe, measured in json.loads(models.MEASURED.read_text()).items():
        assert set(measured) == {"float", "int8", "command"}, recipe
        known = [value is not None for value in measured.values()]
        assert all(known) or not any(known), recipe
        if measured["command"]:
            words = shlex.split(measured["command"])
            assert words[:2] == ["aed", "train"]
            assert {f"experiment={recipe}".split()[0], *recipe.split()[1:]} <= set(words), recipe
            assert 0 < measured["float"] <= 100 and 0 < measured["int8"] <= 100
    assert table["YAMNet-256 (st)"].float_acc == json.loads(models.MEASURED.read_text())["esc10_yamnet"]["float"]


def test_a_measurement_of_nothing_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(models, "MEASURED", tmp_path / "measured.json")
    with pytest.raises(AedError, match="is missing"):
        models.rows()
    models.MEASURED.write_text(json.dumps({"esc10_nothing": {}}))
    with pytest.raises(AedError, match="esc10_nothing"):
        models.rows()


def test_both_forms_are_printed(table, capsys, monkeypatch):
    without_c = replace(table["BCResNet"], name="a net without C", planned=False)
    monkeypatch.setattr(models, "rows", lambda: [*table.values(), without_c])
    models.show()
    shown = capsys.readouterr().out
    assert "YAMNet-256 (st)" in shown and "95." in shown and "33.8 " in shown and "33.8*" in shown
    models.show(format="json")
    listed = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in listed] == [*table, without_c.name]
    with pytest.raises(AedError, match=r"format: need one of .*yaml"):
        models.show(format="yaml")


def test_the_command_needs_no_file_of_weights(tmp_path):
    command = [sys.executable, "-m", "aed.models", "format=json"]
    environment = {
        "PATH": "/usr/bin:/bin",
        "AED_PRETRAINED_DIR": str(tmp_path / "nothing"),
        "HOME": str(tmp_path / "home"),
    }
    (tmp_path / "here").mkdir()
    done = subprocess.run(command, cwd=tmp_path / "here", env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)) == 22
    assert not list((tmp_path / "here").iterdir()), "leaves nothing behind"

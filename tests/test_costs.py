"""One command, several targets, one table; no credential in anything that is left."""

import json
import os
import shutil
import stat
import sys
from pathlib import Path

import fake_cloud
import fake_stedgeai
import nets
import pytest

from aed.base.errors import AedError
from aed.export.card import ModelCard
from aed.export.graph import save_model
from aed.export.onnx import ExportConfig, to_onnx
from aed.export.quantize import QuantizeConfig, quantize
from aed.run.benchmark import BenchmarkConfig, measure
from aed.target.emulator.settings import EmulatorSettings
from aed.target.stedgeai.settings import StEdgeAiSettings

pytestmark = [
    pytest.mark.usefixtures("compiles"),
    pytest.mark.skipif(os.name == "nt", reason="the double of stedgeai starts by its first line"),
]


@pytest.fixture
def tool(tmp_path, monkeypatch) -> Path:
    path = tmp_path / "tools" / "stedgeai"
    path.parent.mkdir()
    path.write_text(f"#!{sys.executable}\n{Path(fake_stedgeai.__file__).read_text()}")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("FAKE_STEDGEAI_VERSION", "4.0")
    monkeypatch.setenv("FAKE_STEDGEAI_MODE", "ok")
    monkeypatch.setenv("FAKE_STEDGEAI_CACHE", str(tmp_path))
    return path


@pytest.fixture
def model(tmp_path) -> Path:
    graph = to_onnx(nets.make("awkward"), nets.FRONTEND, ExportConfig())
    int8 = quantize(graph, nets.patches(16, seed=1).numpy(), QuantizeConfig())
    save_model(tmp_path / "m.onnx", int8, ModelCard(frontend=nets.FRONTEND, class_names=tuple("abcd")))
    return tmp_path / "m.onnx"


def test_three_targets_in_one_run(tool, model, tmp_path, monkeypatch, capsys):
    if shutil.which("arm-none-eabi-gcc") is None or shutil.which("qemu-system-arm") is None:
        pytest.skip("apt-get install gcc-arm-none-eabi libnewlib-arm-none-eabi qemu-system-arm")
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with fake_cloud.serve() as service:
        for name, value in service.environment(STEDGEAI_CLOUD_TOKEN=fake_cloud.TOKEN).items():
            monkeypatch.setenv(name, value)
        config = BenchmarkConfig(
            target="stedgeai,cloud,emulator",
            board="b-u585i-iot02a",
            stedgeai=StEdgeAiSettings(tool=str(tool)),
            emulator=EmulatorSettings(inputs=1),
        )
        reports = measure(model, tmp_path / "out", config)
    assert [report.target for report in reports] == ["stedgeai", "cloud", "emulator"]
    sources = {}
    for report in reports:
        path = tmp_path / "out/target" / report.target / report.board / "report.json"
        content = json.loads(path.read_text())
        sources[report.target] = {content[key]["source"] for key in ("flash_bytes", "ram_bytes") if content[key]}
    assert sources == {"stedgeai": {"vendor"}, "cloud": {"vendor"}, "emulator": {"emulated"}}
    assert reports[1].net.figures["inference_ms"].source == "measured"
    assert reports[2].board == "mps2-an505", "the emulated board with the same core"
    said = capsys.readouterr().out
    for word in ("stedgeai", "cloud", "emulator", "vendor", "measured", "emulated"):
        assert word in said
    left = [path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert left and not any(fake_cloud.TOKEN.encode() in text for text in left) and fake_cloud.TOKEN not in said


def test_a_tool_that_hangs_leaves_the_other_targets_result(tool, model, tmp_path, monkeypatch, capsys):
    if shutil.which("arm-none-eabi-gcc") is None or shutil.which("qemu-system-arm") is None:
        pytest.skip("apt-get install gcc-arm-none-eabi libnewlib-arm-none-eabi qemu-system-arm")
    monkeypatch.setenv("FAKE_STEDGEAI_MODE", "hang")
    monkeypatch.setenv("FAKE_STEDGEAI_PID", str(tmp_path / "pid"))
    config = BenchmarkConfig(
        target="stedgeai,emulator",
        board="b-u585i-iot02a",
        stedgeai=StEdgeAiSettings(tool=str(tool), timeout_s=5),
        emulator=EmulatorSettings(inputs=1),
    )
    with pytest.raises(AedError, match=r"(?s)stedgeai: .*5 s"):
        measure(model, tmp_path / "out", config)
    assert (tmp_path / "out/target/emulator/mps2-an505/report.json").is_file()
    assert not (tmp_path / "out/target/stedgeai/b-u585i-iot02a/report.json").exists()
    assert "emulator" in capsys.readouterr().out

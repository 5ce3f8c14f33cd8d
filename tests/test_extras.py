"""Packages of extras: each is missed in one line that says what to type, and nothing else needs it."""

import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

from aed.base.extras import EXTRAS

pytestmark = pytest.mark.usefixtures("processes")

PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"

START = """
import sys
from importlib.metadata import Distribution, PackageNotFoundError

hidden = {*sys.argv[1].split(","), "librosa"}
for name in hidden:
    sys.modules[name] = None
known = Distribution.from_name

def from_name(name):
    if name in hidden:
        raise PackageNotFoundError(name)
    return known(name)

Distribution.from_name = from_name
sys.argv = sys.argv[2:]
"""
"""Begins a process in which packages are not installed; its arguments: their names, then a command line.

librosa is a tool of the tests; where it is installed, torchmetrics imports requests (which comes with librosa).
"""

VERB = START + "import runpy; runpy.run_module(sys.argv[0], run_name='__main__', alter_sys=True)"


def without(missing: str, code: str, *arguments: str, folder: Path) -> tuple[int, str]:
    """Exit code and output of a fresh process without some packages."""
    command = [sys.executable, "-c", code, missing, *map(str, arguments)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=300)
    return done.returncode, done.stdout + done.stderr


def test_the_extras_install_what_the_messages_say():
    project = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]
    optional = project["optional-dependencies"]
    for package, extra in EXTRAS.items():
        names = (f"{package}>=", f"{package}-learn>=")  # umap is of umap-learn
        assert any(line.startswith(names) for line in optional[extra]), package
        assert not any(line.startswith(f"{package}>") for line in project["dependencies"]), package


READING = """
from pathlib import Path
from aed.base.errors import AedError
from aed.modules.nets import MiniResNet, YAMNet
from aed.modules.weights.keras import KerasModel
from aed.modules.weights.published import read_keras_h5
from aed.modules.weights.tflite import read_tflite

file = Path(sys.argv[1])
for read in (
    lambda: read_keras_h5(file),
    lambda: KerasModel.read(file),
    lambda: read_tflite(file),
    MiniResNet(3).load_pretrained,
    YAMNet(3).load_pretrained,
    YAMNet(3, weights="google").load_pretrained,
):
    try:
        read()
    except AedError as error:
        print(error)
"""


def test_files_of_models_name_the_extra_that_reads_them(tmp_path):
    file = tmp_path / "weights.bin"
    file.write_bytes(b"x" * 100)
    code, output = without("h5py,tflite", START + READING, "aed", str(file), folder=tmp_path)
    assert code == 0, output
    keras, tflite = "needs h5py: pip install 'aed[keras]'", "needs tflite: pip install 'aed[tflite]'"
    lines = output.splitlines()
    assert lines[:3] == [f"{file} {keras}", f"{file} {keras}", f"{file} {tflite}"]
    # told before anything is downloaded
    assert [line.partition(" (published weights) ")[2] for line in lines[3:]] == [keras, keras, tflite]


def test_the_cloud_names_its_extra(tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"x")
    arguments = ["aed.benchmark", "model=model.onnx", "target=cloud", "board=stm32h747i-disco"]
    code, output = without("requests", VERB, *arguments, folder=tmp_path)
    assert code == 1 and "target=cloud needs requests: pip install 'aed[cloud]'" in output, output
    assert "Traceback" not in output


@pytest.mark.parametrize(("package", "logger"), [("mlflow", "mlflow"), ("tensorboard,tensorboardX", "tensorboard")])
def test_a_logger_that_is_asked_for_alone_names_its_extra(tmp_path, package, logger):
    arguments = ["aed.train", "experiment=demo", f"logger={logger}"]
    code, output = without(package, VERB, *arguments, folder=tmp_path)
    assert code == 1 and f"logger={logger} needs {logger}: pip install 'aed[train]'" in output, output
    assert "Traceback" not in output and not list(tmp_path.rglob("metrics.csv"))


def test_training_without_extras_logs_to_csv_and_says_so_once(tmp_path):
    arguments = ["aed.train", "experiment=demo", "trainer.max_epochs=1", "data.clips.class_names=[alarm,hum]"]
    arguments += ["data.clips.sources_per_class=5", "data.clips.takes_per_source=1", "stages=[fit]"]
    arguments += [f"hydra.run.dir={tmp_path}/run"]
    code, output = without(f"{','.join(EXTRAS)},tensorboardX", VERB, *arguments, folder=tmp_path)
    assert code == 0, output
    said = "logger: metrics go to csv alone; not installed: tensorboard, mlflow (pip install 'aed[train]'; logger=csv"
    assert output.count(said) == 1, output
    assert (tmp_path / "run/metrics.csv").is_file() and not (tmp_path / "mlruns.db").exists()
    code, output = without(f"{','.join(EXTRAS)},tensorboardX", VERB, *arguments, "logger=csv", folder=tmp_path)
    assert code == 0 and "not installed" not in output, output


def test_names_and_numbers_in_the_reader_are_those_of_the_format():
    tflite = pytest.importorskip("tflite")
    from aed.export.tflite import assembly, operators, windows
    from aed.modules.weights import tflite as weights
    from aed.modules.weights import tflite_file as reader

    kinds = {name for name in vars(tflite.BuiltinOperator) if name.isupper()}
    assert {*reader._OPTIONS, *weights.WEIGHTED, *operators.OPERATORS} <= kinds
    for table, fields in reader._OPTIONS.values():
        assert all(hasattr(getattr(tflite, table), field) for field in fields), table
    sizes = {"FLOAT32": 4, "FLOAT16": 2, "INT8": 1, "UINT8": 1, "INT32": 4, "INT64": 8}
    assert {name: np.dtype(kind).itemsize for name, kind in reader._DTYPES.items()} == sizes
    assert set(sizes) <= set(vars(tflite.TensorType))
    fused = tflite.ActivationFunctionType
    assert assembly._ACTIVATIONS == {fused.NONE: [], fused.RELU: [0.0], fused.RELU6: [0.0, 6.0]}
    assert (windows._SAME, windows._VALID) == (tflite.Padding.SAME, tflite.Padding.VALID)

"""Logits or probabilities; numbers or NaN: what a model gives is looked at before it is believed."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import nets
import numpy as np
import onnx
import pytest
import soundfile as sf
import tiny
import torch
from onnx import numpy_helper
from test_export_classifier import CARD, foreign, saved
from test_pipeline import SMALL
from torch import Tensor, nn

from aed.base.errors import AedError
from aed.datamodules import PatchDataModule, Synthetic
from aed.export.onnx import ExportConfig, to_onnx
from aed.inference.opening import open_classifier
from aed.modules.nets import DSCNN, BCResNet, MiniResNet, MobileNetAS, YAMNet
from aed.modules.outputs import form_of, forms, trial_patches
from aed.run import pipeline
from aed.run.check_net import _check_form
from aed.run.evaluate import EvaluateConfig, evaluate_file
from aed.run.predict import predict_files as predict

PATCHES = trial_patches(2, 16, 32, -9.2)
ENDS: dict[str, tuple[Callable[[Tensor], Tensor], str | None]] = {
    "softmax": (partial(torch.softmax, dim=1), "softmax"),
    "by_hand": (lambda x: x.exp() / x.exp().sum(dim=1, keepdim=True), "softmax"),
    "sigmoid": (torch.sigmoid, "sigmoid"),
    "hardsigmoid": (nn.functional.hardsigmoid, "sigmoid"),
    "log_softmax": (partial(torch.log_softmax, dim=1), "log"),
    "logsigmoid": (nn.functional.logsigmoid, "log"),
    "relu": (torch.relu, None),
    "tanh": (torch.tanh, None),
    "cosine": (partial(nn.functional.normalize, dim=1), None),
    "none": (lambda x: x, None),
}


class Ending(nn.Module):
    """A user's net with an end that a test chooses; late: in evaluation alone."""

    def __init__(self, num_classes: int, end: str = "none", late: bool = False) -> None:
        super().__init__()
        self.num_classes, self.end, self.late = num_classes, end, late
        self.net = tiny.TinyNet(num_classes)

    def forward(self, patches: Tensor) -> Tensor:
        logits = self.net(patches)
        return logits if self.late and self.training else ENDS[self.end][0](logits)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("num_classes", [2, 3, 10])
@pytest.mark.parametrize("end", ENDS)
def test_the_function_a_net_ends_in_is_known(end: str, num_classes: int, training: bool) -> None:
    torch.manual_seed(0)
    net = Ending(num_classes, end).train(training)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    assert form_of(net, PATCHES) == ENDS[end][1]
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


@pytest.mark.parametrize("seed", range(40))
def test_no_net_of_one_output_is_taken_for_a_sigmoid_by_chance(seed: int) -> None:
    torch.manual_seed(seed)
    net = tiny.TinyNet(1)
    nn.init.constant_(net.head[1].bias, 0.5)
    nn.init.normal_(net.head[1].weight, std=0.01)
    assert "sigmoid" in forms(net.eval()(PATCHES)), "its outputs lie in [0, 1] as it is"
    assert form_of(net.train(seed % 2 == 0), PATCHES) is None


@pytest.mark.parametrize("net", [YAMNet, DSCNN, BCResNet, MiniResNet, MobileNetAS])
def test_our_nets_give_logits(net: type[nn.Module]) -> None:
    patches = trial_patches(2, 64, 50 if net is MiniResNet else 96, -9.2)
    for training in (True, False):
        assert form_of(net(2).train(training), patches) is None


def fit(tmp_path: Path, *overrides: str) -> None:
    changes = ["model/net=user", "model.net._target_=test_outputs.Ending", "trainer.max_epochs=1", "stages=[fit]"]
    pipeline.run(tiny.composed(*SMALL, *changes, *overrides, folder=tmp_path), tmp_path)


@pytest.mark.usefixtures("trains")
@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["end=softmax"], r"sums to 1, .*softmax to them once more.*outputs_are_logits=true"),
        (["end=softmax", "late=true"], "does not output logits in evaluation"),
        (["end=sigmoid"], r"outputs lie in \[0, 1\], as those of a sigmoid"),
        (["end=sigmoid", "data.multi_label=true"], "apply a sigmoid to them once more"),
        (["end=log_softmax", "data.multi_label=true"], "none of its outputs is over 0"),
    ],
)
def test_a_net_of_probabilities_is_not_trained(tmp_path: Path, overrides: list[str], message: str) -> None:
    own = [item if "." in item else f"model.net.{item}" for item in overrides]
    with pytest.raises(AedError, match=message):
        fit(tmp_path, *own)
    assert not list(tmp_path.glob("checkpoints/*"))


@pytest.mark.usefixtures("trains")
@pytest.mark.parametrize(
    "overrides", [["model.net.end=softmax", "model.outputs_are_logits=true"], ["model.net.end=log_softmax"]]
)
def test_it_is_trained_where_the_user_says_so_or_where_it_is_harmless(tmp_path: Path, overrides: list[str]) -> None:
    fit(tmp_path, *overrides)
    assert (tmp_path / "checkpoints/last.ckpt").is_file()


class Undefined(nn.Module):
    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.num_classes, self.net = num_classes, tiny.TinyNet(num_classes)

    def forward(self, patches: Tensor) -> Tensor:
        return self.net(patches.log())


def test_a_net_that_gives_nan_for_usual_patches_is_refused() -> None:
    with pytest.raises(AedError, match=r"Undefined gives NaN or infinity for two patches .* in training"):
        _check_form(Undefined(3), tiny.FRONTEND, 3)


# --- models of others ---------------------------------------------------------------------------------------------


def ending(operators: list[str], classes: int = 3) -> onnx.ModelProto:
    """A user's model that ends in operators of one input."""
    model = foreign(False, False)
    name = "y"
    for number, operator in enumerate(operators):
        model.graph.node.append(onnx.helper.make_node(operator, [name], [f"y{number}"]))
        name = f"y{number}"
    model.graph.output[0].name = name
    return model


@pytest.mark.parametrize(
    ("operators", "outputs", "said"),
    [
        ([], "logits", "not all in"),
        (["Softmax"], "probabilities", "it ends in Softmax"),
        (["Sigmoid", "Flatten"], "probabilities", "it ends in Sigmoid"),
        (["Sigmoid", "Sqrt"], "probabilities", "trial patches are all in"),
        (["LogSoftmax"], "logits", "not all in"),
        (["Softmax", "Log", "Exp"], "probabilities", "trial patches are all in"),
    ],
)
def test_what_a_foreign_model_gives_is_tried_and_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, operators: list[str], outputs: str, said: str
) -> None:
    caplog.set_level("INFO")
    path = saved(tmp_path, ending(operators), None)
    assert open_classifier(path, nets.FRONTEND).card.outputs == outputs
    assert f"treated as {outputs}" in caplog.text and said in caplog.text
    other = "logits" if outputs == "probabilities" else "probabilities"
    assert open_classifier(path, nets.FRONTEND, outputs=other).card.outputs == other


def test_a_models_card_says_what_it_gives(tmp_path: Path) -> None:
    path = saved(tmp_path, to_onnx(nets.make("awkward"), nets.FRONTEND, ExportConfig()))
    with pytest.raises(AedError, match="its model card says its outputs are logits; leave outputs= out"):
        open_classifier(path, outputs="probabilities")


def test_a_foreign_model_with_one_output_is_a_detector(tmp_path: Path) -> None:
    net = Ending(1, "sigmoid").eval()
    torch.onnx.export(net, (nets.patches(1),), tmp_path / "m.onnx", dynamo=False)
    card = open_classifier(tmp_path / "m.onnx", nets.FRONTEND).card
    assert card.task == "multi_label" and card.outputs == "probabilities"


# --- NaN ----------------------------------------------------------------------------------------------------------


def broken(model: onnx.ModelProto, value: float) -> onnx.ModelProto:
    """The model with one weight of its convolutions replaced."""
    item = next(item for item in model.graph.initializer if "weight" in item.name and len(item.dims) == 4)
    array = numpy_helper.to_array(item).copy()
    array.flat[3] = value
    item.CopyFrom(numpy_helper.from_array(array, item.name))
    return model


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("card", [CARD, None])
def test_weights_that_are_no_numbers_are_refused(tmp_path: Path, value: float, card: object) -> None:
    path = saved(tmp_path, broken(to_onnx(nets.make("awkward"), nets.FRONTEND, ExportConfig()), value), card)
    with pytest.raises(AedError, match=rf"{path}: 1 of the \d+ values of .* are (NaN|infinite)"):
        open_classifier(path, None if card else nets.FRONTEND)


def test_an_infinite_bound_is_none_of_them(tmp_path: Path) -> None:
    model = to_onnx(nets.make("awkward"), nets.FRONTEND, ExportConfig())
    item = next(item for item in model.graph.initializer if not item.dims)
    item.CopyFrom(numpy_helper.from_array(np.array(np.inf, np.float32), item.name))
    assert np.isfinite(open_classifier(saved(tmp_path, model)).outputs(nets.patches(2).numpy())).all()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_checkpoints_too(tmp_path: Path, value: float) -> None:
    model, data = tiny.classifier(), tiny.data()
    trainer = tiny.trainer(tmp_path, 1)
    trainer.fit(model, data)
    with torch.no_grad():
        model.net.head[1].weight[0, 0] = value
    trainer.save_checkpoint(tmp_path / "x.ckpt")
    wrong = r"1 of the 12 values of .*head\.1\.weight are NaN or infinite"
    with pytest.raises(AedError, match=wrong):
        open_classifier(tmp_path / "x.ckpt", net_class="tiny.TinyNet")
    with pytest.raises(AedError, match=wrong):
        tiny.trainer(tmp_path, 1).test(
            tiny.classifier(), tiny.data(), ckpt_path=str(tmp_path / "x.ckpt"), verbose=False
        )


def test_outputs_that_are_no_numbers_end_prediction_and_evaluation(tmp_path: Path) -> None:
    """Finite weights whose products are not."""
    model = to_onnx(nets.make("awkward"), nets.FRONTEND, ExportConfig())
    for item in model.graph.initializer:
        if len(item.dims) > 1:
            item.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(item) * np.float32(1e30), item.name))
    names = ["alarm", "hum", "rain", "siren"]
    path = saved(tmp_path, model, replace(CARD, class_names=tuple(names)))
    sf.write(tmp_path / "a.wav", 0.1 * np.random.default_rng(0).normal(size=32000), 16000)
    with pytest.raises(AedError, match="the model gives NaN, or infinite logits"):
        predict(str(path), [str(tmp_path / "a.wav")], output=str(tmp_path / "out.csv"))
    assert not (tmp_path / "out.csv").exists()
    clips = Synthetic(class_names=names, sources_per_class=5, takes_per_source=1)
    data = partial(PatchDataModule, clips=clips, cache_workers=1)
    with pytest.raises(AedError, match="the model gives NaN, or infinite logits"):
        evaluate_file(str(path), data, str(tmp_path / "e"), EvaluateConfig(split_by="data"))

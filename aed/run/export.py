"""The export stage: the checkpoint as an ONNX file that needs no training configuration."""

import logging

from hydra.utils import instantiate

from aed.export.card import ModelCard, library_versions
from aed.export.embedding import with_embedding
from aed.export.graph import graph_sha256, save_model
from aed.export.onnx import ExportConfig, difference_to_torch, to_onnx
from aed.inference.onnx import OnnxClassifier
from aed.modules.trained import Trained
from aed.run import decide
from aed.run.run_models import card_metrics, check_fits
from aed.run.split_scores import some_patches
from aed.run.state import FLOAT, SCORED, Run

log = logging.getLogger(__name__)

COMPARED_PATCHES = 64
"""Real patches on which the exported graph is compared with torch."""


def export(run: Run) -> None:
    """Writes ``model.onnx``, compared with torch on real patches, with its card.

    Raises:
        AedError: The checkpoint does not fit the configuration, or the outputs of the graph are not those of torch.
    """
    config: ExportConfig = instantiate(run.config.export, _convert_="all")
    trained = Trained.load(run.need_checkpoint("export"), run.net_class)
    check_fits(run, "the checkpoint", trained)
    if "test" not in (*run.done, *run.config.stages):  # scores in this folder are those of an earlier model
        run.drop_metrics(SCORED)
    if "fit" not in run.config.stages:  # else said before training
        for reason in trained.frontend.not_streamable:
            log.warning("frontend: %s; accuracies here will not be those of a device", reason)
    decision = decide.read(run, trained)
    temperature = decision.temperature
    model = to_onnx(trained.net, trained.frontend, config, temperature)
    if decision.nearness is not None:
        model = with_embedding(model)
    card = ModelCard(
        frontend=trained.frontend,
        class_names=trained.class_names,
        outputs="probabilities" if config.softmax else "logits",
        task=trained.task,
        decision=decision,
        data=trained.data,
        metrics=card_metrics(run),
        weights=trained.weights,
        versions=library_versions(),
        float_sha256=graph_sha256(model),
    )
    path = run.folder / FLOAT
    patches = some_patches(run.data.datasets["train"], COMPARED_PATCHES)
    outputs = OnnxClassifier(model, card, path).outputs(patches)[:, : len(card.class_names)]
    difference = difference_to_torch(outputs, trained.net, patches, temperature if config.softmax else None)
    save_model(path, model, card)
    log.info("%s: differs from torch by at most %.2g on %d patches", path, difference, len(patches))

"""A page that listens with a model, served on this machine, which saves sounds and thresholds."""

import json
import logging
import webbrowser
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from aed.base.errors import AedError
from aed.base.files import temporary_folder
from aed.base.zoo import folder_beside
from aed.export.graph import load_model, read_model_card
from aed.export.runtime import onnx_runtime_on
from aed.inference.detection import rule_of
from aed.run.page_server import PageServer
from aed.run.page_store import PageStore
from aed.run.rule_changes import RuleChanges
from aed.target.web.package import MARK, POLICY, write_page
from aed.target.web.settings import WebSettings

log = logging.getLogger(__name__)


def listen(
    model_file: str,
    folder: str | None = None,
    output: str | None = None,
    rule: RuleChanges = RuleChanges(),  # noqa: B008 - frozen
    web: WebSettings = WebSettings(),  # noqa: B008 - frozen
    port: int = 0,
    browser: bool = True,
) -> None:
    """Serves the page until it is interrupted.

    Args:
        model_file: int8 ``.onnx`` with a model card, or a shipped model: ``zoo/esc10_200k``.
        folder: For sounds that are marked or recorded, a folder for each class, as ``data=folder`` reads them; null:
            they are downloads.
        output: Copy of the model that gets the thresholds chosen on the page; null: ``<model>_rule.onnx`` beside it,
            of a shipped model in the working folder.
        rule: What differs from the card's event rule.
        web: How the C runs the net.
        port: Of the server; 0: any that is free.
        browser: Open the page in the browser; false: print its address alone.

    Raises:
        AedError: There is no compiler, the model has no C form, or a setting cannot be used.
    """
    with page_server(Path(model_file), folder, output, rule, web, port) as server:
        print(f"{server.url}  (Ctrl-C ends)", flush=True)
        if browser:
            webbrowser.open(server.url)
        with suppress(KeyboardInterrupt):
            server.serve_forever()


def page_server(
    model: Path,
    folder: str | None = None,
    output: str | None = None,
    rule: RuleChanges = RuleChanges(),  # noqa: B008 - frozen
    web: WebSettings = WebSettings(),  # noqa: B008 - frozen
    port: int = 0,
) -> PageServer:
    """The server of :func:`listen`, not yet serving.

    Raises:
        AedError: As :func:`listen`.
    """
    graph = load_model(model)
    card = read_model_card(graph, model)
    own = rule.apply(rule_of(card))
    copy = Path(output) if output else folder_beside(model) / f"{model.stem}_rule.onnx"
    if copy.suffix != ".onnx":
        raise AedError(f"output: need a file.onnx, got {copy}")
    store = PageStore(model, Path(folder) if folder else None, copy, own)
    with temporary_folder("aed_listen") as build, onnx_runtime_on(model):
        write_page(graph, replace(card, rule=own), build / "page", model.stem, web)
        files = {path.name: path.read_bytes() for path in (build / "page").iterdir()}
    files[MARK] = json.dumps(json.loads(files[MARK]) | {"server": store.facts()}).encode()
    return PageServer(files, POLICY, store, port)

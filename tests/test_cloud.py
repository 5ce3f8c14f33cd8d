import _thread
import datetime
import hashlib
import io
import ipaddress
import json
import logging
import os
import signal
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import onnx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from fake_cloud import (
    CODE,
    FRESH,
    INFO,
    OLD_GRAPH,
    OLD_REPORT,
    PASSWORD,
    REFRESH,
    SECRETS,
    STATES,
    TOKEN,
    USER,
    FakeCloud,
    FakeTime,
    Fault,
    always,
    cut,
    drip,
    drip_head,
    drop,
    serve,
    silent,
    status,
)
from tflite_files import separable

from aed.base.errors import AedError
from aed.target.boards import Board
from aed.target.cloud import wire
from aed.target.cloud.answer import read_answer
from aed.target.cloud.backend import Cloud
from aed.target.cloud.credentials import PAIRS, load_tokens
from aed.target.cloud.endpoints import Endpoints
from aed.target.cloud.errors import CloudError
from aed.target.cloud.secrets import Secrets

pytestmark = pytest.mark.usefixtures("computes")

BOARD = Board(
    name="b-u585i-iot02a", core="cortex-m33", ram_kib=786, flash_kib=2048, series="stm32u5", cloud_name="B-U585I-IOT02A"
)
N6 = Board(
    name="stm32n6570-dk", core="cortex-m55", ram_kib=4200, flash_kib=0, series="stm32n6", cloud_name="B-U585I-IOT02A",
    neural_art=True,
)  # fmt: skip
MODELS = "/api/file/files/models"
RUN = "GET /api/bench/benchmark/run-17"
START = "POST /api/bench/benchmark/b-u585i-iot02a"
BOARDS = "GET /api/bench/boards"


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeCloud]:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    with serve() as cloud:
        yield cloud


@pytest.fixture
def model(tmp_path: Path) -> Path:
    tensor = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 4]) for name in "xy"]
    graph = onnx.helper.make_graph([onnx.helper.make_node("Relu", ["x"], ["y"])], "net", tensor[:1], tensor[1:])
    made = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)])
    onnx.helper.set_model_props(made, {"aed_card": "clips/of_a_customer.wav"})
    path = tmp_path / "model.onnx"
    onnx.save(made, str(path))
    return path


@pytest.fixture
def clock() -> FakeTime:
    return FakeTime()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "target" / "cloud"


@pytest.fixture(autouse=True)
def no_secrets(caplog: pytest.LogCaptureFixture, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Iterator[None]:
    """No test leaves a credential in a log, on the terminal or in a file, but for the token file."""
    caplog.set_level(logging.DEBUG)
    yield
    shown = "".join(capfd.readouterr()) + "".join(record.getMessage() for record in caplog.get_records("call"))
    files = [
        path.read_text(errors="replace") for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".tokens"
    ]
    for text in (shown, *files):
        assert not [secret for secret in SECRETS if secret in text]


def make(service: FakeCloud, clock: FakeTime, *, account: bool = False, **more: Any) -> Cloud:
    given = {"STEDGEAI_CLOUD_USER": USER, "STEDGEAI_CLOUD_PASSWORD": PASSWORD}
    environment = service.environment(**(given if account else {"STEDGEAI_CLOUD_TOKEN": TOKEN}))
    more = {"environment": environment, "request_s": 5.0} | more
    return Cloud(clock=clock.clock, sleep=clock.sleep, **more)


def boards(cloud: Cloud) -> dict[str, dict[str, Any]]:
    """One request with a token: the boards of the farm."""
    return cloud.service.boards(cloud.service.wire.limit(cloud.timeout_s))


def chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def refused(call: Callable[[], object]) -> CloudError:
    """The error that is raised, once it is sure that neither it nor what it came from holds a credential."""
    with pytest.raises(CloudError) as caught:
        call()
    for error in chain(caught.value):
        for text in (str(error), repr(error), repr(error.args)):
            assert not [secret for secret in SECRETS if secret in text]
    return caught.value


def clean(service: FakeCloud) -> bool:
    """Whether nothing that was uploaded is left, and each upload was deleted once the end had come."""
    return not service.models and len(set(service.deleted)) == 1


# What a run gives.


def test_benchmark_reports_the_tools_sizes_and_the_boards_time(
    service: FakeCloud, clock: FakeTime, model: Path, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cloud = make(service, clock)
    report = cloud.benchmark(model, BOARD, folder).content()
    vendor = {
        "weights_bytes": 39904,
        "activations_bytes": 10144,
        "flash_bytes": 45650,
        "ram_bytes": 10432,
        "macc": 52420,
    }
    for key, value in vendor.items():
        assert report[key] == {"value": value, "source": "vendor"}
    assert report["cycles"] == {"value": 989572, "source": "measured"}
    assert report["inference_ms"] == {"value": 6.185, "source": "measured"}
    assert report["accuracy"] is report["cos"] is report["instructions"] is None
    assert report["tools"] == {
        "ST Edge AI Core": "4.0.1-20581 7ed50de05",
        "ST Edge AI Developer Cloud": "4.0.1",
    }
    assert report["details"]["run"] == "run-17"
    assert report["details"]["ram_in_use_bytes"] == {"internal": 10144, "external": 77}
    assert report["details"]["agreement_on_random_inputs"] == [{"rmse": 0.01, "cos": 0.999, "desc": "X-cross #1"}]
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    lines = [record.getMessage() for record in caplog.records if record.levelno == logging.INFO]
    assert [line for line in lines if line.endswith(" %")] == [f"Developer Cloud: {state}, 38 %" for state in STATES]
    assert clean(service) and clock.slept == [2.0] * (len(STATES) - 1)
    asked = {"model": service.deleted[0], "optimization": "balanced", "version": "4.0.1"}
    assert service.started == [("b-u585i-iot02a", asked)]
    assert json.loads((folder / "network_c_info.json").read_text()) == INFO
    assert repr(cloud) == "Cloud(version=None, optimization='balanced', timeout_s=900)"


def test_uploaded_model_has_a_name_of_its_own_and_no_metadata(
    service: FakeCloud, clock: FakeTime, model: Path, folder: Path
) -> None:
    for _ in range(2):
        make(service, clock).benchmark(model, BOARD, folder)
        service.states = list(STATES)
    assert len(set(service.deleted)) == 2 and not service.models
    assert b"customer" in model.read_bytes() and b"customer" not in service.uploaded[0]
    assert onnx.load_from_string(service.uploaded[0]).graph == onnx.load(str(model)).graph


@pytest.mark.parametrize("name", ["net.tflite", "net.keras", "Net.H5"])
def test_files_of_other_tools_go_up_as_they_are(
    service: FakeCloud, clock: FakeTime, tmp_path: Path, folder: Path, name: str
) -> None:
    path = tmp_path / name
    separable().save(path)
    cloud = make(service, clock)
    for report in (cloud.benchmark(path, BOARD, folder), cloud.analyze(path, BOARD, folder)):
        assert report.details["file_sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert service.uploaded == [path.read_bytes()] * 2 and not service.models
    assert all(name.endswith(path.suffix.lower()) for name in service.deleted) and len(service.deleted) == 2
    path.unlink()
    with pytest.raises(AedError, match="no such model"):
        cloud.benchmark(path, BOARD, folder)


def test_older_service_takes_options_as_text_and_gives_older_reports(
    service: FakeCloud, clock: FakeTime, model: Path, folder: Path
) -> None:
    service.stringified, service.answer = True, {"report": OLD_REPORT, "graph": OLD_GRAPH, "info": None}
    report = make(service, clock).benchmark(model, BOARD, folder)
    assert json.loads(service.started[0][1]["args"]) == {"optimization": "balanced", "version": "4.0.1"}
    assert report.net.figures["macc"].value == 52420 and report.net.figures["inference_ms"].value == 6.185
    assert report.net.figures["library_flash_bytes"].value == 5746
    assert report.tools["ST Edge AI Core"] == "8.1.0-19520"
    assert report.details["ram_in_use_bytes"] == {"external": 5}


def test_neural_art_has_options_of_its_own(service: FakeCloud, clock: FakeTime, model: Path, folder: Path) -> None:
    make(service, clock, optimization="ram").benchmark(model, N6, folder)
    asked = service.started[0][1]
    assert asked["stNeuralArt"] == "default" and asked["target"] == "stm32n6" and asked["optimization"] == "ram"
    assert asked["atonnOptions"] == {"enable-epoch-controller": True}


def test_words_like_a_token_do_not_hide_figures(service: FakeCloud, clock: FakeTime, model: Path, folder: Path) -> None:
    service.token = "weights"
    cloud = make(service, clock, environment=service.environment(STEDGEAI_CLOUD_TOKEN="weights"))
    assert cloud.benchmark(model, BOARD, folder).net.figures["weights_bytes"].value == 39904
    assert "weights" not in (folder / "network_c_info.json").read_text()


@pytest.mark.parametrize(
    ("where", "fault", "kind"),
    [
        ("POST /api/stm32ai/analyze", status(400, {"error": "E010"}), "model"),
        ("POST /api/stm32ai/analyze", always(drop), "network"),
        ("GET /api/stm32ai/run/99", status(200, {"state": "error", "result": {"message": "E010"}}), "model"),
        ("GET /api/stm32ai/run/99", status(200, {"state": "x", "result": {"report": {"error": 1}}}), "service"),
    ],
)
def test_fault_of_an_analysis(
    service: FakeCloud, clock: FakeTime, model: Path, folder: Path, where: str, fault: Fault, kind: str
) -> None:
    service.fail(where, fault)
    assert refused(lambda: make(service, clock).analyze(model, BOARD, folder)).kind == kind and clean(service)


def test_analyze_gives_sizes_alone(service: FakeCloud, clock: FakeTime, model: Path, folder: Path) -> None:
    info = INFO | {"graphs": [{"nodes": INFO["graphs"][0]["nodes"]}]}
    service.answer = {"info": info, "report": None, "graph": None}
    report = make(service, clock).analyze(model, BOARD, folder)
    assert report.action == "analyze" and report.net.figures["flash_bytes"].value == 45650
    assert {figure.source for figure in report.net.figures.values()} == {"vendor"}
    assert service.started[0][1] == {"model": service.deleted[0], "target": "stm32u5", "optimization": "balanced"}
    assert clean(service)


def test_boards_and_models_that_cannot_be_used(service: FakeCloud, clock: FakeTime, model: Path, folder: Path) -> None:
    cloud = make(service, clock)
    assert boards(cloud) == {"B-U585I-IOT02A": {"boardCount": 2, "deviceCpu": "M33"}}
    with pytest.raises(AedError, match="cloud does not know it"):
        cloud.benchmark(model, Board(name="x", core="cortex-m4", ram_kib=1, flash_kib=1), folder)
    with pytest.raises(AedError, match="not a whole ONNX model"):
        (folder.parent.parent / "bad.onnx").write_bytes(b"no")
        cloud.benchmark(folder.parent.parent / "bad.onnx", BOARD, folder)
    assert not service.uploaded


def test_version_is_asked_for_where_it_is_on_offer(
    service: FakeCloud, clock: FakeTime, model: Path, folder: Path
) -> None:
    make(service, clock, version="3.0.0").benchmark(model, BOARD, folder)
    assert service.started[0][1]["version"] == "3.0.0"
    with pytest.raises(AedError, match=r"offers \['3.0.0', '4.0.1'\], got '9.9'"):
        make(service, clock, version="9.9").benchmark(model, BOARD, folder)
    service.versions, service.states = "garbage", list(STATES)
    make(service, clock).benchmark(model, BOARD, folder)
    assert "version" not in service.started[1][1]
    for bad in ("../x", ""):
        with pytest.raises(AedError, match="version"):
            make(service, clock, version=bad)


# Faults.

FAULTS: list[tuple[str, str, Fault, str, str]] = [
    ("start 404", START, status(404, {"message": "no queue"}), "board", "no B-U585I-IOT02A"),
    ("start 400", START, status(400, {"errors": ["bad opset"]}), "model", "bad opset"),
    ("start 500", START, status(500), "service", "status 500"),
    ("start dropped", START, drop, "network", "whether it began is not known"),
    ("start garbage", START, status(200, b"<html>"), "service", "need JSON"),
    ("start no run", START, status(200, {}), "service", "benchmarkId"),
    ("start evil run", START, status(200, {"benchmarkId": "../../boards"}), "service", "benchmarkId"),
    ("upload 403", f"POST {MODELS}", status(403), "credentials", "accept the terms"),
    ("upload 413", f"POST {MODELS}", status(413), "model", "refuses this model"),
    ("upload refused", f"POST {MODELS}", status(200, {"upload": False}), "service", "upload failed"),
    ("upload list", f"POST {MODELS}", status(200, []), "service", "need a JSON object"),
    ("poll 401", RUN, always(status(401)), "credentials", "STEDGEAI_CLOUD_TOKEN"),
    ("poll 500", RUN, always(status(500)), "service", "status 500"),
    ("poll 429", RUN, always(status(429, Retry_After="1")), "service", "too many requests"),
    ("poll dropped", RUN, always(drop), "network", "dropped"),
    ("poll cut", RUN, always(cut), "network", "dropped"),
    ("poll truncated", RUN, always(status(200, b'{"state": "do')), "service", "need JSON"),
    ("poll list", RUN, status(200, []), "service", "need a JSON object"),
    ("poll no state", RUN, status(200, {"state": 3}), "service", "need a state"),
    ("poll deep", RUN, status(200, b"[" * 200_000), "service", "need JSON"),
    ("poll not utf-8", RUN, status(200, b"\xff\xfe"), "service", "need JSON"),
    ("poll redirected", RUN, status(302, {}, Location="http://127.0.0.1:1/"), "service", "status 302"),
    ("poll moved on", RUN, status(308, {}, Location="https://example.org/"), "service", "status 308"),
    ("error", RUN, status(200, {"state": "error", "message": "E010: no such operator"}), "model", "no such operator"),
    ("error object", RUN, status(200, {"state": "ERROR", "message": {"a": [1]}}), "model", '"a":'),
    ("error silent", RUN, status(200, {"state": "error"}), "model", "it gives no reason"),
    ("done empty", RUN, status(200, {"state": "done"}), "service", "no figure came"),
    ("done null", RUN, status(200, {"state": "done", "benchmark": None}), "service", "no figure came"),
    ("done wrong", RUN, status(200, {"state": "done", "benchmark": {"info": [], "report": 3}}), "service", "no figure"),
]


@pytest.mark.parametrize(("where", "fault", "kind", "words"), [pytest.param(*row[1:], id=row[0]) for row in FAULTS])
def test_fault_is_told_apart_and_the_upload_deleted(
    service: FakeCloud, clock: FakeTime, model: Path, folder: Path, where: str, fault: Fault, kind: str, words: str
) -> None:
    service.fail(where, fault)
    error = refused(lambda: make(service, clock).benchmark(model, BOARD, folder))
    assert (error.kind, words in str(error)) == (kind, True), str(error)
    assert clean(service)


PASSING: list[tuple[str, str, tuple[Fault, ...]]] = [
    ("poll 500 twice", RUN, (status(500), status(503))),
    ("poll dropped", RUN, (drop, cut, drop)),
    ("poll 502 garbage", RUN, (status(502, b"<html>bad gateway"),)),
    ("poll busy", RUN, (status(429, {}),)),
    ("upload 500", f"POST {MODELS}", (status(500), drop)),
    ("start busy", START, (status(429, {}), status(503, {}))),
    ("boards 500", BOARDS, (status(500), drop)),
    ("api 500", "GET /api/bench/api", (always(status(500)),)),
    ("api garbage", "GET /api/bench/api", (status(200, b"x"),)),
    ("versions dropped", "GET /versions.json", (always(drop),)),
    ("delete 500", f"DELETE {MODELS}/.*", (status(500), drop)),
    ("strange state", RUN, (status(200, {"state": "polishing_pins", "step": "x", "totalStep": 0}),)),
]


@pytest.mark.parametrize(("where", "faults"), [row[1:] for row in PASSING], ids=[row[0] for row in PASSING])
def test_passing_fault_is_tried_again(
    service: FakeCloud, clock: FakeTime, model: Path, folder: Path, where: str, faults: tuple[Fault, ...]
) -> None:
    service.fail(where, *faults)
    assert make(service, clock).benchmark(model, BOARD, folder).net.figures["cycles"].value == 989572
    assert len(service.started) == 1 and clean(service)


def test_waits_double_and_a_server_may_ask_for_more(
    service: FakeCloud, clock: FakeTime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire.random, "uniform", lambda low, high: high)
    service.fail(BOARDS, status(500), status(429, Retry_After="7"), drop, status(503, Retry_After="nonsense"))
    boards(make(service, clock))
    assert clock.slept == [0.5, 7.0, 2.0, 4.0]
    service.fail(BOARDS, status(429, Retry_After="5000"))
    assert "too many requests" in str(refused(lambda: boards(make(service, clock))))
    assert len(clock.slept) == 4


def test_retry_after_may_be_a_date() -> None:
    then = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 60))
    asked = wire._retry_after({"retry-after": then})
    assert asked is not None and 50 < asked <= 61
    for text in ("", "x", "-3", "1e99", "9" * 30, "Mon, 99 Foo 20"):
        assert wire._retry_after({"retry-after": text}) is None


def test_failing_deletion_is_a_warning(
    service: FakeCloud, clock: FakeTime, model: Path, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    service.fail(f"DELETE {MODELS}/.*", always(status(500)))
    make(service, clock).benchmark(model, BOARD, folder)
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert any("could not be deleted" in text for text in warnings)


@pytest.mark.parametrize("where", ["sleep", "state"])
def test_ctrl_c_deletes_the_upload(
    service: FakeCloud, clock: FakeTime, model: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    def stop(*args: object) -> None:
        raise KeyboardInterrupt

    if where == "sleep":
        clock.sleep = stop  # type: ignore[method-assign]
    else:
        monkeypatch.setattr("aed.target.cloud.service._percentage", stop)  # as a state is logged
    cloud = make(service, clock)
    with pytest.raises(KeyboardInterrupt):
        cloud.benchmark(model, BOARD, folder)
    assert clean(service)


def test_ctrl_c_is_heard_while_a_server_is_silent(
    service: FakeCloud, clock: FakeTime, model: Path, folder: Path
) -> None:
    service.fail(RUN, silent)
    # a shell starts background jobs, of which these tests may be one, with Ctrl-C ignored
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    timer = threading.Timer(0.5, _thread.interrupt_main)
    timer.start()
    begun = time.monotonic()
    try:
        with pytest.raises(KeyboardInterrupt):
            make(service, clock, request_s=15.0).benchmark(model, BOARD, folder)
    finally:
        timer.cancel()
        signal.signal(signal.SIGINT, before)
    assert time.monotonic() - begun < 10 and clean(service)


def test_run_that_never_ends_meets_the_limit(service: FakeCloud, clock: FakeTime, model: Path, folder: Path) -> None:
    service.states = ["in_queue"]
    error = refused(lambda: make(service, clock, timeout_s=60.0).benchmark(model, BOARD, folder))
    assert error.kind == "time" and "60 s have passed, the run is still in_queue" in str(error)
    assert clock.now <= 60 and clean(service)


@pytest.mark.parametrize("slow", [silent, drip, drip_head])
def test_slow_answer_meets_the_limit(
    service: FakeCloud, clock: FakeTime, model: Path, folder: Path, slow: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "TRIES", 2)
    service.fail(RUN, always(slow))
    cloud = make(service, clock, request_s=0.3)
    cloud._wire.tries = 2
    error = refused(lambda: cloud.benchmark(model, BOARD, folder))
    assert error.kind == "time" and "0.3 s" in str(error)
    assert clean(service)


def test_answer_that_is_too_large_is_refused(
    service: FakeCloud, clock: FakeTime, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.fail(BOARDS, always(status(200, b" " * 100_000)))
    limit = make(service, clock)._wire.limit(9)
    with pytest.raises(CloudError, match="larger than 50000"):
        wire.Wire().send("GET", service.url + "/api/bench/boards", limit, most_bytes=50_000)
    assert service.seen == [BOARDS]


def test_nobody_listens(clock: FakeTime) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nowhere = FakeCloud(url=f"http://127.0.0.1:{free.getsockname()[1]}")
    error = refused(lambda: boards(make(nowhere, clock)))
    assert error.kind == "network" and "refused" in str(error) and "https_proxy" in str(error)
    assert len(clock.slept) == 4


def test_unknown_name_and_untrusted_certificate(service: FakeCloud, clock: FakeTime) -> None:
    places = {"BENCHMARK_SERVICE_URL": "https://nowhere.invalid/x", "STEDGEAI_CLOUD_TOKEN": TOKEN}
    cloud = make(service, clock, environment=service.environment(**places))
    assert refused(lambda: boards(cloud)).kind == "network"
    places["BENCHMARK_SERVICE_URL"] = service.url.replace("http:", "https:")  # is_main_process no TLS at all
    cloud = make(service, clock, environment=service.environment(**places))
    error = refused(lambda: boards(cloud))
    assert error.kind == "network" and "trusted" in str(error)


def test_certificate_of_nobody_is_refused(
    service: FakeCloud, clock: FakeTime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "own.pem"
    path.write_bytes(certificate())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    with serve(context) as cloud:
        error = refused(lambda: boards(make(cloud, clock)))
        assert error.kind == "network" and "REQUESTS_CA_BUNDLE" in str(error) and not cloud.seen
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(path))
        assert boards(make(cloud, clock))


def certificate() -> bytes:
    """Key and certificate of 127.0.0.1, signed by itself."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "stand-in")])
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    made = made.serial_number(1).not_valid_before(now).not_valid_after(now + datetime.timedelta(hours=1))
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    made = made.add_extension(x509.SubjectAlternativeName([address]), critical=False)
    made = made.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    plain = serialization.NoEncryption()
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    return private + made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def test_unknown_board_names_those_there_are(service: FakeCloud, clock: FakeTime, model: Path, folder: Path) -> None:
    service.boards = {"NUCLEO-H743ZI2": {}}
    error = refused(lambda: make(service, clock).benchmark(model, BOARD, folder))
    assert error.kind == "board" and "NUCLEO-H743ZI2" in str(error) and not service.uploaded
    service.boards = ["B-U585I-IOT02A"]
    assert refused(lambda: make(service, clock).benchmark(model, BOARD, folder)).kind == "service"


# What an answer may hold.


ABSURD = [None, "39904", True, -1, float("nan"), float("inf"), 10**400, [], {}, "../../etc/passwd"]


@pytest.mark.parametrize("value", ABSURD, ids=map(str, range(len(ABSURD))))
def test_absurd_number_is_unknown(value: object, tmp_path: Path) -> None:
    info = json.loads(json.dumps(INFO))
    info["memory_footprint"] = dict.fromkeys(INFO["memory_footprint"], value)
    info["graphs"][0]["exec_time"] = {"cycles": value, "duration_ms": value}
    info["memory_pools"] = [value, {"name": value, "address": value, "used_size_bytes": value}]
    info["validation"] = {"val_metrics": [value, {"rmse": value}]}
    cost = read_answer({"info": info, "report": value, "graph": value}, tmp_path, Secrets()).cost
    assert set(cost.figures) <= {"macc"} | ({"library_ram_bytes", "ram_bytes"} if value == [] else set())
    graph = {"memory_footprint": {"weights": value}, "exec_time": value, "macc": value, "memory_pools": value}
    assert not read_answer({"graph": graph}, tmp_path, Secrets()).cost.figures


@pytest.mark.parametrize("missing", list(INFO))
def test_missing_part_is_no_error(missing: str, tmp_path: Path) -> None:
    read_answer({"info": {key: value for key, value in INFO.items() if key != missing}}, tmp_path, Secrets())
    read_answer({"info": INFO | {missing: "x"}}, tmp_path, Secrets())


def test_done_without_time_warns(
    service: FakeCloud, clock: FakeTime, model: Path, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    service.answer = {"info": INFO | {"graphs": [{}]}}
    report = make(service, clock).benchmark(model, BOARD, folder)
    assert "inference_ms" not in report.net.figures and report.net.figures["weights_bytes"].value == 39904
    assert "no time came with it" in caplog.text


def test_credentials_in_an_answer_reach_no_report(
    service: FakeCloud, clock: FakeTime, model: Path, folder: Path
) -> None:
    info = json.loads(json.dumps(INFO))
    info["environment"]["tools"][0]["version"] = f"4 Bearer {TOKEN}"
    info["environment"]["device"] = f"{TOKEN} {PASSWORD} \ud800 eyJhbGciOiJub25lIn0.e30.abc"
    info["graphs"][0]["nodes"][0]["name"] = info[TOKEN] = TOKEN
    service.answer, service.extra = {"info": info}, {"message": TOKEN}
    service.fail("POST /api/bench/benchmark/.*", status(401))  # so that a sign-on comes first
    environment = service.environment(STEDGEAI_CLOUD_TOKEN=TOKEN, stmai_username=USER, stmai_password=PASSWORD)
    report = make(service, clock, environment=environment).benchmark(model, BOARD, folder)
    text = json.dumps(report.content(), ensure_ascii=False)
    assert not [secret for secret in (*SECRETS, "eyJ") if secret in text] and "***" in text


# Credentials.


def test_sign_on_as_a_browser_does(service: FakeCloud, clock: FakeTime, model: Path, folder: Path) -> None:
    make(service, clock, account=True).benchmark(model, BOARD, folder)
    assert service.forms == [{"username": USER, "password": PASSWORD, "_eventId": "Login", "lt": "LT-1&2"}]
    assert not [key for key, _ in service.tokens_seen if "/sso" in key or "/idp" in key or "login" in key]
    assert "GET /callback" not in service.seen and clean(service)


@pytest.mark.parametrize("names", PAIRS)
def test_wrong_password_is_sent_once(
    service: FakeCloud, clock: FakeTime, model: Path, folder: Path, names: tuple[str, str]
) -> None:
    environment = service.environment(**dict(zip(names, (USER, "wrong-77d1"), strict=True)))
    cloud = make(service, clock, environment=environment)
    for _ in range(2):
        error = refused(lambda: cloud.benchmark(model, BOARD, folder))
        assert error.kind == "credentials" and "4 attempts left" in str(error) and "wrong-77d1" not in str(error)
    assert service.passwords == 1


@pytest.mark.parametrize(("fault", "kind"), [(drop, "network"), (status(503), "service"), (status(429), "service")])
def test_password_is_not_sent_again_after_a_fault(service: FakeCloud, clock: FakeTime, fault: Fault, kind: str) -> None:
    service.fail("POST /idp/login", always(fault))
    assert refused(lambda: boards(make(service, clock, account=True))).kind == kind
    assert service.seen.count("POST /idp/login") == 1


def test_blocked_account(service: FakeCloud, clock: FakeTime) -> None:
    service.after = "<b>You have exceeded 5 login\n attempts.</b> Please click below on Forgot Password"
    error = refused(lambda: boards(make(service, clock, account=True)))
    assert error.kind == "blocked" and "Forgot Password" in str(error)


@pytest.mark.parametrize(
    ("page", "action", "words"),
    [
        ("<html>maintenance", "", "has no form"),
        ("<form action='/idp/login'><input name='lt' value=''></form>", "", "has no form"),
        ("", "https://evil.example.org/login", "evil.example.org"),
        ("", "https://sso.st.com.evil.org/", "evil.org"),
        ("", "http://sso.st.com/login", "http://sso.st.com"),
        ("", "https://u:p@my.st.com/login", "no password is sent"),
        ("", "https://[bad/", "no password is sent"),
        ("", "file:///etc/passwd", "leads to file"),
    ],
)
def test_password_goes_nowhere_else(service: FakeCloud, clock: FakeTime, page: str, action: str, words: str) -> None:
    service.page, service.action = page, action or service.action
    error = refused(lambda: boards(make(service, clock, account=True)))
    assert error.kind == "service" and words in str(error) and service.passwords == 0


@pytest.mark.parametrize(
    ("where", "fault", "words"),
    [
        ("POST /idp/login", status(200, b"<p>Accept the new terms</p>"), "not known"),
        ("POST /idp/login", status(302, b"", Location="https://example.org/?code=1"), "example.org"),
        ("GET /idp/next", always(status(302, b"", Location="/idp/next")), "more than 10"),
        ("GET /idp/next", status(302, b"", Location="/callback?error=no"), "gave no code"),
        ("GET /idp/next", status(302, b"", Location="/callback/evil?code=1"), "answered 401"),
        ("GET /idp/next", status(200, b"hello"), "answered 200"),
        ("GET /idp/next", status(302, b""), "redirects nowhere"),
        ("POST /api/user/login/callback", status(200, {"token": 1}), "no token"),
        ("POST /api/user/login/callback", status(200, b"{"), "need JSON"),
        ("POST /api/user/login/callback", status(200, {"access_token": "a\r\nX: 1"}), "no token"),
        ("POST /api/user/login/callback", status(500), "status 500"),
    ],
)
def test_sign_on_that_goes_wrong(service: FakeCloud, clock: FakeTime, where: str, fault: Fault, words: str) -> None:
    service.fail(where, fault)
    error = refused(lambda: boards(make(service, clock, account=True)))
    assert error.kind == "service" and words in str(error), str(error)
    assert service.passwords <= 1


def test_token_that_expires_is_renewed(service: FakeCloud, clock: FakeTime, model: Path, folder: Path) -> None:
    service.fail(START, status(401))
    make(service, clock, account=True).benchmark(model, BOARD, folder)
    assert service.passwords == 1 and ("POST /api/user/login/refresh" in service.seen)
    assert service.tokens_seen[-1][1] == f"Bearer {FRESH}" and len(service.started) == 1 and clean(service)


def test_token_of_the_environment_that_expired_says_so(service: FakeCloud, clock: FakeTime) -> None:
    cloud = make(service, clock, environment=service.environment(STEDGEAI_CLOUD_TOKEN="Bearer expired-001"))
    error = refused(lambda: boards(cloud))
    assert error.kind == "credentials" and "STEDGEAI_CLOUD_TOKEN" in str(error) and "expired-001" not in str(error)
    assert service.tokens_seen == [(BOARDS, "Bearer expired-001")]
    cloud = make(service, clock, environment=service.environment(STEDGEAI_CLOUD_TOKEN="a\nb"))
    assert refused(lambda: boards(cloud)).kind == "credentials"


@pytest.mark.parametrize("stdin", [io.StringIO("user\n"), None])
def test_nobody_is_asked_without_a_terminal(
    service: FakeCloud, clock: FakeTime, monkeypatch: pytest.MonkeyPatch, stdin: object
) -> None:
    monkeypatch.setattr(sys, "stdin", stdin)
    error = refused(lambda: boards(make(service, clock, environment=service.environment())))
    assert error.kind == "credentials" and not service.seen
    for name in ("STEDGEAI_CLOUD_TOKEN", "STEDGEAI_CLOUD_USER", "STEDGEAI_CLOUD_PASSWORD"):
        assert name in str(error)
    half = make(service, clock, environment=service.environment(stmai_password=PASSWORD))
    assert "stmai_password is set and stmai_username is not" in str(refused(lambda: boards(half)))


def test_person_at_a_terminal_is_asked(service: FakeCloud, clock: FakeTime, monkeypatch: pytest.MonkeyPatch) -> None:
    stdin = io.StringIO(f"{USER}\n")
    stdin.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr(sys, "stdin", stdin)
    monkeypatch.setattr("getpass.getpass", lambda prompt: PASSWORD)
    assert boards(make(service, clock, environment=service.environment()))
    assert service.passwords == 1
    error = refused(lambda: boards(make(service, clock, environment=service.environment())))  # end of file
    assert error.kind == "credentials"


def test_token_file_only_if_asked_for_and_for_its_owner(service: FakeCloud, clock: FakeTime, tmp_path: Path) -> None:
    path = tmp_path / "own" / "cloud.tokens"
    boards(make(service, clock, account=True))
    assert not list(tmp_path.rglob("*.tokens"))
    boards(make(service, clock, account=True, token_file=path))
    assert path.stat().st_mode & 0o777 == 0o600 and [*path.parent.iterdir()] == [path]
    boards(make(service, clock, environment=service.environment(), token_file=path))
    assert service.passwords == 2
    service.token = "another"  # the one in the file has expired: the refresh token beside it gives a new one
    boards(make(service, clock, environment=service.environment(), token_file=path))
    kept = load_tokens(path)
    assert kept is not None and (kept.access, kept.refresh) == (FRESH, REFRESH) and FRESH not in repr(kept)
    path.write_text("{")
    assert refused(lambda: load_tokens(path)).kind == "credentials"
    if os.name == "posix":
        path.chmod(0o644)
        assert "chmod 600" in str(refused(lambda: load_tokens(path)))


def test_netrc_is_not_read(
    service: FakeCloud, clock: FakeTime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login a password b\n")
    (tmp_path / "netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    assert boards(make(service, clock, account=True))
    assert {bearer for _, bearer in service.tokens_seen} == {f"Bearer {TOKEN}"}


@pytest.mark.parametrize(
    "url",
    [
        "http://stedgeai-dc.st.com", "ftp://127.0.0.1", "https://u:p@st.com", "st.com", "https://st.com?a=1",
        "https://[x", "https://h:p",
    ],
)  # fmt: skip
def test_address_to_which_no_credentials_may_go(url: str) -> None:
    with pytest.raises(AedError, match="FILE_SERVICE_URL") as caught:
        Endpoints.from_environment({"FILE_SERVICE_URL": url})
    assert "u:p" not in str(caught.value)


def test_addresses() -> None:
    places = Endpoints.from_environment(
        {"FILE_SERVICE_URL": "https://example.org/x/", "CLIENTID": "mine", "SSO_URL": ""}
    )
    assert places.file == "https://example.org/x" and places.client_id == "mine" and places.sso == "https://sso.st.com"
    assert places.analysis("4.0.1") == "https://stedgeai-dc.st.com/api/4.0.1/stm32ai"
    assert places.analysis(None) == "https://stedgeai-dc.st.com/api/stm32ai"


def test_secrets_are_found_in_every_form() -> None:
    secrets = Secrets()
    secrets.add(PASSWORD, TOKEN, None, "")
    forms = (PASSWORD, json.dumps(PASSWORD), json.dumps({"p": PASSWORD}, ensure_ascii=False), TOKEN)
    for form in forms:
        assert TOKEN not in secrets.clean(form) and "wörd" not in secrets.clean(form) and "***" in secrets.clean(form)
    assert secrets.line(f"a\x1b[31m\n{'b' * 400}").startswith("a [31m bbb") and len(secrets.line("c" * 999)) == 300
    assert PASSWORD not in repr(secrets) and CODE not in repr(secrets)


@pytest.mark.parametrize("key", ["timeout_s", "request_s"])
@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_limits_are_checked(service: FakeCloud, clock: FakeTime, key: str, value: float) -> None:
    with pytest.raises(AedError, match=key):
        make(service, clock, **{key: value})

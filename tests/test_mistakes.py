"""What people mistype, over all verbs: one clear message that names the thing, and advice that can be typed."""

import contextlib
import importlib
import io
import logging
import re
import shlex
import sys
import traceback
from pathlib import Path

import numpy as np
import onnx
import pytest
import soundfile as sf
import tiny
import torch
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from onnx import numpy_helper

from aed.run import pipeline

pytestmark = pytest.mark.usefixtures("trains")

TINY = (
    "experiment=demo logger=csv callbacks.progress=null frontend.n_mels=16 frontend.patch_frames=32 threads=1 "
    "trainer.accelerator=cpu trainer.max_epochs=1"
)
DATA = " ".join(tiny.DATA)
SMALL = f"{TINY} {DATA}"

MISTAKES: dict[str, list[tuple[str, str]]] = {
    "train": [
        ("", "experiment=<name>"),
        ("demo", "experiment=demo"),
        ("esc10_yamnt", "experiment=esc10_yamnet"),
        ("experiment=nothing", "esc10_yamnet"),
        ("experiment=demo data=esc_csv data.clips.csv=no.csv data.clips.audio_dir=.", "no.csv: no such csv"),
        ("experiment=demo quantization.n_calibration=none", "quantization.n_calibration"),
        ("experiment=esc10_yamnt", "experiment=esc10_yamnet"),
        ("experiment=", "experiment"),
        ("experiment=nowhere.yaml", "experiment=nowhere.yaml: no such file"),
        ("experiment=list.yaml", "need keys and values"),
        ("experiment=mine/demo.yaml", "another experiment demo; rename"),
        ("experiment=wrong.yaml", "data.batch_siez"),
        ("experiment=hostile.yaml", "callbacks.x._target_: a class is named on the command line"),
        ("experiment=demo -x", "-x"),
        ("--cfg", "--cfg"),
        ("--bogus", "--bogus"),
        ("SMALL sed=1", "seed"),
        ("SMALL seed=x", "seed"),
        ("SMALL seed=-1", "seed"),
        ("SMALL seed=1.5", "seed"),
        ("SMALL seed=99999999999", "seed"),
        ("SMALL threads=-2", "threads"),
        ("SMALL threads=0", "threads"),
        ("SMALL threads=many", "threads"),
        ("SMALL stages=[]", "stages"),
        ("SMALL stages=[fitt]", "fitt"),
        ("SMALL stages=[quantize]", "model.onnx"),
        ("SMALL stages=[evaluate]", "model_int8.onnx"),
        ("SMALL stages=[benchmark]", "model_int8.onnx"),
        ("SMALL stages=[test]", "ckpt_path"),
        ("SMALL stages=[predict]", "predict.files"),
        ("SMALL stages=[predict] predict.files=[nowhere]", "nowhere"),
        ("SMALL stages=[fit] operation_mode=chain_tqe", "not both"),
        ("SMALL operation_mode=chain_x", "operation_mode"),
        ("SMALL ckpt_path=nowhere.ckpt", "nowhere.ckpt"),
        ("SMALL ckpt_path=sounds", "sounds"),
        ("SMALL stages=[test] ckpt_path=cut.ckpt", "cut.ckpt"),
        ("SMALL stages=[test] ckpt_path=empty.ckpt", "empty.ckpt"),
        ("SMALL stages=[test] ckpt_path=foreign.ckpt", "foreign.ckpt"),
        ("SMALL ckpt_path=cut.ckpt", "cut.ckpt"),
        ("SMALL ckpt_path=foreign.ckpt", "foreign.ckpt"),
        ("SMALL stages=[export] ckpt_path=text.onnx", "text.onnx"),
        ("SMALL model.optimizer.lr=null", "need a number"),
        ("SMALL model.optimizer.lr=fast", "need a number"),
        ("SMALL model.optimizer.lr=-1", "model.optimizer"),
        ("SMALL model.optimizer.lrr=1", "model.optimizer.lr"),
        ("SMALL model.optimizer=SGD", "model/optimizer=SGD"),
        ("SMALL model/optimizer=Adamm", "model/optimizer=Adam"),
        ("SMALL model/optimizer=SGD model.optimizer.momentum=-1", "model.optimizer"),
        ("SMALL model/scheduler=StepLR model.scheduler.step_size=0", "model.scheduler"),
        ("SMALL model/scheduler=StepLR", "model.scheduler.step_size"),
        ("SMALL model/scheduler=StepLRR", "model/scheduler=StepLR"),
        ("SMALL model/scheduler=ReduceLROnPlateau model.monitor=foo", "model.monitor"),
        ("SMALL model/scheduler=ReduceLROnPlateau", "model.monitor"),
        ("SMALL model/scheduler=ExponentialLR", "model.scheduler.gamma=..."),
        ("SMALL model/scheduler=OneCycleLR model.scheduler.max_lr=1", "model.scheduler"),
        ("SMALL model.scheduler_interval=week", "model.scheduler_interval"),
        ("SMALL model.net=YAMNet", "model/net=yamnet"),
        ("SMALL model/net=yamnett", "model/net=yamnet"),
        ("SMALL modle/net=yamnet", "model/net"),
        ("SMALL model.net.widht=3", "model.net.widht"),
        ("SMALL model.net.dropout=2", "dropout"),
        ("SMALL model.net._target_=no.such.Net", "no.such.Net"),
        ("SMALL model.net._target_=os.path.join", "os.path.join"),
        ("SMALL model.net.num_classes=7", "model.net.num_classes"),
        ("SMALL model/net=user", "model.net._target_"),
        ("SMALL model=3", "group"),
        ("SMALL model.augment.noise=1", "model.augment.noise"),
        ("SMALL model.augment.mixup=-1", "mixup"),
        ("SMALL model.augment.min_gain=2", "gain"),
        ("SMALL model.label_smoothing=2", "label_smoothing"),
        ("SMALL model.aggregate=median", "model.aggregate"),
        ("SMALL model.pretrained=perhaps", "model.pretrained"),
        ("SMALL trainer.max_epoch=1", "trainer.max_epochs"),
        ("SMALL trainer.max_epochs=0", "trainer.max_epochs"),
        ("SMALL trainer.max_epochs=-3", "trainer.max_epochs"),
        ("SMALL trainer.gradient_clip_val=-1", "trainer.gradient_clip_val"),
        ("SMALL trainer.limit_train_batches=0", "trainer.limit_train_batches"),
        ("SMALL trainer.fast_dev_run=true", "stages=[fit]"),
        ("SMALL trainer.max_epochs=x", "trainer.max_epochs"),
        ("SMALL trainer.accelerator=tpux", "tpux"),
        ("SMALL trainer.devices=99", "trainer.devices"),
        ("SMALL trainer.precision=99", "99"),
        ("SMALL trainer.accumulate_grad_batches=0", "trainer"),
        ("SMALL trainer=fast", "trainer"),
        ("SMALL callbacks=none_such", "callbacks"),
        ("SMALL callbacks=early_stopping", "data.val_fold=4"),
        ("SMALL callbacks=early_stopping data.val_fold=4 callbacks.early_stopping.monitor=val/acc", "val/acc"),
        ("SMALL callbacks=early_stopping callbacks.early_stopping.patienc=1", "patience"),
        ("SMALL logger=none_such", "logger"),
        ("SMALL quantization.calibration=magic", "quantization.calibration"),
        ("SMALL quantization.n_calibration=0", "quantization.n_calibration"),
        ("SMALL quantization.n_calibration=few", "quantization.n_calibration"),
        ("SMALL quantization.io=int7", "quantization.io=int8"),
        ("SMALL quantization=qatt", "quantization=qat"),
        ("SMALL quantization.percentile=2", "quantization.percentile"),
        ("SMALL quantization.repair=[magic]", "quantization.repair"),
        ("SMALL quantization.max_drop=-1", "quantization.max_drop"),
        ("SMALL quantisation.io=int8", "quantization"),
        ("SMALL decision.keep=2", "decision.keep"),
        ("SMALL decision.unknown=true", "data.val_fold"),
        ("SMALL decision.unknown_threshold=0.5", "decision.unknown=true"),
        ("SMALL decision.thresholds=third", "decision.thresholds"),
        ("SMALL export.softmax=maybe", "export.softmax"),
        ("SMALL export.opset=3", "export.opset"),
        ("SMALL budget.board=nothing", "nothing"),
        ("SMALL budget.flash_kib=1", "budget.flash_kib"),
        ("SMALL budget.macc=lots", "budget.macc"),
        ("SMALL stages=[fit,export,quantize,benchmark] benchmark.board=nothing", "nothing"),
        ("SMALL stages=[fit,export,quantize,benchmark] benchmark.target=nothing", "nothing"),
        ("SMALL stages=[fit,export,quantize,deploy] deploy.target=nothing", "nothing"),
        ("SMALL benchmark.stedgeai.optimization=speed", "benchmark.stedgeai.optimization"),
        ("SMALL benchmark.inputs=1", "benchmark.emulator.inputs=1"),
        ("SMALL deploy.timeout_s=9", "deploy.stm32.timeout_s=9"),
        (
            "SMALL stages=[fit,export,quantize,benchmark] benchmark.cloud.version=4.0.1",
            "benchmark.cloud.version: only target cloud reads it",
        ),
        ("SMALL stages=[fit,export,quantize,deploy] deploy.stm32.probe=A1", "type deploy.target=stm32"),
        ("SMALL predict.file=[a.wav]", "predict.files"),
        ("SMALL data=nothing", "data"),
        ("SMALL dta=folder", "data"),
        ("SMALL data.clips=ESC10", "data=folder"),
        ("SMALL data.split=kfold", "data.split"),
        ("SMALL data.test_fold=9", "data.test_fold"),
        ("SMALL data.test_fold=1.5", "data.test_fold"),
        ("SMALL data.test_fold=1,2", "-m"),
        ("SMALL data.val_fold=5 data.test_fold=5", "val_fold"),
        ("SMALL data.batch_size=0", "data.batch_size"),
        ("SMALL data.batch_size=big", "data.batch_size"),
        ("SMALL data.class_names=alarm", "data.class_names"),
        ("SMALL data.class_names=[alarm", "data.class_names"),
        ("SMALL data.class_names=[alarm,dog]", "dog"),
        ("SMALL data.class_names=[alarm,alarm]", "alarm"),
        ("SMALL data.garbage_class=true", "data.class_names"),
        ("SMALL data.patches_per_clip=0", "data.patches_per_clip"),
        ("SMALL data.test_fraction=2 data.split=random", "test_fraction"),
        ("SMALL data.unseen=nowhere", "nowhere"),
        ("SMALL data.foo=1", "data.foo"),
        ("SMALL +data.foo=1", "data.foo"),
        ("SMALL +foo=1", "foo"),
        ("SMALL ~foo", "foo"),
        ("SMALL seed.x=1", "seed"),
        ("SMALL frontend.n_mels=0", "frontend.n_mels"),
        ("SMALL frontend.f_max=9000", "f_max"),
        ("SMALL frontend.window=glass", "frontend.window"),
        ("SMALL frontend=nothing", "frontend"),
        ("SMALL frontend.n_mel=16", "frontend.n_mels"),
        ("TINY data=folder", "data.clips.root"),
        ("TINY data=folder data.clips.root=nowhere", "nowhere"),
        ("TINY data=folder data.clips.root=empty", "empty"),
        ("TINY data=folder data.clips.root=one_class", "one_class"),
        ("TINY data=folder data.clips.root=note.txt", "note.txt"),
        ("TINY data=folder data.clips.root=sounds data.clips.source_pattern=(", "source_pattern"),
        ("TINY data=folder data.clips.root=sounds data.split=folds", "fold"),
        ("TINY data=esc_csv data.clips.csv=nowhere.csv data.clips.audio_dir=.", "nowhere.csv"),
        ("TINY data=esc_csv data.clips.csv=empty.csv data.clips.audio_dir=.", "empty.csv"),
        ("TINY data=esc_csv data.clips.csv=utf16.csv data.clips.audio_dir=.", "save it as CSV UTF-8"),
        ("TINY data=esc_csv data.clips.csv=odd.csv data.clips.audio_dir=.", "odd.csv"),
        ("TINY data=esc_csv data.clips.csv=note.txt data.clips.audio_dir=.", "note.txt"),
        ("TINY data=esc_csv", "data.clips"),
        ("TINY data=segments", "data.clips"),
        ("TINY data=dcase", "data.clips"),
        ("SMALL hydra.run.dir=note.txt/run", "note.txt"),
        ("-m SMALL seed=a,b", "seed"),
        ("-m SMALL seed=1,2 --cfg job", "--cfg"),
        ("SMALL --resolve", "--resolve"),
        ("-m SMALL data.test_fold=8,9 hydra.sweep.dir=sweep", "data.test_fold"),
    ],
    "evaluate": [
        ("", "model=..."),
        ("nowhere.onnx", "model=nowhere.onnx"),
        ("modl=nowhere.onnx", "model"),
        ("model=nowhere.onnx", "nowhere.onnx"),
        ("model=note.txt", "note.txt"),
        ("model=sounds", "sounds"),
        ("model=text.onnx", "text.onnx"),
        ("model=cut.onnx", "cut.onnx"),
        ("model=empty.onnx", "empty.onnx"),
        ("model=cut.ckpt", "cut.ckpt"),
        ("model=empty.ckpt", "empty.ckpt"),
        ("model=foreign.ckpt", "foreign.ckpt"),
        ("model=bare.onnx DATA", "frontend"),
        ("model=nan.onnx DATA", "nan.onnx"),
        ("model=int8.onnx DATA split=tst", "split=test"),
        ("model=int8.onnx DATA split=val", "val"),
        ("model=int8.onnx DATA split_by=me", "split_by"),
        ("model=int8.onnx DATA on=c64", "on"),
        ("model=float.onnx DATA on=c", "int8"),
        ("model=int8.onnx DATA on=emulator board=nothing", "nothing"),
        ("model=int8.onnx DATA on=board board=b-u585i-iot02a tool=nowhere", "nowhere"),
        ("model=int8.onnx DATA max_clips=0", "max_clips"),
        ("model=int8.onnx DATA max_clips=few", "max_clips"),
        ("model=int8.onnx DATA data.test_fold=2", "split_by=data"),
        ("model=int8.onnx DATA threads=x", "threads"),
        ("model=int8.onnx data=folder data.clips.root=nowhere", "nowhere"),
        ("model=int8.onnx data=folder data.clips.root=sounds", "alarm"),
    ],
    "detect": [
        ("", "model=..."),
        ("model=int8.onnx", "files=..."),
        ("model=int8.onnx nowhere.wav", "nowhere.wav"),
        ("model=int8.onnx bad/text.wav", "text.wav"),
        ("model=int8.onnx good.wav format=xml", "format"),
        ("model=int8.onnx good.wav rule.on=[2]", "rule.on"),
        ("model=int8.onnx good.wav rule.window=0", "rule.window"),
        ("model=int8.onnx good.wav rule.treshold=1", "treshold"),
        ("model=int8.onnx good.wav scores=a.json", "reference"),
        ("model=int8.onnx good.wav reference=nowhere.tsv", "nowhere.tsv"),
        ("model=int8.onnx good.wav output=good.wav", "good.wav is read by this command"),
    ],
    "compare": [
        ("", "files=..."),
        ("sounds", "at least two"),
        ("sounds nowhere", "sounds: no run that was tested"),
        ("nowhere sounds", "nowhere"),
        ("sounds bad output=sounds", "sounds holds something else"),
        ("sounds bad draws=few", "draws"),
        ("sounds bad draw=9", "draws"),
    ],
    "soundscapes": [
        ("", "output=..."),
        ("output=s data=nothing", "data"),
        ("output=s data=folder data.clips.root=nowhere", "nowhere"),
        ("output=s DATA split=tst", "split=test"),
        ("output=s DATA split=val", "data.val_fold"),
        ("output=s DATA hours=0", "hours"),
        ("output=s DATA ambient=nowhere", "nowhere"),
        ("output=s DATA snr_db=[20,0]", "snr_db"),
        ("output=s DATA event_a_minute=1", "events_a_minute"),
        ("output=sounds DATA", "sounds holds something else"),
    ],
    "predict": [
        ("", "model=..."),
        ("model=int8.onnx", "files=..."),
        ("model=int8.onnx nowhere.wav", "nowhere.wav"),
        ("model=int8.onnx empty", "empty"),
        ("model=int8.onnx *.nothing", "nothing"),
        ("model=int8.onnx bad/text.wav", "text.wav"),
        ("model=int8.onnx bad/empty.wav", "empty.wav"),
        ("model=int8.onnx bad/nan.wav", "nan.wav"),
        ("model=int8.onnx good.wav bad/text.wav strict=true", "text.wav"),
        ("model=int8.onnx good.wav format=xml", "format"),
        ("model=int8.onnx good.wav mode=fast", "mode"),
        ("model=int8.onnx good.wav top=0", "top"),
        ("model=int8.onnx good.wav top=x", "top"),
        ("model=int8.onnx good.wav unknown_threshold=2", "unknown_threshold"),
        ("model=int8.onnx good.wav timline=true", "timeline"),
        ("model=int8.onnx good.wav output=note.txt/x.csv", "note.txt"),
        ("model=int8.onnx good.wav output=sounds", "sounds"),
        ("model=int8.onnx good.wav output=good.wav", "good.wav is read by this command"),
        ("model=int8.onnx good.wav output=int8.onnx", "int8.onnx is read by this command"),
        ("model=int8.onnx sounds output=sounds/dog/a.wav", "a.wav is read by this command"),
        ("model=int8.onnx good.wav output=float.onnx", "float.onnx is a recording or a model"),
        ("model=int8.onnx good.wav output=sounds/dog/a.wav", "is a recording or a model"),
        ("model=bare.onnx good.wav", "frontend"),
        ("model=nan.onnx good.wav", "nan.onnx"),
        ("model=note.txt good.wav", "note.txt"),
        ("model=yamnet_audiset good.wav", "yamnet_audiset"),
        ("model=cut.onnx good.wav", "cut.onnx"),
        ("model=foreign.ckpt good.wav", "foreign.ckpt"),
    ],
    "benchmark": [
        ("", "model=..."),
        ("int8.onnx", "model=int8.onnx"),
        ("model=nowhere.onnx", "nowhere.onnx"),
        ("model=note.txt", "note.txt"),
        ("model=float.onnx", "int8"),
        ("model=bare.onnx", "int8"),
        ("model=int8.onnx board=nothing", "nothing"),
        ("model=int8.onnx board=mps2-an506", "mps2-an505"),
        ("model=int8.onnx target=nothing", "nothing"),
        ("model=int8.onnx target=stedgeai stedgeai.tool=nowhere board=b-u585i-iot02a", "nowhere"),
        ("model=int8.onnx emulator.inputs=0", "emulator.inputs"),
        ("model=int8.onnx emulator.inputs=x", "emulator.inputs"),
        ("model=int8.onnx emulator.cmsis_dsp=nowhere", "nowhere"),
        ("model=int8.onnx target=cloud board=b-u585i-iot02a cloud.optimization=speed", "cloud.optimization"),
        ("model=int8.onnx action=fly", "action"),
        ("model=int8.onnx inputs=1", "emulator.inputs=1"),
        ("model=int8.onnx serial=serial", "stedgeai.serial=serial"),
        ("model=int8.onnx optimization=ram", "stedgeai.optimization=ram or cloud.optimization=ram"),
        (
            "model=int8.onnx stedgeai.serial=serial",
            "stedgeai.serial: only target stedgeai reads it, got target=emulator",
        ),
        ("model=int8.onnx cloud.version=4.0.1", "leave cloud.version out, or type target=cloud"),
        ("model=int8.onnx bord=mps2-an505", "board"),
    ],
    "deploy": [
        ("", "model=..."),
        ("model=nowhere.onnx", "nowhere.onnx"),
        ("model=note.txt", "note.txt"),
        ("model=float.onnx", "int8"),
        ("model=int8.onnx target=x", "target"),
        ("model=int8.onnx folder=sounds", "sounds"),
        ("model=int8.onnx folder=note.txt/x", "note.txt"),
        ("model=int8.onnx target=stm32 stm32.board=nothing", "nothing"),
        ("model=int8.onnx target=stm32 stm32.board=mps2-an505", "mps2-an505"),
        ("model=int8.onnx target=stm32 stm32.action=flash", "stm32.project=<folder>"),
        ("model=int8.onnx target=stm32 stm32.action=fly", "action"),
        ("model=int8.onnx target=c probe=A1", "stm32.probe=A1"),
        ("model=int8.onnx target=c stm32.probe=A1", "stm32.probe: only target stm32 reads it, got target=c"),
        ("model=int8.onnx target=stm32 c.prefix=door", "leave c.prefix out, or type target=c"),
        ("model=int8.onnx target=c data=esc10", "data: only target stm32 reads it"),
        ("model=int8.onnx targt=c", "target"),
    ],
    "data": [
        ("", "inspect"),
        ("inspec", "inspect"),
        ("inspect data=nothing", "data"),
        ("inspect data=folder", "data.clips.root"),
        ("inspect data=folder data.clips.root=nowhere", "nowhere"),
        ("inspect data=folder data.clips.root=empty", "empty"),
        ("inspect data=folder data.clips.root=sounds report=note.txt/x.json", "note.txt"),
        ("inspect data=folder data.clips.root=sounds strct=true", "strict"),
        ("inspect data=folder data.clips.root=sounds report=sounds/dog/a.wav", "report"),
        ("inspect data=esc_csv data.clips.csv=odd.csv data.clips.audio_dir=.", "odd.csv"),
        ("inspect nowhere", "nowhere"),
        ("inspect sounds data=folder", "sounds"),
    ],
    "models": [("format=xml", "format"), ("fromat=json", "format"), ("json", "json")],
    "import_model": [
        ("", "files=..."),
        ("nowhere.h5", "nowhere.h5"),
        ("note.txt", "note.txt"),
        ("empty.h5", "empty.h5"),
        ("note.txt st_config=nowhere.yaml", "nowhere.yaml"),
        ("note.txt frontend=nothing", "frontend"),
    ],
    "migrate": [
        ("", "files=..."),
        ("nowhere.yaml", "nowhere.yaml"),
        ("note.txt", "sections of keys"),
        ("empty.csv", "sections of keys"),
        ("note.txt exakt=true", "exact"),
    ],
    "doctor": [("nothing", "nothing"), ("--bogus", "--bogus")],
    "cli": [
        ("", "need one of fit"),
        ("nothing", "nothing"),
        ("fit --trainer.max_epocs=3 --data.clips=ESC10 --model.net=YAMNet", "max_epocs"),
        ("fit --data.clips=Nothing", "clips"),
        ("fit --data.clips=ESC10 --model.net=Nothing", "net"),
        ("fit --data.clips=ESC10 --model.net=YAMNet --data.split=kfold", "kfold"),
    ],
}

ROWS = [(verb, line, words) for verb, lines in MISTAKES.items() for line, words in lines]


def test_there_are_many_of_every_verb():
    assert len(ROWS) >= 150


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with a trained model and with everything that can be wrong with a file."""
    folder = tmp_path_factory.mktemp("house")
    rng = np.random.default_rng(0)
    for name in ("sounds/dog/a.wav", "sounds/rain/b.wav", "one_class/dog/a.wav", "good.wav", "bad/nan.wav"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        wave = rng.uniform(-0.5, 0.5, 16000).astype(np.float32)
        if "nan" in name:
            wave[100] = np.nan
        sf.write(folder / name, wave, 16000, subtype="FLOAT")
    (folder / "empty").mkdir()
    (folder / "mine").mkdir()
    (folder / "mine" / "demo.yaml").write_text("seed: 1\n")
    (folder / "list.yaml").write_text("[1, 2]\n")
    (folder / "hostile.yaml").write_text("callbacks: {x: {_target_: os.getcwd}}\n")
    (folder / "wrong.yaml").write_text("data: {batch_siez: 1}\n")
    for name in ("bad/text.wav", "text.onnx", "note.txt"):
        (folder / name).write_text("no sound, no model, no list\n")
    for name in ("bad/empty.wav", "empty.onnx", "empty.ckpt", "empty.csv", "empty.h5"):
        (folder / name).write_bytes(b"")
    (folder / "utf16.csv").write_text("filename,category\na.wav,dog\n", encoding="utf-16")
    (folder / "odd.csv").write_text("colour,size\nred,1\n")
    torch.save({"weights": [1, 2]}, folder / "foreign.ckpt")
    run = folder / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AED_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "cache"))
        overrides = [*SMALL.split(), "stages=[fit,export,quantize]", "quantization.n_calibration=6"]
        kept = [item for item in overrides if not item.startswith("hydra.")]
        pipeline.run(tiny.composed(*kept, "trainer.enable_progress_bar=false", folder=run), run)
    (folder / "float.onnx").write_bytes((run / "model.onnx").read_bytes())
    (folder / "int8.onnx").write_bytes((run / "model_int8.onnx").read_bytes())
    best = (run / "checkpoints" / "best.ckpt").read_bytes()
    (folder / "cut.ckpt").write_bytes(best[: len(best) // 2])
    whole = (run / "model.onnx").read_bytes()
    (folder / "cut.onnx").write_bytes(whole[: len(whole) // 2])
    model = onnx.load(run / "model.onnx")
    weights = numpy_helper.to_array(model.graph.initializer[0]).copy()
    weights.reshape(-1)[0] = np.nan
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(weights, model.graph.initializer[0].name))
    onnx.save(model, folder / "nan.onnx")
    del model.metadata_props[:]
    model.graph.initializer[0].CopyFrom(
        numpy_helper.from_array(np.nan_to_num(weights), model.graph.initializer[0].name)
    )
    onnx.save(model, folder / "bare.onnx")
    return folder


def say(verb: str, arguments: list[str]) -> tuple[int, str]:
    """Exit code and output of a command, run in this process: its start takes longer than what it does."""
    GlobalHydra.instance().clear()
    module = importlib.import_module(f"aed.{verb}")
    output, root = io.StringIO(), logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers = []
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        patch.setattr(sys, "argv", [f"{verb}.py", *arguments])
        try:
            module.main()
            code = 0
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else int(bool(error.code))
        except BaseException:
            traceback.print_exc(file=output)
            code = 99
        finally:
            root.handlers = handlers
            root.setLevel(level)
    return code, output.getvalue()


ADVICE = re.compile(r"(?:did you mean|; add) (\S+=.+?)(?: or |\?|,|;|$)", re.MULTILINE)


@pytest.mark.parametrize(("verb", "line", "words"), ROWS, ids=[f"{verb} {line}" for verb, line, _ in ROWS])
def test_a_mistake_is_named_in_words_that_can_be_typed(house, monkeypatch, verb, line, words):
    monkeypatch.chdir(house)
    arguments = shlex.split(line.replace("SMALL", SMALL).replace("TINY", TINY).replace("DATA", DATA))
    code, output = say(verb, arguments)
    assert "Traceback" not in output, output
    assert code in (1, 2), output
    assert words in output, output
    for found in ADVICE.finditer(output if verb != "cli" else ""):  # its options are LightningCLI's, not Hydra's
        OverridesParser.create().parse_overrides(shlex.split(found[1]))

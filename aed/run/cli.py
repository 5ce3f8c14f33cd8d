"""LightningCLI over the experiments, classes and stages of a run: the same values give the same numbers as Hydra's."""

import csv
import inspect
import logging
import os
import sys
import time
from argparse import ArgumentError, RawDescriptionHelpFormatter
from functools import partial
from pathlib import Path
from typing import IO, Any, Literal

import lightning.pytorch as L
import torch
import yaml
from jsonargparse import DefaultHelpFormatter, Namespace
from lightning.pytorch.cli import ArgsType, LightningArgumentParser, LightningCLI
from omegaconf import DictConfig

from aed.base.errors import AedError
from aed.base.files import write_whole
from aed.datamodules import PatchDataModule
from aed.inference.checkpoint import TorchClassifier
from aed.modules import nets  # noqa: F401 - so that --model.net YAMNet finds its class
from aed.modules.checkpoint import read_checkpoint
from aed.modules.classifier import ClipClassifier
from aed.modules.trained import Trained
from aed.run import cli_advice, cli_config, from_checkpoint, help, pipeline
from aed.run import loggers as _loggers  # noqa: F401 - so that --trainer.logger MetricsCsv finds its class
from aed.run.folders import claim, rank, release
from aed.run.registry import check_net_class
from aed.run.resume import check_resumable, restoring
from aed.run.split_scores import score_classifier, score_outputs
from aed.run.stages import DEFAULT
from aed.run.state import FLOAT, INT8, Run
from aed.scoring import tables

log = logging.getLogger(__name__)

CONFIG = "config.yaml"
"""Of a run's folder: what it was started with, for ``--config``."""

STAGES: dict[str, tuple[str, ...]] = {
    "fit": ("fit",),
    "validate": ("validate",),
    "test": ("test",),
    "predict": (),
    "export": ("export", "quantize", "evaluate"),
}
"""Stages of a run that each subcommand does."""

SCORED = ("val_clips.csv", "test_clips.csv")
"""Of a run's folder whose checkpoint has been scored."""

_FOLDER = "AED_CLI_FOLDER"
"""Variable that holds the folder of a run's first process, for the others."""


class Formatter(RawDescriptionHelpFormatter, DefaultHelpFormatter):
    """Help whose examples keep their lines."""


class AedParser(LightningArgumentParser):
    """A parser whose dumps keep references: what refers to ``trainer.max_epochs`` in an experiment still does."""

    references: cli_config.References = ()

    def dump(self, cfg: Namespace, **options: Any) -> str:
        """The configuration as YAML."""
        return cli_config.with_references(super().dump(cfg, **options), self.references)


class AedCLI(LightningCLI):
    """Trains, scores and exports what an experiment, a configuration file and options describe.

    Args:
        args: Arguments; default: the command line.
        run: Whether to do what the subcommand says; without, there are no subcommands.
    """

    state: Run

    def __init__(self, args: ArgsType = None, run: bool = True) -> None:
        self.base: DictConfig | None = None
        words = sys.argv[1:] if args is None else args
        self._asked = [words[0]] if isinstance(words, list) and words and words[0] in STAGES else []
        super().__init__(
            model_class=ClipClassifier,
            datamodule_class=PatchDataModule,
            trainer_class=L.Trainer,
            parser_class=AedParser,
            parser_kwargs={
                "parser_mode": "omegaconf+",
                "allow_abbrev": False,
                "exit_on_error": False,
                "prog": "aed cli",
                "description": help.page("cli"),
                "usage": f"aed cli {{{','.join(STAGES)}}} [--key value ...]",
                "formatter_class": Formatter,
            },
            save_config_callback=None,
            seed_everything_default=0,
            subclass_mode_model=True,
            subclass_mode_data=True,
            auto_configure_optimizers=False,
            load_from_checkpoint_support=False,
            args=args,
            run=run,
        )

    # what can be typed

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """Names of the methods that are subcommands."""
        return {name: set() for name in STAGES}

    def _add_subcommands(self, parser: LightningArgumentParser, **_: Any) -> None:
        """Takes subcommands from this class, whose parent takes them from the trainer's."""
        self._subcommand_parsers: dict[str, Any] = {}
        group = parser.add_subcommands()
        for name in self._asked if self._asked else self.subcommands():  # a parser takes most of a second
            description = str(inspect.getdoc(getattr(type(self), name))).partition("\n\nArgs")[0]
            usage = f"aed cli {name} [--experiment NAME] [--config FILE] [--key value ...]"
            own: Any = self.init_parser(description=description, usage=usage)
            self._add_arguments(own)
            self._subcommand_method_arguments[name] = own.add_method_arguments(type(self), name, as_group=False)
            self._subcommand_parsers[name] = own
            group.add_subcommand(name, own, help=description.partition("\n")[0])

    def add_default_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Adds what concerns the whole run."""
        parser.add_argument("--experiment", type=str | None, help="An experiment of configs/experiment to start from.")
        parser.add_argument(
            "--output_dir",
            type=str | None,
            help="Folder of the run; null: a new one, outputs/<experiment>/<date_time>, or that of --ckpt_path's run, "
            "as long as it has no such results.",
        )
        parser.add_argument(
            "--seed_everything",
            type=int,
            default=self.seed_everything_default,
            help="Of weights, splits, order, dropout and augmentation: seed=... of aed train.",
        )

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Links what data and model share, and names the classes most users want."""
        for name, settings in cli_config.SECTIONS.items():
            parser.add_class_arguments(settings, name)
        for target in ("data", "model"):
            parser.link_arguments("seed_everything", f"{target}.init_args.seed")
        parser.link_arguments("data.init_args.frontend", "model.init_args.frontend")
        parser.link_arguments(
            "data",
            "model.init_args.net.init_args.num_classes",
            compute_fn=lambda data: data.num_classes,
            apply_on="instantiate",
        )
        parser.set_defaults({"model": ClipClassifier.__name__, "data": PatchDataModule.__name__})

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Parses the arguments over the experiment or the run that they name.

        Raises:
            AedError: Names the option, and what was likely meant.
        """
        if isinstance(args, dict | Namespace):
            self.config = parser.parse_object(args)
            return
        logging.getLogger("lightning.fabric.utilities.seed").setLevel(logging.WARNING)
        typed = list(sys.argv[1:] if args is None else args)
        words = self._on_base(typed) if typed and typed[0] in STAGES else typed
        try:
            self.config = parser.parse_args(words)
        except ArgumentError as error:
            command = words[0] if words else ""
            own = self._subcommand_parsers.get(command, parser)
            raise cli_advice.explained(error, own, command) from error
        files = map(cli_config.content_of, cli_advice.values(words[2:], "--config", "-c"))
        cli_advice.check_read(typed, list(files), self._plain())

    def _on_base(self, words: list[str]) -> list[str]:
        """The arguments after the values of the experiment, or of the run whose checkpoint they name."""
        name, checkpoint = (cli_advice.last_value(words, f"--{key}") for key in ("experiment", "ckpt_path"))
        files = cli_advice.values(words, "--config", "-c")
        own = None
        is_asking = any(word in ("-h", "--help") or word.startswith("--print_config") for word in words)
        if checkpoint is None and words[0] != "fit" and not is_asking:
            raise AedError(f"{words[0]}: needs --ckpt_path, a checkpoint that fit or aed train has written")
        if checkpoint is not None:
            read_checkpoint(Path(checkpoint))
            own = Path(checkpoint).absolute().parents[1] / CONFIG
        if own is not None and own.is_file() and not (name or files):
            log.info("settings of %s", own)
            files, words = [str(own)], [words[0], f"--config={own}", *words[1:]]
        name = name or next(filter(None, map(cli_config.experiment_of, reversed(files))), None)
        self.base = cli_config.composed(name)
        values = cli_config.to_lightning_cli(self.base, None if name else ("trainer",))
        self._subcommand_parsers[words[0]].references = cli_config.references_of(values, files)
        return [words[0], f"--config={yaml.safe_dump(values)}", *words[1:]]

    # what is done with it

    @property
    def settings(self) -> Namespace:
        """What was parsed for the subcommand."""
        settings: Namespace = self.config[self.subcommand]
        return settings

    def before_instantiate_classes(self) -> None:
        """Checks the run's settings, seeds the process and chooses the run's folder."""
        if self.base is None:
            return
        settings, command = self.settings, str(self.subcommand)
        parser = self._subcommand_parsers[command]
        saved = parser.dump(settings, skip_validation=True, skip_none=False)
        if command != "fit" and "pretrained" in settings.model.init_args:
            settings.model.init_args.pretrained = False  # the checkpoint has the weights
        config = self._run_config()
        pipeline.prepare_process(config)
        pipeline.check_stages(config)
        check_net_class(config.model.net)
        settings.model.init_args.net.init_args["num_classes"] = None  # a link reaches only a key that is there
        self.trained = self._read_checkpoint(config)
        folder, is_new = self._choose_folder()
        if not is_new:
            config.logger = {}  # a logger begins anew, and deletes what it wrote
        self.config[command] = cli_config.in_folder(settings, folder)
        self.state_config, self.folder = cli_config.in_folder(config, folder), folder
        if is_new and not rank() and command != "predict":
            write_whole(folder / CONFIG, lambda file: file.write(saved.encode()))

    def _plain(self) -> dict[str, Any]:
        """What was parsed, as plain types, without references."""
        command = self.config["subcommand"]
        options = {"skip_validation": True, "skip_none": False, "skip_link_targets": False}
        text = LightningArgumentParser.dump(self._subcommand_parsers[command], self.config[command], **options)
        values: dict[str, Any] = yaml.safe_load(text)
        return values

    def _run_config(self) -> DictConfig:
        """The configuration of the run that the parsed settings describe."""
        settings, command = self.settings, str(self.subcommand)
        values = self._plain()
        stages = list(DEFAULT if command == "fit" else STAGES[command])
        if settings.trainer.fast_dev_run:
            stages = [stage for stage in stages if stage == "fit"]
        own = {"stages": stages, "ckpt_path": settings.ckpt_path}
        assert self.base is not None
        config = cli_config.run_config(self.base, values, **own)
        if command == "predict":  # its results go to standard output, nothing else does
            config.logger = config.callbacks = {}
            settings.trainer.callbacks, settings.trainer.enable_progress_bar = [], False
        return config

    def _read_checkpoint(self, config: DictConfig) -> Trained | None:
        """The model that the run starts from, if any.

        Raises:
            AedError: It was trained with other settings; names them as options.
        """
        if config.ckpt_path is None:
            return None
        path = Path(config.ckpt_path)
        if "fit" in config.stages:
            check_resumable(path, bool(config.model.scheduler))
        trained = Trained.load(path, str(config.model.net.get("_target_")))
        theirs = from_checkpoint.fixed_settings(trained)
        if "fit" not in config.stages:
            del theirs["model.aggregate"]  # how clips are scored may be changed
        if other := from_checkpoint.differing_settings(config, theirs):
            words = " ".join(cli_advice.option(key, value) for key, value in other.items())
            raise AedError(f"--ckpt_path: {path} was trained with other settings; add {words}")
        return trained

    def _choose_folder(self) -> tuple[Path, bool]:
        """The run's folder, and whether the run is the first in it."""
        settings, command = self.settings, str(self.subcommand)
        asked = Path(settings.output_dir) if settings.output_dir else None
        if command == "predict":
            return asked or Path(), True
        if rank():
            if not (named := settings.output_dir or os.environ.get(_FOLDER)):
                raise AedError("--output_dir: several processes need one folder; name it")
            return Path(named), True
        own = Path(settings.ckpt_path).absolute().parents[1] if settings.ckpt_path else None
        if asked is not None:
            holds_run = any((asked / name).exists() for name in ("checkpoints", "metrics.json"))
            if command == "fit" and holds_run and asked.absolute() != own:
                raise AedError(
                    f"--output_dir: {asked} holds an earlier run; give another folder, or go on with that one: "
                    f"--ckpt_path {asked / 'checkpoints' / 'last.ckpt'}"
                )
            folder, is_new = claim(asked, "--output_dir", is_dated=False), not holds_run
        elif (
            command == "test" and own and (own / CONFIG).is_file() and not any((own / file).exists() for file in SCORED)
        ):
            folder, is_new = claim(own, "--output_dir", is_dated=False), False
        else:
            name = self.settings.experiment or cli_config.UNNAMED
            dated = Path("outputs") / name / time.strftime("%Y-%m-%d_%H-%M-%S")
            folder, is_new = claim(dated, "--output_dir", is_dated=True), True
        os.environ[_FOLDER] = str(folder.absolute())
        return folder, is_new

    def instantiate_classes(self) -> None:
        """Instantiates data, model and trainer, and checks them against each other."""
        if self.base is None:
            super().instantiate_classes()
            return
        self.settings.trainer.logger = False  # opened when all has been checked
        super().instantiate_classes()
        callbacks = self._get(self.config_init, "trainer").callbacks or []
        parts = Run(self.state_config, self.folder, self.datamodule, self.model, self.trainer)
        self.state = pipeline.assemble(parts, callbacks if isinstance(callbacks, list) else [callbacks])
        if self.trained is not None:
            self.model.weights = self.trained.weights
        elif not self.settings.experiment and self.model.weights is None:
            log.warning(
                "no experiment: nothing is pretrained and nothing frozen, all %d parameters start from random values; "
                "for published weights start from one: aed cli fit --experiment esc10_yamnet",
                sum(parameter.numel() for parameter in self.model.parameters()),
            )

    def _run_subcommand(self, subcommand: str) -> None:
        names = self._subcommand_method_arguments[subcommand]
        try:
            getattr(self, subcommand)(**{name: self.settings[name] for name in names})
        finally:
            release()

    def fit(self, ckpt_path: str | None = None) -> None:
        """Trains; leaves best.ckpt and last.ckpt, metrics, learning curves and config.yaml.

        Args:
            ckpt_path: A last.ckpt to go on from.
        """
        pipeline.run_stages(self.state, STAGES["fit"])
        if self.state.checkpoint is not None and not rank():
            log.info("test it:   aed cli test --ckpt_path %s", self.state.checkpoint)
            log.info("export it: aed cli export --ckpt_path %s", self.state.checkpoint)

    def validate(self, ckpt_path: str) -> None:
        """Scores a checkpoint on the validation set.

        Args:
            ckpt_path: The checkpoint; without --experiment and --config its run's config.yaml is used.
        """
        pipeline.run_stages(self.state, STAGES["validate"])

    def test(self, ckpt_path: str) -> None:
        """Scores a checkpoint on the test set; chooses its decision rule on the validation set, where there is one.

        Args:
            ckpt_path: The checkpoint; without --experiment and --config its run's config.yaml is used.
        """
        pipeline.run_stages(self.state, STAGES["test"])

    def predict(
        self, ckpt_path: str, split: Literal["train", "val", "test"] = "test", output: str | None = None
    ) -> None:
        """Prints, as CSV, what a checkpoint says of each clip of a split: file, class, decision, all posteriors.

        For other recordings: aed predict model=best.ckpt *.wav

        Args:
            ckpt_path: The checkpoint; without --experiment and --config its run's config.yaml is used.
            split: Whose clips.
            output: CSV file to write instead of printing.
        """
        data, trainer = self.state.data, self.state.trainer
        if trainer.world_size > 1:
            raise AedError("--trainer.devices: predict works in one process; add --trainer.devices=1")
        data.predicted_split = split
        with restoring(ckpt_path):
            logits: Any = trainer.predict(self.model, datamodule=data, ckpt_path=ckpt_path, weights_only=True)
        classifier, dataset = TorchClassifier(Path(ckpt_path), self.state.net_class), data.datasets[split]
        card = classifier.card
        outputs = torch.cat(logits).float().cpu().numpy()
        scored = (
            score_outputs(card, outputs, dataset.patch_targets, dataset.clip, data.class_names)
            if card.decision.nearness is None
            else score_classifier(classifier, dataset, data.class_names)
        )
        header, rows = tables.clip_rows(data.clip_names(split), scored.scores, data.class_names)
        if output is None:
            csv.writer(sys.stdout).writerows([header, *rows])
        else:
            tables.write_rows(Path(output), header, rows)
            log.info("%s: %d clips", output, len(rows))

    def export(self, ckpt_path: str, output: str | None = None, int8: bool = True) -> None:
        """Writes model.onnx and model_int8.onnx, each with its card, and scores both.

        Args:
            ckpt_path: The checkpoint; without --experiment and --config its run's config.yaml is used.
            output: Where model.onnx is written, too; model_int8.onnx beside it as <name>_int8.onnx.
            int8: Whether to quantise.
        """
        pipeline.run_stages(self.state, STAGES["export"][: 3 if int8 else 1])
        if output is None or rank():
            return
        path = Path(output)
        files = {FLOAT: path, INT8: path.with_name(f"{path.stem}_int8{path.suffix}")}
        for name, target in list(files.items())[: 2 if int8 else 1]:
            write_whole(target, partial(_copy, self.folder / name))
            log.info("%s", target)


def _copy(path: Path, file: IO[bytes]) -> None:
    file.write(path.read_bytes())

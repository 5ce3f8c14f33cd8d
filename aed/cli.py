"""python -m aed.cli {fit,validate,test} ...: LightningCLI over the classes that aed.train composes with Hydra."""

import logging

from lightning.pytorch import Trainer
from lightning.pytorch.cli import ArgsType, LightningArgumentParser, LightningCLI

from aed.datamodules import PatchDataModule
from aed.modules import nets  # noqa: F401 - so that --model.net YAMNet finds its class
from aed.modules.classifier import ClipClassifier
from aed.run.callbacks import WholeCheckpoints
from aed.settings.entry import clear_errors

log = logging.getLogger("aed.cli")


class AedCLI(LightningCLI):
    """LightningCLI whose model gets front end and number of classes from the data: each is given once."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Links what data and model share, and names the classes most users want."""
        parser.link_arguments("data.init_args.frontend", "model.init_args.frontend")
        parser.link_arguments(
            "data",
            "model.init_args.net.init_args.num_classes",
            compute_fn=lambda data: data.num_classes,
            apply_on="instantiate",
        )
        parser.set_defaults({"model": ClipClassifier.__name__, "data": PatchDataModule.__name__})


def run(arguments: ArgsType = None) -> AedCLI:
    """Parses ``arguments`` (default: the command line) and runs the subcommand they name."""
    return AedCLI(
        model_class=ClipClassifier,
        datamodule_class=PatchDataModule,
        trainer_class=Trainer,
        trainer_defaults={
            "use_distributed_sampler": False,
            "num_sanity_val_steps": 0,
            "plugins": {"class_path": f"{WholeCheckpoints.__module__}.{WholeCheckpoints.__qualname__}"},
        },
        subclass_mode_model=True,
        subclass_mode_data=True,
        auto_configure_optimizers=False,
        save_config_kwargs={"overwrite": True},
        args=arguments,
    )


def main() -> None:
    """Entry point."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    with clear_errors(log):
        run()


if __name__ == "__main__":
    main()

"""The keys of every version of ST's zoo by the names of version 3, and what is said of those that need no thought."""

import re
from typing import Literal

Kind = Literal["mapped", "better", "unread", "none"]

KINDS: dict[Kind, str] = {
    "mapped": "Mapped",
    "better": "Means something better now",
    "unread": "Never read by the original",
    "none": "No counterpart",
}
"""What becomes of a key, as the report calls it."""

_2023 = (
    (r"pre_processing\.(.*)", r"preprocessing.\1"),
    (r"(?:dataset|train_parameters)\.use_other_class", "dataset.use_garbage_class"),
    (r"(?:dataset|train_parameters)\.n_samples_per_other_class", "dataset.n_samples_per_garbage_class"),
    (r"train_parameters\.training_epochs", "training.epochs"),
    (r"train_parameters\.(.*)", r"training.\1"),
    (r"dataset\.(audio|csv)_path", r"dataset.training_\1_path"),
    (r"data_augmentation\.GaussianNoise", "data_augmentation.GaussianNoise.scale"),
    (r"data_augmentation\.(VolumeAugment|SpecAug)", r"data_augmentation.\1.enable"),
    (r"data_augmentation\.(min_scale|max_scale)", r"data_augmentation.VolumeAugment.\1"),
    (r"data_augmentation\.(\w+_mask_param|n_\w+_mask|mask_value)", r"data_augmentation.SpecAug.\1"),
    (r"model\.model_type\.(.*)", r"training.model.\1"),
    (r"model\.transfer_learning", "training.model.pretrained_weights"),
    (r"model\.(fine_tune|dropout)", r"training.\1"),
    (r"model\.(multi_label|expand_last_dim)", r"dataset.\1"),
    (r"model\.input_shape", "training.model.input_shape"),
    (r"model\.model_path", "general.model_path"),
    (r"model\.unknown_class_threshold", "deployment.unknown_class_threshold"),
    (r"stm32ai\.path_to_stm32ai", "tools.stedgeai.path_to_stedgeai"),
    (r"stm32ai\.(version|optimization)", r"tools.stedgeai.\1"),
    (r"stm32ai\.footprints_on_target", "benchmarking.board"),
    (r"stm32ai\.path_to_cubeIDE", "tools.path_to_cubeIDE"),
    (r"stm32ai\.serie", "deployment.hardware_setup.serie"),
    (r"stm32ai\.(.*)", r"deployment.\1"),
)
_V3 = (
    (r"tools\.stm32ai\.path_to_stm32ai", "tools.stedgeai.path_to_stedgeai"),
    (r"tools\.stm32ai\.(.*)", r"tools.stedgeai.\1"),
    (r"parameters\.evaluation_target", "evaluation.target"),
    (r"parameters\.(.*)", r"evaluation.\1"),
    (r"general\.training_(\w+_path)", r"dataset.test_\1"),  # of the script that evaluates on a board
    (r"quantization\.extra_options", "quantization.onnx_extra_options"),
    (r"quantization\.op_types_to_quantize", "quantization.onnx_quant_parameters.op_types_to_quantize"),
)
_V4 = (
    (r"model\.model_name", "training.model.name"),
    (r"model\.pretrained", "training.model.pretrained_weights"),
    (r"model\.(input_shape|framework|model_type)", r"training.model.\1"),
    (r"model\.model_path", "general.model_path"),
    (r"dataset\.dataset_name", "dataset.name"),
    (r"dataset\.prediction_audio_path", "prediction.test_files_path"),
    (r"training\.resume_training", "training.resume_training_from"),
)
_RENAMED = {"2023": _2023, "v3": _V3, "v4": _V4}


def canonical(path: str, generation: str) -> str:
    """The name that version 3 has for a key of a generation."""
    for pattern, name in _RENAMED[generation]:
        if match := re.fullmatch(pattern, path):
            return match.expand(name)
    return path


OPEN = (
    "hydra.",
    "training.optimizer.",
    "training.callbacks.",
    "quantization.onnx_quant_parameters.",
    "quantization.onnx_extra_options.",
    "quantization.iterative_quant_parameters.",
)
"""Sections whose keys are those of another library."""

_FOLDER = "the folder of a run holds everything: outputs/<experiment>/<time>, or hydra.run.dir=..."
_SHAPE = "the front end says it: n_mels x patch_frames"
_BOARD_IO = "ST's tool is asked by the model what its input and output are"

FIXED: dict[str, tuple[Kind, str]] = {
    "general.logs_dir": ("better", _FOLDER),
    "general.saved_models_dir": ("better", _FOLDER),
    "general.display_figures": ("better", "pictures are files, in plots/; no window opens"),
    "general.gpu_memory_limit": ("none", "torch takes what it needs; smaller batches: data.batch_size"),
    "general.num_threads_tflite": ("none", "ONNX Runtime runs on all cores"),
    "general.config_path": ("none", "aed migrate that YAML: its front end and classes belong to the command, too"),
    "dataset.file_extension": ("better", "file names are read as they are; formats may be mixed"),
    "dataset.expand_last_dim": ("better", "patches have a channel where the net needs one"),
    "dataset.to_cache": ("better", "features are kept on disk, once for each file and front end"),
    "dataset.shuffle": ("better", "patches are shuffled; there whole batches, of neighbouring patches of few clips"),
    "dataset.batch_size": ("unread", "training.batch_size or general.batch_size was used"),
    "dataset.test_path": ("unread", "a test set of its own is data.clips.test_csv"),
    "preprocessing.lengthen": ("unread", "short clips were always repeated after their silence was removed, as here"),
    "training.model.input_shape": ("better", _SHAPE),
    "training.model.framework": ("better", "PyTorch"),
    "training.model.model_type": ("unread", "the name of the model says it"),
    "training.frozen_layers": ("unread", "model.tuning.frozen_layers freezes layers of a net that is fine-tuned"),
    "training.trained_model_path": ("better", _FOLDER),
    "training.dryrun": ("none", "trainer.fast_dev_run=true stages=[fit] tries one batch"),
    "custom_data_augmentation": ("unread", "a key without effect there"),
    "quantization.quantizer": ("better", "one model format, ONNX, and one quantiser, ONNX Runtime's"),
    "quantization.export_dir": ("better", _FOLDER),
    "quantization.target_opset": ("better", "it is 17"),
    "quantization.optimize": ("better", "quantization.repair tries equalisation and more, only if int8 is worse"),
    "dataset.quantization_split": (
        "better",
        "quantization.n_calibration=200 patches, as many of each class; there a share of the batches, the first ones",
    ),
    "quantization.operating_mode": ("better", "quantization.repair and quantization.float_layers, where int8 is worse"),
    "evaluation.gen_npy_input": ("none", "aed.load(model) gives patches and posteriors as arrays"),
    "evaluation.gen_npy_output": ("none", "test_clips.csv has the posteriors of every clip"),
    "evaluation.npy_in_name": ("none", "no .npy is written"),
    "evaluation.npy_out_name": ("none", "no .npy is written"),
    "prediction.seed": ("unread", "nothing is random in a prediction"),
    "tools.stedgeai.version": ("better", "the newest on offer; benchmark.cloud.version=... asks for another"),
    "tools.stedgeai.path_to_loader": ("none", "aed evaluate on=board finds ST's tools by itself"),
    "deployment.IDE": ("better", "GCC of STM32CubeIDE, as there"),
    "deployment.verbosity": ("unread", "it changed nothing"),
    "deployment.hardware_setup.serie": ("better", "the board says it"),
    **{
        f"{section}.{key}": ("better", _BOARD_IO)
        for section in ("evaluation", "prediction")
        for key in ("input_type", "output_type", "input_chpos", "output_chpos")
    },
    "evaluation.profile": ("better", "the tool's default for the board; benchmark.stedgeai.neural_art=... is another"),
    "prediction.profile": ("better", "the tool's default for the board; benchmark.stedgeai.neural_art=... is another"),
}
"""Key -> what becomes of it, whatever its value is."""

_FRONTEND = {
    "preprocessing": "min_length max_length target_rate top_db frame_length hop_length trim_last_second",
    "feature_extraction": "patch_length n_mels overlap n_fft hop_length window_length window center pad_mode power "
    "fmin fmax norm htk to_db include_last_patch",
}
FRONTEND = frozenset(f"{section}.{key}" for section, keys in _FRONTEND.items() for key in keys.split())
"""Keys of the front end that are read."""

_READ = {
    "": "operation_mode",
    "general": "project_name model_path global_seed deterministic_ops batch_size",
    "dataset": "name class_names classes_file_path validation_split test_split multi_label use_garbage_class "
    "n_samples_per_garbage_class seed training_audio_path training_csv_path validation_audio_path "
    "validation_csv_path test_audio_path test_csv_path quantization_audio_path quantization_csv_path",
    "dataset_specific.fsd50k": "csv_folder dev_audio_folder eval_audio_folder audioset_ontology_path "
    "only_keep_monolabel",
    "data_augmentation.GaussianNoise": "enable scale",
    "data_augmentation.VolumeAugment": "enable min_scale max_scale",
    "data_augmentation.SpecAug": "enable freq_mask_param time_mask_param n_freq_mask n_time_mask mask_value",
    "training.model": "name version embedding_size n_stacks pooling pretrained_weights",
    "training": "batch_size epochs dropout fine_tune resume_training_from optimizer initial_learning patience "
    "learning_rate_scheduler restore_best_weights",
    "quantization": "quantize evaluate quantization_type quantization_input_type quantization_output_type granularity "
    "onnx_extra_options",
    "evaluation": "target",
    "prediction": "test_files_path target",
    "tools": "path_to_cubeIDE",
    "tools.stedgeai": "optimization on_cloud path_to_stedgeai",
    "benchmarking": "board",
    "deployment": "c_project_path build_conf unknown_class_threshold",
    "deployment.hardware_setup": "board stlink_serial_number",
    "mlflow": "uri",
}
READ = FRONTEND | {f"{section}.{key}".lstrip(".") for section, keys in _READ.items() for key in keys.split()}
"""Keys whose values decide something."""

KEYS = frozenset(READ | FIXED.keys())
"""All keys of ST's zoo, by the names of version 3, but those of :data:`OPEN`."""

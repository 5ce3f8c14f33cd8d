"""Configurations of ST's zoo made from its key lists: each generation with all the keys it has, and shorter ones."""

import copy
from typing import Any

import yaml

CLASSES = ["dog", "Rain", "clock_tick"]

_FEATURES = (
    "patch_length: 96, n_mels: 64, overlap: 0.25, n_fft: 512, hop_length: 160, window_length: 400, window: hann, "
    "center: False, pad_mode: constant, power: 1.0, fmin: 125, fmax: 7500, norm: None, htk: True, to_db: False, "
    "include_last_patch: False"
)
_TIME = (
    "min_length: 1, max_length: 10, target_rate: 16000, top_db: 60, frame_length: 3200, hop_length: 3200, "
    "trim_last_second: False, lengthen: after"
)

V3 = f"""
general: {{project_name: my project, model_path: , logs_dir: logs, saved_models_dir: saved, deterministic_ops: True,
  display_figures: False, global_seed: 7, gpu_memory_limit: 5, batch_size: 8, num_threads_tflite: 4}}
operation_mode: chain_tbqeb
dataset: {{name: custom, class_names: {CLASSES}, file_extension: .wav, training_audio_path: audio,
  training_csv_path: meta\\train.csv, validation_audio_path: audio, validation_csv_path: meta/val.csv,
  validation_split: 0.1, test_audio_path: audio, test_csv_path: meta/test.csv, quantization_audio_path: audio,
  quantization_csv_path: meta/train.csv, quantization_split: 0.3, multi_label: False, use_garbage_class: True,
  n_samples_per_garbage_class: 2, expand_last_dim: True, seed: 9, to_cache: True, shuffle: True, batch_size: 4}}
dataset_specific:
  fsd50k: {{csv_folder: x/FSD50K.ground_truth, dev_audio_folder: x/FSD50K.dev_audio,
    eval_audio_folder: x/FSD50K.eval_audio, audioset_ontology_path: o.json, only_keep_monolabel: True}}
preprocessing: {{{_TIME}}}
feature_extraction: {{{_FEATURES}}}
data_augmentation:
  GaussianNoise: {{enable: True, scale: "1./10"}}
  VolumeAugment: {{enable: True, min_scale: 0.8, max_scale: 1.25}}
  SpecAug: {{enable: True, freq_mask_param: 3, time_mask_param: 4, n_freq_mask: 1, n_time_mask: 2, mask_value: 0}}
custom_data_augmentation: x
training:
  model: {{name: miniresnet, version: v2, n_stacks: 2, pooling: None, embedding_size: 256, input_shape: "(64, 96, 1)",
    pretrained_weights: False}}
  batch_size: 10-2
  epochs: 3
  dropout: 0.2
  fine_tune: True
  frozen_layers: x
  optimizer:
    SGD: {{learning_rate: 1e-2, momentum: 0.9, nesterov: True, clipnorm: 1.0}}
  callbacks:
    LRWarmupCosineDecay: {{initial_lr: 0.001, warmup_steps: 1, max_lr: 0.005, hold_steps: 1, decay_steps: 2,
      end_lr: 0.0, verbose: 1}}
    EarlyStopping: {{monitor: val_loss, patience: 3, restore_best_weights: True}}
    TerminateOnNaN: {{verbose: 1}}
  trained_model_path: x.h5
quantization: {{quantizer: onnx_quantizer, quantization_type: PTQ, quantization_input_type: int8,
  quantization_output_type: int8, export_dir: q, granularity: per_tensor, optimize: True, target_opset: 17,
  extra_options: calib_moving_average, op_types_to_quantize: [Conv, Relu]}}
evaluation: {{gen_npy_input: False, gen_npy_output: False, npy_in_name: a, npy_out_name: b, target: stedgeai_n6}}
prediction: {{test_files_path: recordings, seed: 1, target: host}}
tools:
  stedgeai: {{version: 10.0.0, optimization: ram, on_cloud: False, path_to_stedgeai: /opt/stedgeai}}
  path_to_cubeIDE: /opt/ide
benchmarking: {{board: STM32H747I-DISCO}}
deployment:
  c_project_path: ../application_code/sensing_thread_x/STM32U5
  IDE: GCC
  verbosity: 1
  hardware_setup: {{serie: STM32U5, board: B-U585I-IOT02A, stlink_serial_number: "0123"}}
  build_conf: Debug
  unknown_class_threshold: 0.0
mlflow: {{uri: "http://127.0.0.1:5000"}}
hydra:
  run: {{dir: "./out/${{now:%Y_%m_%d}}"}}
"""

V2023 = f"""
general: {{project_name: AED, logs_dir: logs, saved_models_dir: saved}}
train_parameters: {{batch_size: 16, training_epochs: 4, optimizer: adam, initial_learning: 0.002, patience: 20,
  learning_rate_scheduler: reducelronplateau, restore_best_weights: True}}
dataset: {{name: esc10, class_names: {CLASSES}, audio_path: "..\\\\audio", csv_path: meta/esc50.csv,
  file_extension: .wav, validation_split: 0.1, test_split: 0.2, test_path: x,
  use_other_class: True, n_samples_per_other_class: 2}}
dataset_specific:
# a section of comments alone
pre_processing: {{{_TIME}}}
feature_extraction: {{{_FEATURES}}}
data_augmentation: {{GaussianNoise: 0.1, VolumeAugment: True, min_scale: 0.8, max_scale: 1.2, SpecAug: False,
  freq_mask_param: 1, time_mask_param: 1, n_freq_mask: 3, n_time_mask: 4, mask_value: 0}}
model: {{model_type: {{name: yamnet, embedding_size: 256}}, input_shape: [64, 96], expand_last_dim: True,
  transfer_learning: True, fine_tune: False, dropout: 0, multi_label: False}}
quantization: {{quantize: True, evaluate: True, quantizer: TFlite_converter, quantization_type: PTQ,
  quantization_input_type: int8, quantization_output_type: float, export_dir: q}}
stm32ai: {{version: 7.3.0, optimization: balanced, footprints_on_target: B-U585I-IOT02A, c_project_path: ../threadx,
  serie: STM32U5, IDE: GCC, verbosity: 1, path_to_stm32ai: 'C:\\x\\stm32ai.exe', path_to_cubeIDE: C:/x}}
mlflow: {{uri: ./mlruns}}
hydra: {{run: {{dir: outputs}}}}
"""

V4 = f"""
general: {{project_name: aed, global_seed: 120, display_figures: True}}
operation_mode: chain_tqeb
model: {{framework: tf, model_name: yamnet_e256, model_type: x, input_shape: "(64, 96, 1)", pretrained: True}}
dataset: {{dataset_name: ESC10, class_names: {CLASSES}, classes_file_path: classes.txt, file_extension: .wav,
  training_audio_path: "${{AUDIO}}/audio", training_csv_path: meta/esc50.csv, prediction_audio_path: recordings,
  quantization_split: , validation_split: 0, multi_label: False, use_garbage_class: False,
  n_samples_per_garbage_class: 2, seed: 0, to_cache: True, shuffle: True}}
preprocessing: {{{_TIME}}}
feature_extraction: {{{_FEATURES}}}
training:
  batch_size: 16
  epochs: 50
  dropout: 0
  fine_tune: False
  resume_training:
  dryrun: False
  optimizer: "Adam(learning_rate=0.003, beta_1=0.8)"
  callbacks:
    ReduceLROnPlateau: {{monitor: val_accuracy, mode: max, factor: 0.5, patience: 5, min_lr: 1e-05}}
quantization:
  quantizer: onnx_quantizer
  quantization_type: PTQ
  operating_mode: default
  onnx_quant_parameters: {{op_types_to_quantize: [Conv], weightType: Int4}}
  onnx_extra_options: {{CalibMovingAverage: True, SmoothQuant: True}}
  iterative_quant_parameters: {{accuracy_tolerance: 1}}
evaluation: {{target: host, profile: profile_O3, input_type: int8, output_type: float32, input_chpos: chfirst,
  output_chpos: chfirst}}
prediction: {{target: host, profile: p, input_type: int8, output_type: int8, input_chpos: chlast, output_chpos: chlast}}
tools:
  stedgeai: {{on_cloud: True, path_to_stedgeai: "C:/ST/STEdgeAI/<x.y>/stedgeai.exe", path_to_loader: l.py}}
benchmarking: {{board: stm32n6570-dk}}
mlflow: {{uri: ./mlruns}}
"""

FULL = {"2023": V2023, "v3": V3, "v4": V4}
"""Generation -> a configuration with its keys."""

ON_TARGET = """
general: {model_path: a/m.onnx, config_path: a/c.yaml, training_audio_path: audio, training_csv_path: meta/esc50.csv}
parameters: {profile: p, input_type: int8, output_type: float32, input_chpos: chfirst, output_chpos: chfirst,
  evaluation_target: stedgeai_n6}
"""
"""Of the script of version 3 that evaluates on a board."""


def changed(generation: str, **values: Any) -> str:
    """A full configuration with other values of keys, dots written as two underscores; ``...`` takes a key away."""
    tree = copy.deepcopy(yaml.safe_load(FULL[generation]))
    for name, value in values.items():
        *sections, key = name.split("__")
        node = tree
        for section in sections:
            node = node.setdefault(section, {})
        if value is ...:
            node.pop(key, None)
        else:
            node[key] = value
    return yaml.safe_dump(tree, sort_keys=False)


def paths(tree: Any, prefix: str = "") -> list[str]:
    """Whole keys of the values that are there."""
    if not isinstance(tree, dict):
        return [prefix] if tree is not None else []
    return [path for key, value in tree.items() for path in paths(value, f"{prefix}.{key}" if prefix else key)]

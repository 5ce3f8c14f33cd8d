"""FrontendConfig: what it refuses, what follows from it, which changes make another front end."""

import json
import math
import re
from collections.abc import Callable
from dataclasses import FrozenInstanceError, asdict, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aed.base.errors import AedError
from aed.dsp import PRESETS, FrontendConfig
from aed.dsp import frontend as frontend_module
from aed.dsp.logmel import LogMel

YAMNET, MINIRESNET = PRESETS["yamnet_64x96"], PRESETS["miniresnet_64x50"]
FIELDS = [field.name for field in fields(FrontendConfig)]
PATCH_FIELDS = {"patch_frames", "overlap", "include_last_patch"}

POSITIVE = (
    *("sample_rate", "max_length_s", "trim_top_db", "trim_frame_length", "trim_hop_length", "n_fft", "win_length"),
    *("hop_length", "power", "trained_rate", "n_mels", "patch_frames", "db_ref", "log_std"),
)
REFUSED: list[tuple[str, Any, dict[str, Any]]] = [
    *((name, value, {}) for name in POSITIVE for value in (0, -1)),
    *(
        (name, math.nan, {})
        for name in ("trim_top_db", "power", "min_length_s", "max_length_s", "log_offset", "db_ref", "log_mean")
    ),
    ("cut", "never", {}),
    ("lengthen", "never", {}),
    ("trim", "both", {}),
    ("pad_mode", "wrap", {}),
    ("mel_scale", "bark", {}),
    ("norm", "l1", {}),
    *(("sample_bits", value, {}) for value in (7, 25, 16.0, True)),
    ("min_length_s", -0.5, {}),
    ("win_length", 513, {"n_fft": 512}),
    *(("pre_emphasis", value, {}) for value in (-0.1, 1.0)),
    ("trained_rate", 32000.0, {}),
    ("overlap", 1.0, {}),
    ("overlap", -0.25, {}),
    ("log_offset", -1e-9, {}),
    ("trim_hop_length", 3201, {"trim": "aligned", "trim_frame_length": 3200}),
    ("f_min", -1.0, {}),
    ("f_min", 7500.0, {"f_max": 7500.0}),
    ("f_min", math.nan, {}),
    ("f_max", 8000.5, {"sample_rate": 16000}),
    ("f_max", 16000.5, {"trained_rate": 32000}),
    ("f_max", 100.0, {"f_min": 125.0}),
    ("power", 1.5, {"to_db": True}),
    ("max_length_s", 0.5, {"min_length_s": 1.0}),
    ("min_length_s", 0.5, {"lengthen": "after"}),
    ("window", "hanm", {}),
    ("n_mels", 128, {"n_fft": 512}),
    ("n_fft", 256, {"win_length": 256, "n_mels": 64}),
]

OTHER_VALUES: dict[str, Any] = {
    "sample_rate": 22050,
    "min_length_s": 1.5,
    "max_length_s": 9.0,
    "cut": "after",
    "lengthen": "before",
    "trim": "compatible",
    "trim_top_db": 59.0,
    "trim_frame_length": 3201,
    "trim_hop_length": 1600,
    "trim_last_second": True,
    "sample_bits": None,
    "n_fft": 640,
    "win_length": 512,
    "hop_length": 161,
    "window": "hamming",
    "center": True,
    "pad_mode": "reflect",
    "pre_emphasis": 0.97,
    "power": 2.0,
    "trained_rate": 32000,
    "n_mels": 40,
    "f_min": 20.0,
    "f_max": 8000.0,
    "mel_scale": "slaney",
    "norm": "slaney",
    "to_db": True,
    "log_offset": 1e-3,
    "db_ref": 1.0,
    "log_mean": -4.5,
    "log_std": 5.0,
    "patch_frames": 50,
    "overlap": 0.5,
    "include_last_patch": True,
}


def st_sections(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The two YAML sections of an ST configuration for one of its front ends, every key."""
    own = {
        "yamnet": {"patch_length": 96, "n_fft": 512, "hop_length": 160, "window_length": 400, "center": False},
        "miniresnet": {"patch_length": 50, "n_fft": 1024, "hop_length": 320, "window_length": 1024, "center": True},
    }[name]
    compression = {
        "yamnet": {"power": 1.0, "fmin": 125, "norm": "None", "htk": True, "to_db": False},
        "miniresnet": {"power": 2.0, "fmin": 20, "norm": "slaney", "htk": False, "to_db": True},
    }[name]
    preprocessing = {
        "min_length": {"yamnet": 1, "miniresnet": 2}[name],
        "max_length": 10,
        "target_rate": 16000,
        "top_db": 60,
        "frame_length": 3200,
        "hop_length": 3200,
        "trim_last_second": False,
        "lengthen": "after",
    }
    shared = {"n_mels": 64, "overlap": 0.25, "window": "hann", "pad_mode": "constant", "fmax": 7500}
    return preprocessing, {**own, **compression, **shared, "include_last_patch": False}


@pytest.mark.parametrize(("name", "value", "others"), REFUSED)
def test_refusal_names_field_and_received_value(name: str, value: Any, others: dict[str, Any]) -> None:
    with pytest.raises(AedError) as error:
        FrontendConfig(**{name: value, **others})
    message = str(error.value)
    assert message.startswith("frontend")
    assert name in message
    assert (repr(value) if isinstance(value, str) else str(value)) in message


@pytest.mark.parametrize("name", ["power", "log_offset", "db_ref"])
def test_infinite_value_is_refused(name: str) -> None:
    with pytest.raises(AedError, match=f"frontend.{name}.*inf"):
        FrontendConfig(**{name: math.inf})


def test_every_numeric_or_chosen_field_has_a_refused_value() -> None:
    unlimited = {"trim_last_second", "center", "to_db", "include_last_patch"}
    assert {name for name, _, _ in REFUSED} == set(FIELDS) - unlimited


@pytest.mark.parametrize(
    "values",
    [
        {"min_length_s": 0.0, "lengthen": "before"},
        {"max_length_s": 1.0},
        {"win_length": 512},
        {"overlap": 0.0},
        {"overlap": 0.999},
        {"log_offset": 0.0},
        {"f_min": 0.0},
        {"f_max": 8000.0},
        {"power": 0.5},
        {"to_db": True, "power": 1.0},
        {"to_db": True, "power": 2.0},
        {"trim_hop_length": 6400, "trim": "compatible"},
        {"trim_hop_length": 6400, "trim": "none"},
        {"min_length_s": 0.982},
    ],
)
def test_edge_of_range_is_accepted(values: dict[str, Any]) -> None:
    config = FrontendConfig(**values)
    assert all(getattr(config, name) == value for name, value in values.items())


def advised_seconds(message: str) -> float:
    found = re.search(r"use at least (\S+) s", message)
    assert found
    return float(found[1])


@settings(deadline=None, derandomize=True, max_examples=100)
@given(
    patch_frames=st.integers(10, 300),
    hop_length=st.sampled_from([80, 128, 160, 256, 320, 441]),
    sample_rate=st.sampled_from([16000, 22050, 44100, 48000]),
    center=st.booleans(),
)
def test_advised_min_length_is_accepted(patch_frames: int, hop_length: int, sample_rate: int, center: bool) -> None:
    values: dict[str, Any] = {
        "patch_frames": patch_frames,
        "hop_length": hop_length,
        "sample_rate": sample_rate,
        "center": center,
        "max_length_s": 100.0,
        "n_mels": 16,
    }
    with pytest.raises(AedError) as error:
        FrontendConfig(**values, min_length_s=0.0)
    FrontendConfig(**values, min_length_s=advised_seconds(str(error.value)))


def test_patch_geometry_of_presets() -> None:
    assert (YAMNET.patch_hop, YAMNET.patch_samples, YAMNET.min_clip_samples) == (72, 15712, 15712)
    assert (MINIRESNET.patch_hop, MINIRESNET.patch_samples, MINIRESNET.min_clip_samples) == (38, 16704, 15680)


@pytest.mark.parametrize(
    ("patch_frames", "overlap", "hop"), [(96, 0.0, 96), (96, 0.5, 48), (50, 0.25, 38), (10, 0.99, 1), (1, 0.9, 1)]
)
def test_patch_hop_is_what_the_floored_overlap_leaves(patch_frames: int, overlap: float, hop: int) -> None:
    assert replace(YAMNET, patch_frames=patch_frames, overlap=overlap).patch_hop == hop


@pytest.mark.parametrize(
    ("config", "num_samples", "num_frames"),
    [
        (YAMNET, 0, 0),
        (YAMNET, 511, 0),
        (YAMNET, 512, 1),
        (YAMNET, 671, 1),
        (YAMNET, 672, 2),
        (YAMNET, 16000, 97),
        (YAMNET, 80000, 497),
        (MINIRESNET, 319, 1),
        (MINIRESNET, 320, 2),
        (MINIRESNET, 32000, 101),
        (MINIRESNET, 80000, 251),
    ],
)
def test_num_frames(config: FrontendConfig, num_samples: int, num_frames: int) -> None:
    assert config.num_frames(num_samples) == num_frames


def spectrogram_frames(config: FrontendConfig, num_samples: int) -> int:
    return LogMel(config)(torch.zeros(num_samples)).shape[-1]


@settings(deadline=None, derandomize=True, max_examples=60)
@given(
    num_samples=st.integers(300, 3000),
    n_fft=st.integers(128, 260).map(lambda half: 2 * half),
    hop_length=st.integers(1, 400),
    center=st.booleans(),
)
def test_num_frames_is_what_the_spectrogram_has(num_samples: int, n_fft: int, hop_length: int, center: bool) -> None:
    num_samples = max(num_samples, n_fft)
    bands = {"n_fft": n_fft, "win_length": n_fft, "n_mels": 8, "patch_frames": 1}
    config = replace(YAMNET, **bands, hop_length=hop_length, center=center)
    assert config.num_frames(num_samples) == spectrogram_frames(config, num_samples)


def test_num_frames_of_odd_fft_with_center_is_what_the_spectrogram_has() -> None:
    config = replace(YAMNET, n_fft=513, center=True)
    assert [config.num_frames(n) for n in (16000, 16001)] == [spectrogram_frames(config, n) for n in (16000, 16001)]


@pytest.mark.parametrize("config", [YAMNET, MINIRESNET, replace(YAMNET, hop_length=123), replace(YAMNET, center=True)])
def test_min_clip_samples_is_the_shortest_clip_with_a_patch(config: FrontendConfig) -> None:
    shortest = config.min_clip_samples
    assert config.num_frames(shortest) == config.patch_frames
    assert config.num_frames(shortest - 1) == config.patch_frames - 1


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, []),
        ({"to_db": True, "db_ref": 1.0}, []),
        ({"to_db": True, "db_ref": 1.0, "log_offset": 0.0}, []),
        ({"db_ref": None}, []),
        ({"center": True}, ["center=true"]),
        ({"to_db": True}, ["db_ref=null"]),
        ({"log_offset": 0.0}, ["log_offset=0"]),
        ({"center": True, "to_db": True}, ["center=true", "db_ref=null"]),
        ({"center": True, "log_offset": 0.0}, ["center=true", "log_offset=0"]),
    ],
)
def test_streamable_unless_a_named_field_forbids_it(values: dict[str, Any], words: list[str]) -> None:
    config = replace(YAMNET, **values)
    assert [reason.split()[0] for reason in config.not_streamable] == words
    assert config.streamable is not bool(words)


@pytest.mark.parametrize(
    ("values", "value"),
    [
        ({}, math.log(1e-4)),
        ({"log_offset": 1e-3}, math.log(1e-3)),
        ({"log_offset": 0.0}, -126 * math.log(2)),  # ln of FLT_MIN = 2^-126
        ({"power": 2.0}, math.log(1e-4)),
        ({"to_db": True}, -80.0),
        ({"to_db": True, "power": 2.0, "db_ref": 1.0}, -100.0),
        ({"to_db": True, "power": 1.0, "db_ref": 1.0}, -100.0),
        ({"to_db": True, "power": 2.0, "db_ref": 100.0}, -120.0),
        ({"to_db": True, "power": 1.0, "db_ref": 100.0}, -140.0),
    ],
)
def test_value_of_silence(values: dict[str, Any], value: float) -> None:
    assert replace(YAMNET, **values).silence == pytest.approx(value, abs=1e-6)


def measured_gain(config: FrontendConfig, gain: float) -> np.ndarray:
    """What the gain adds to the features of white noise, so loud that offset and floors do not show."""
    wave = torch.from_numpy(np.random.default_rng(5).standard_normal(8000).astype(np.float32)) * 1e3
    logmel = LogMel(config)
    return (logmel(wave * gain) - logmel(wave)).numpy()


@pytest.mark.parametrize("gain", [0.25, 0.8, 1.0, 2.0])
@pytest.mark.parametrize(
    "values",
    [
        {"power": 1.0},
        {"power": 2.0},
        {"power": 0.5},
        {"to_db": True, "power": 1.0, "db_ref": 1.0},
        {"to_db": True, "power": 2.0, "db_ref": 0.01},
    ],
)
def test_gain_term_is_what_a_louder_recording_shows(values: dict[str, Any], gain: float) -> None:
    config = replace(YAMNET, **values, log_offset=1e-9, sample_bits=None)
    assert measured_gain(config, gain) == pytest.approx(config.gain_term(gain), abs=2e-5)


@pytest.mark.parametrize("power", [1.0, 2.0])
def test_gain_term_of_clip_relative_db_is_what_a_fixed_reference_would_show(power: float) -> None:
    config = replace(YAMNET, to_db=True, db_ref=None, power=power, sample_bits=None)
    assert measured_gain(config, 2.0) == pytest.approx(0, abs=2e-5)
    assert config.gain_term(2.0) == replace(config, db_ref=1.0).gain_term(2.0)


def test_other_values_cover_every_field() -> None:
    assert list(OTHER_VALUES) == FIELDS
    assert all(getattr(YAMNET, name) != value for name, value in OTHER_VALUES.items())


@pytest.mark.parametrize("name", [name for name in FIELDS if name not in PATCH_FIELDS])
def test_feature_key_changes_with_a_field_that_can_change_the_logmel(name: str) -> None:
    others = {"f_max": 7000.0} if name == "sample_rate" else {}
    assert replace(YAMNET, **{name: OTHER_VALUES[name]}).feature_key != replace(YAMNET, **others).feature_key


@pytest.mark.parametrize("name", sorted(PATCH_FIELDS))
def test_feature_key_ignores_how_patches_are_cut(name: str) -> None:
    assert replace(YAMNET, **{name: OTHER_VALUES[name]}).feature_key == YAMNET.feature_key


def test_feature_keys_of_all_variants_differ_from_each_other() -> None:
    names = [name for name in FIELDS if name not in PATCH_FIELDS]
    keys = {replace(YAMNET, **{name: OTHER_VALUES[name]}).feature_key for name in names}
    assert len(keys) == len(names)


def test_feature_key_changes_with_the_version_of_the_code(monkeypatch: pytest.MonkeyPatch) -> None:
    before = YAMNET.feature_key
    monkeypatch.setattr(frontend_module, "FEATURES_VERSION", frontend_module.FEATURES_VERSION + 1)
    assert YAMNET.feature_key != before


def test_feature_key_is_a_sha256_in_hex() -> None:
    assert re.fullmatch("[0-9a-f]{64}", YAMNET.feature_key)


def test_equal_front_ends_have_one_feature_key() -> None:
    whole, decimal = replace(YAMNET, f_min=125, min_length_s=1), replace(YAMNET, f_min=125.0, min_length_s=1.0)
    assert whole == decimal
    assert whole.feature_key == decimal.feature_key


@pytest.mark.parametrize("config", [*PRESETS.values(), FrontendConfig(**OTHER_VALUES)])
def test_from_dict_restores_what_json_wrote(config: FrontendConfig) -> None:
    again = FrontendConfig.from_dict(json.loads(json.dumps(asdict(config))))
    assert again == config
    assert again.feature_key == config.feature_key


def test_from_dict_names_unknown_keys() -> None:
    with pytest.raises(AedError, match=r"\['dither', 'n_ftt'\].*n_fft"):
        FrontendConfig.from_dict({"n_ftt": 512, "sample_rate": 16000, "dither": 0})


def test_from_dict_checks_values() -> None:
    with pytest.raises(AedError, match="hop_length"):
        FrontendConfig.from_dict({"hop_length": 0})


ST_TO_OURS: list[tuple[int, str, Any, str, Any]] = [
    (0, "target_rate", 22050, "sample_rate", 22050),
    (0, "min_length", 3, "min_length_s", 3),
    (0, "max_length", 7, "max_length_s", 7),
    (0, "top_db", 30, "trim_top_db", 30),
    (0, "frame_length", 4096, "trim_frame_length", 4096),
    (0, "hop_length", 1024, "trim_hop_length", 1024),
    (0, "lengthen", "before", "lengthen", "before"),
    (0, "trim_last_second", True, "trim_last_second", True),
    (1, "patch_length", 64, "patch_frames", 64),
    (1, "n_mels", 40, "n_mels", 40),
    (1, "overlap", 0.5, "overlap", 0.5),
    (1, "n_fft", 600, "n_fft", 600),
    (1, "hop_length", 150, "hop_length", 150),
    (1, "window_length", 320, "win_length", 320),
    (1, "window", "hamming", "window", "hamming"),
    (1, "center", True, "center", True),
    (1, "pad_mode", "reflect", "pad_mode", "reflect"),
    (1, "power", 2.0, "power", 2.0),
    (1, "fmin", 60, "f_min", 60),
    (1, "fmax", 6000, "f_max", 6000),
    (1, "norm", "slaney", "norm", "slaney"),
    (1, "norm", None, "norm", None),
    (1, "htk", False, "mel_scale", "slaney"),
    (1, "to_db", True, "to_db", True),
    (1, "include_last_patch", True, "include_last_patch", True),
]


@pytest.mark.parametrize(("section", "key", "value", "field", "expected"), ST_TO_OURS)
def test_from_st_carries_every_key_over(section: int, key: str, value: Any, field: str, expected: Any) -> None:
    sections = st_sections("yamnet")
    usual = FrontendConfig.from_st(*sections)
    sections[section][key] = value
    assert FrontendConfig.from_st(*sections) == replace(usual, **{field: expected})


def test_from_st_cases_cover_every_key_of_the_yaml() -> None:
    keys = {(index, key) for index, section in enumerate(st_sections("yamnet")) for key in section}
    assert {(section, key) for section, key, *_ in ST_TO_OURS} == keys


@pytest.mark.parametrize(("name", "preset"), [("yamnet", YAMNET), ("miniresnet", MINIRESNET)])
def test_from_st_of_published_front_end_is_the_preset_with_compatible_trimming(
    name: str, preset: FrontendConfig
) -> None:
    assert FrontendConfig.from_st(*st_sections(name)) == replace(preset, trim="compatible", sample_bits=None)


@pytest.mark.parametrize("name", ["yamnet", "miniresnet"])
def test_from_st_agrees_with_the_parameters_of_the_golden_arrays(golden: Path, name: str) -> None:
    recorded = json.loads((golden / "feature_params.json").read_text(encoding="utf-8"))[name]
    renamed = {"spec_hop_length": (1, "hop_length"), "win_length": (1, "window_length")}
    sections = st_sections(name)
    time_domain = {key for key in sections[0] if key != "lengthen"}
    own: tuple[dict[str, Any], dict[str, Any]] = ({"lengthen": "after"}, {})
    for key, value in recorded.items():
        if key != "power_to_db_ref":
            section, own_key = renamed.get(key, (0 if key in time_domain else 1, key))
            own[section][own_key] = value
    assert FrontendConfig.from_st(*own) == FrontendConfig.from_st(*sections)
    assert recorded["power_to_db_ref"] == "np.max" and FrontendConfig.from_st(*own).db_ref is None


@pytest.mark.parametrize("name", ["yamnet", "miniresnet"])
def test_from_st_since_version_4_has_another_offset_and_cuts_after_trimming(name: str) -> None:
    sections = st_sections(name)
    before = FrontendConfig.from_st(*sections)
    for index, key, value in (
        (0, "lengthen", "before"),
        (0, "trim_last_second", True),
        (1, "include_last_patch", True),
    ):
        sections[index][key] = value
    assert FrontendConfig.from_st(*sections, since_v4=True) == replace(before, log_offset=1e-6, cut="after")


@pytest.mark.parametrize("section", [0, 1])
def test_from_st_names_an_unknown_key(section: int) -> None:
    sections = st_sections("yamnet")
    sections[section]["n_fttt"] = 512
    with pytest.raises(AedError, match="'n_fttt'"):
        FrontendConfig.from_st(*sections)


def test_from_st_lists_every_key_it_knows_in_its_refusal() -> None:
    with pytest.raises(AedError) as error:
        FrontendConfig.from_st({"unheard_of": 1}, {})
    keys = {key for section in st_sections("yamnet") for key in section}
    assert {key for key in keys if f"'{key}'" not in str(error.value)} == set()


def test_from_st_checks_values() -> None:
    preprocessing, features = st_sections("yamnet")
    with pytest.raises(AedError, match="overlap"):
        FrontendConfig.from_st(preprocessing, {**features, "overlap": 1.0})


def test_from_st_leaves_the_given_sections_alone() -> None:
    sections = st_sections("yamnet")
    FrontendConfig.from_st(*sections)
    assert sections == st_sections("yamnet")


def test_config_is_hashable_by_value() -> None:
    assert len({FrontendConfig(), FrontendConfig(), replace(FrontendConfig(), n_mels=40)}) == 2


def test_config_is_frozen() -> None:
    config = FrontendConfig()
    for name, value in OTHER_VALUES.items():
        with pytest.raises(FrozenInstanceError):
            setattr(config, name, value)


def test_values_are_given_by_name() -> None:
    build: Callable[..., FrontendConfig] = FrontendConfig
    with pytest.raises(TypeError):
        build(16000)


def test_presets_are_named_after_their_patches() -> None:
    assert all(name.endswith(f"_{config.n_mels}x{config.patch_frames}") for name, config in PRESETS.items())
    zoo, google = {"yamnet_64x96", "miniresnet_64x50"}, {"yamnet_google_64x96"}
    assert set(PRESETS) == zoo | google | {"mn_96x96", "mn_96x192", "mn_96x496", "mn_128x496", "mn_32k_128x500"}


def test_presets_for_16_khz_run_on_a_stream_but_for_miniresnet() -> None:
    assert {name for name, config in PRESETS.items() if not config.streamable} == {"miniresnet_64x50", "mn_32k_128x500"}
    assert [reason.split("=")[0] for reason in MINIRESNET.not_streamable] == ["center", "db_ref"]


@pytest.mark.parametrize("config", PRESETS.values())
def test_presets_trim_without_losing_events(config: FrontendConfig) -> None:
    assert config.trim == ("none" if config.min_length_s == 5 else "aligned")  # of 5 s: whole clips


@pytest.mark.parametrize("value", [160.0, 1.5, True, "160"])
def test_a_whole_number_is_asked_for_where_samples_are_counted(value: object) -> None:
    with pytest.raises(AedError, match=r"hop_length.*whole number"):
        replace(YAMNET, hop_length=value)


def test_log_offset_that_float32_cannot_hold_is_refused() -> None:
    with pytest.raises(AedError, match="log_offset"):
        replace(YAMNET, log_offset=1e-40)

"""Streams made of clips: noise, loud runs, ambient recordings by split, sections, files that the verb writes."""

import csv
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import islice, pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import tiny
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import welch

from aed.base.errors import AedError
from aed.datamodules import Segments
from aed.datamodules.soundscapes.backgrounds import Backgrounds, ambient_files
from aed.datamodules.soundscapes.mixing import Soundscape, SoundscapeConfig
from aed.datamodules.soundscapes.runs import loud_runs
from aed.datamodules.sources.annotations import read_reference
from aed.datamodules.sources.sections import backgrounds
from aed.dsp.noise import SLOPES, coloured_noise
from aed.run.soundscapes import write_soundscapes

RATE = 16000


def level_db(samples: np.ndarray) -> float:
    return float(10 * np.log10(np.mean(np.square(samples, dtype=np.float64))))


# ---- noise ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("colour", SLOPES)
def test_power_of_noise_falls_as_its_colour_says(colour: str) -> None:
    noise = coloured_noise(20 * RATE, RATE, colour, np.random.default_rng(1))
    frequency, power = welch(noise, RATE, nperseg=4096)
    band = (frequency > 100) & (frequency < 6000)
    slope, _ = np.polyfit(np.log2(frequency[band]), 10 * np.log10(power[band]), 1)
    assert slope == pytest.approx(-3.01 * SLOPES[colour], abs=0.2)
    assert level_db(noise) == pytest.approx(0, abs=1e-3)


def test_a_room_is_dull_and_hums() -> None:
    hums = 0
    for seed in range(5):
        noise = coloured_noise(10 * RATE, RATE, "room", np.random.default_rng(seed))
        frequency, power = welch(noise, RATE, nperseg=RATE)
        assert power[frequency > 4000].max() < 1e-2 * power[(frequency > 20) & (frequency < 200)].max()
        lines = [number * mains for mains in (50, 60) for number in range(1, 6)]
        hums += any(power[line] > 4 * np.median(power[line - 8 : line + 9]) for line in lines)
    assert hums >= 4  # the hum may be 20 dB under the rest


@pytest.mark.parametrize("num_samples", [2, 3, 17])
@pytest.mark.parametrize("colour", [*SLOPES, "room"])
def test_short_noise_is_sound(colour: str, num_samples: int) -> None:
    noise = coloured_noise(num_samples, RATE, colour, np.random.default_rng(0))
    assert noise.shape == (num_samples,) and noise.dtype == np.float32 and np.isfinite(noise).all()
    assert level_db(noise) == pytest.approx(0, abs=1e-3)


# ---- loud runs -----------------------------------------------------------------------------------------------


def test_loud_runs_are_those_that_were_put_in() -> None:
    wave = np.full(5 * RATE, 1e-4, np.float32)
    for start, stop in ((0.5, 1.0), (1.3, 1.6), (3.0, 3.4)):  # the first pause is short, the second is not
        wave[int(start * RATE) : int(stop * RATE)] = 0.5
    assert loud_runs(wave, RATE) == [(RATE // 2, int(1.6 * RATE)), (3 * RATE, int(3.4 * RATE))]


@pytest.mark.parametrize(("quiet_db", "runs"), [(-29, 1), (-31, 2)])
def test_loud_is_within_30_db_of_the_loudest(quiet_db: float, runs: int) -> None:
    wave = np.full(3 * RATE, 10 ** (quiet_db / 20), np.float32)
    wave[:RATE] = wave[2 * RATE :] = 1.0
    assert len(loud_runs(wave, RATE)) == runs


@pytest.mark.parametrize("length", [0, 1, 1600, 1601])
def test_silence_has_no_loud_run_and_a_short_sound_has_one(length: int) -> None:
    assert loud_runs(np.zeros(length, np.float32), RATE) == []
    assert loud_runs(np.ones(length, np.float32), RATE) == ([(0, length)] if length else [])


# ---- ambient recordings --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ambient(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 recordings of half a second in two folders, and one that is silent."""
    folder, generator = tmp_path_factory.mktemp("ambient"), np.random.default_rng(0)
    for number in range(40):
        path = folder / ("street" if number % 2 else "hall") / f"{number}.wav"
        path.parent.mkdir(exist_ok=True)
        sf.write(path, generator.normal(0, 0.1, 4000), 8000)
    sf.write(folder / "street" / "silent.wav", np.zeros(4000), 8000)
    return folder


def test_an_ambient_recording_is_in_one_split_by_its_content(ambient: Path, tmp_path: Path) -> None:
    parts = {split: ambient_files(ambient, split) for split in ("train", "val", "test")}
    assert sorted(path for own in parts.values() for path in own) == sorted(ambient.rglob("*.wav"))
    contents = {split: {path.read_bytes() for path in own} for split, own in parts.items()}
    other = tmp_path / "renamed"
    other.mkdir()
    for number, path in enumerate(sorted(ambient.rglob("*.wav"), reverse=True)):
        shutil.copy(path, other / f"x{number}.wav")
        shutil.copy(path, other / f"copy of x{number}.wav")
    for split, own in contents.items():
        assert {path.read_bytes() for path in ambient_files(other, split)} == own
    assert not contents["train"] & contents["test"] and not contents["val"] & contents["test"]


def test_folders_of_splits_say_which(ambient: Path, tmp_path: Path) -> None:
    files = sorted(ambient.rglob("*.wav"))[:3]
    for path, split in zip(files, ("train", "val", "test"), strict=True):
        (tmp_path / split / "deep").mkdir(parents=True)
        shutil.copy(path, tmp_path / split / "deep")
    for path, split in zip(files, ("train", "val", "test"), strict=True):
        assert [own.name for own in ambient_files(tmp_path, split)] == [path.name]
    shutil.copy(files[0], tmp_path / "test" / "again.wav")
    with pytest.raises(AedError, match="is the same recording as"):
        ambient_files(tmp_path, "train")
    (tmp_path / "test" / "again.wav").unlink()
    (tmp_path / "street").mkdir()
    with pytest.raises(AedError, match="and street; move it into one of them"):
        ambient_files(tmp_path, "train")


def test_ambient_that_cannot_be_had_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AedError, match=r"ambient: .* is no folder"):
        ambient_files(tmp_path / "nowhere", "test")
    with pytest.raises(AedError, match="has 0 recordings, none for test"):
        ambient_files(tmp_path, "test")
    sf.write(tmp_path / "silent.wav", np.zeros(800), 8000)
    with pytest.raises(AedError, match=r"100 pieces of .* were silent or unreadable"):
        Backgrounds(RATE, [tmp_path / "silent.wav"], tmp_path).draw(RATE, np.random.default_rng(0))


def test_a_background_is_made_of_pieces_of_one_folder(ambient: Path) -> None:
    backgrounds = Backgrounds(RATE, ambient_files(ambient, "train"), ambient)
    for seed in range(6):
        samples, pieces = backgrounds.draw(4 * RATE, np.random.default_rng(seed))
        assert samples.shape == (4 * RATE,) and level_db(samples) == pytest.approx(0, abs=1e-3)
        assert len({Path(piece.name).parent for piece in pieces}) == 1
        assert [piece.onset_s for piece in pieces] == sorted({piece.onset_s for piece in pieces}) and not pieces[
            0
        ].onset_s
        quarters = [level_db(part) for part in np.split(samples, 16)]
        assert max(quarters) - min(quarters) < 3  # no piece is missing


# ---- sections ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, tuple[str, ...]]:
    """Clips of 3 s whose loud second begins after 1 s; the classes have other frequencies."""
    folder, made = tmp_path_factory.mktemp("clips"), {}
    time = np.arange(RATE) / RATE
    for number in range(6):
        wave = np.zeros(3 * RATE)
        wave[RATE : 2 * RATE] = 0.25 * np.sin(2 * np.pi * (500 + 1000 * (number % 2)) * time)
        path = folder / f"{number}.wav"
        sf.write(path, wave, RATE)
        made[path] = ("low",) if number % 2 == 0 else ("high",)
    return made


Make = Callable[..., Soundscape]


@pytest.fixture(scope="module")
def make(clips: dict[Path, tuple[str, ...]]) -> Make:
    def soundscape(split: str = "test", seed: int = 0, **config: object) -> Soundscape:
        return Soundscape(clips, split, SoundscapeConfig(**config), RATE, 10.0, seed)  # type: ignore[arg-type]

    return soundscape


def test_events_and_backgrounds_have_their_levels(make: Make) -> None:
    soundscape = make(events_a_minute=12, level_dbfs=(-50, -50), snr_db=(15, 15))
    for section in soundscape.sections(120 * RATE):
        assert section.events
        busy = np.zeros(len(section.samples), bool)
        for event in section.events:
            inside = slice(round(event.onset_s * RATE), round(event.offset_s * RATE))
            busy[inside] = True
            assert event.offset_s - event.onset_s == pytest.approx(1.0) and event.clip_onset_s == 1.0
            assert level_db(section.samples[inside]) == pytest.approx(-35, abs=1)
            spectrum = np.abs(np.fft.rfft(section.samples[inside]))
            assert 20 + int(spectrum[20:].argmax()) == {"low": 500, "high": 1500}[event.labels[0]]
        assert level_db(section.samples[~busy]) == pytest.approx(-50, abs=2)
        assert section.level_dbfs == pytest.approx(-50)


@given(
    seed=st.integers(0, 10**6), rate=st.floats(0, 30), minutes=st.floats(0.02, 4), longest=st.sampled_from([None, 0.3])
)
@settings(max_examples=15, deadline=None)
@pytest.mark.usefixtures("computes")
def test_sections_fill_the_stream_and_hold_their_events(
    make: Make, seed: int, rate: float, minutes: float, longest: float | None
) -> None:
    num_samples = round(minutes * 60 * RATE)
    soundscape = make(seed=seed, events_a_minute=rate, longest_event_s=longest, section_s=(5, 20))
    sections = list(soundscape.sections(num_samples))
    assert sum(len(section.samples) for section in sections) == num_samples
    for section in sections:
        assert np.abs(section.samples).max() <= 1
        times = [(event.onset_s, event.offset_s) for event in section.events]
        flat = [time for pair in times for time in pair]
        assert flat == sorted(flat) and min(flat, default=0) >= 0
        assert max(flat, default=0) <= len(section.samples) / RATE
        assert all(later[0] - earlier[1] > 0.499 for earlier, later in pairwise(times))


@pytest.mark.usefixtures("computes")
def test_a_section_depends_on_seed_stream_split_and_number_alone(make: Make) -> None:
    def third(length: int = 300, stream: int = 0, **of: object) -> np.ndarray:
        soundscape = make(**of)
        return next(islice(soundscape.sections(length * RATE, stream), 2, None)).samples

    assert np.array_equal(third(), third()) and np.array_equal(third(), third(length=500))
    for other in (third(stream=1), third(seed=1), third(split="val")):
        assert not np.array_equal(third()[:1000], other[:1000])


@pytest.mark.usefixtures("computes")
def test_the_rate_of_events_is_what_was_asked_for(make: Make) -> None:
    number = sum(len(section.events) for section in make(events_a_minute=6).sections(3600 * RATE))
    assert abs(number - 360) < 30  # of each section only whether the last, partial one occurs is drawn
    assert not any(section.events for section in make(events_a_minute=0).sections(300 * RATE))


@pytest.mark.usefixtures("computes")
def test_events_are_the_clips_of_the_split(make: Make, clips: dict[Path, tuple[str, ...]]) -> None:
    events = [event for section in make(events_a_minute=12).sections(1800 * RATE) for event in section.events]
    assert {event.clip for event in events} == set(clips)
    assert all(event.labels == clips[event.clip] for event in events)
    low = sum(event.labels == ("low",) for event in events) / len(events)
    assert 0.4 < low < 0.6


def test_what_would_be_too_loud_is_made_quieter_and_noted(make: Make) -> None:
    config = {"events_a_minute": 12, "level_dbfs": (-15, -15), "snr_db": (40, 40), "overlap": True}
    events = [event for section in make(**config).sections(60 * RATE) for event in section.events]
    assert events and all(event.snr_db < 15 for event in events)  # a sine of peak 0.9 has -3.9 dBFS


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"events_a_minute": 40}, "40 events of 1.0 s fill 67% of the time"),
        ({"events_a_minute": -1}, "events_a_minute: need 0 to 600"),
        ({"snr_db": (20.0, 0.0)}, "snr_db: need a lowest and a highest value"),
        ({"section_s": (30.0,)}, "section_s: need a lowest and a highest value"),
        ({"level_dbfs": (-60.0, 0.0)}, "level_dbfs: need a lowest"),
        ({"longest_event_s": 0.0}, "longest_event_s: need at least 0.1 s"),
        ({"noise_share": 2.0}, "noise_share: need a share"),
    ],
)
def test_streams_that_cannot_be_are_refused(make: Make, config: dict[str, object], words: str) -> None:
    with pytest.raises(AedError, match=words):
        make(**config)


def test_silent_clips_are_refused(tmp_path: Path) -> None:
    sf.write(tmp_path / "silent.wav", np.zeros(RATE), RATE)
    with pytest.raises(AedError, match="the clips of dog are silent or cannot be read"):
        Soundscape({tmp_path / "silent.wav": ("dog",)}, "test", SoundscapeConfig(), RATE, 10.0)
    with pytest.raises(AedError, match="it has no clip of a class"):
        Soundscape({}, "test", SoundscapeConfig(), RATE, 10.0)


# ---- files ---------------------------------------------------------------------------------------------------


def rows(path: Path, delimiter: str = ",") -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file, delimiter=delimiter))


@pytest.fixture
def written(tmp_path: Path) -> Path:
    folder = tmp_path / "streams"
    config = SoundscapeConfig(events_a_minute=10, longest_event_s=0.5, section_s=(10, 20))
    write_soundscapes(partial(tiny.data, test_fold=2), tiny.FRONTEND, str(folder), "test", 0.05, 1.0, config, seed=4)
    return folder


def test_files_are_the_stream_in_16_bits(written: Path) -> None:
    soundscape = tiny.data(test_fold=2, seed=4).soundscape(
        "test", SoundscapeConfig(events_a_minute=10, longest_event_s=0.5, section_s=(10, 20))
    )
    assert sorted(path.name for path in written.glob("*.wav")) == [f"test_000{number}.wav" for number in range(3)]
    for number in range(3):
        info = sf.info(written / f"test_000{number}.wav")
        assert (info.subtype, info.samplerate, info.channels, info.frames) == ("PCM_16", RATE, 1, 60 * RATE)
        whole = np.concatenate([section.samples for section in soundscape.sections(60 * RATE, number)])
        stored, _ = sf.read(written / f"test_000{number}.wav", dtype="float32")
        assert np.abs(stored - whole).max() <= 1 / 32768


def test_lists_say_what_occurs_and_how_it_was_made(written: Path) -> None:
    reference, events = rows(written / "reference.tsv", "\t"), rows(written / "events.csv")
    facts, sections = json.loads((written / "soundscape.json").read_text()), rows(written / "sections.csv")
    assert len(reference) == len(events) == facts["events"] > 10 and len(sections) == facts["sections"]
    module = tiny.data(test_fold=2)
    labels = {str(row.path): row.labels[0] for row in module.table.itertuples() if row.split == "test"}
    for row in events:
        assert labels[row["clip"]] == row["event_label"]
        own = [part for part in sections if part["filename"] == row["filename"]]
        inside = [part for part in own if float(part["onset"]) <= float(row["onset"]) < float(part["offset"])]
        background_db = float(inside[0]["level_dbfs"])
        assert float(row["level_dbfs"]) - float(row["snr_db"]) == pytest.approx(background_db, abs=0.01)
    places = backgrounds(sorted(written.glob("*.wav")))
    for name, pieces in zip(sorted(path.name for path in written.glob("*.wav")), places, strict=True):
        own = [(float(part["onset"]), part["background"]) for part in sections if part["filename"] == name]
        assert pieces == own  # noise is of one piece
    recordings = sorted(written.glob("*.wav"))
    read = read_reference(written / "reference.tsv", recordings, [60.0] * 3)
    assert len(read) == len(events) and set(read["label"]) <= set(module.class_names)
    assert all(labels[row["clip"]] == row["label"] for _, row in read.iterrows())


def test_clips_of_classes_that_are_not_named_are_a_background() -> None:
    data = partial(tiny.data, test_fold=2, val_fold=3, class_names=["alarm", "hum"])
    config, heard = SoundscapeConfig(ambient="unused", noise_share=0.0, section_s=(5, 5)), {}
    for split in ("train", "val", "test"):
        module = data()
        sections = list(module.soundscape(split, config).sections(60 * RATE))
        heard[split] = {Path(piece.name).name for section in sections for piece in section.background}
        assert {event.labels for section in sections for event in section.events} <= {("alarm",), ("hum",)}
        files = {Path(row.path).name for row in module.recordings.itertuples() if row.labels == ("rain",)}
        assert heard[split] and heard[split] <= files
    assert not heard["train"] & heard["val"] and not heard["val"] & heard["test"] and not heard["train"] & heard["test"]
    with pytest.raises(AedError, match="ambient=unused: every class is used"):
        tiny.data(test_fold=2).soundscape("test", config)
    with pytest.raises(AedError, match=r"ambient=unused: .* has no val clip"):
        tiny.data(test_fold=2, class_names=["alarm", "hum"]).soundscape("val", replace(config, events_a_minute=0.0))


def test_overlapping_events_of_a_class_are_one_and_a_quiet_file_has_a_row(tmp_path: Path) -> None:
    folder = tmp_path / "streams"
    write = partial(write_soundscapes, partial(tiny.data, test_fold=2), tiny.FRONTEND, str(folder), "test", 1 / 60)
    write(config=SoundscapeConfig(events_a_minute=60, overlap=True))
    reference = rows(folder / "reference.tsv", "\t")
    assert 0 < len(reference) < len(rows(folder / "events.csv"))
    for label in {row["event_label"] for row in reference}:
        times = [float(row[key]) for row in reference if row["event_label"] == label for key in ("onset", "offset")]
        assert times == sorted(times)
    write(config=SoundscapeConfig(events_a_minute=0))  # replaces what it wrote
    assert (
        folder / "reference.tsv"
    ).read_text() == "filename\tonset\toffset\tevent_label\tclip\ntest_0000.wav\t\t\t\t\n"
    assert read_reference(folder / "reference.tsv", [folder / "test_0000.wav"], [60.0]).empty
    (folder / "reference.tsv").unlink()
    with pytest.raises(AedError, match="holds something else"):
        write(config=SoundscapeConfig(events_a_minute=0))


def test_a_split_that_is_not_there_and_recordings_with_events_are_refused(tmp_path: Path) -> None:
    with pytest.raises(AedError, match=r"no val clips as it is split; set data.val_fold"):
        tiny.data().soundscape("val", SoundscapeConfig())
    segments = Segments(str(tmp_path / "list.csv"), str(tmp_path))
    with pytest.raises(AedError, match="these are recordings with events"):
        tiny.PatchDataModule(segments, tiny.FRONTEND).soundscape("test", SoundscapeConfig())
    with pytest.raises(AedError, match="hours: need more than 0"):
        write_soundscapes(tiny.data, tiny.FRONTEND, str(tmp_path / "x"), hours=0)

"""The recorder: frames of the board's C through a line into a folder of sounds; what is lost or wrong on the way."""

import csv
import os
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from board import RATE, frame, frames, program, speech
from hypothesis import given, settings
from hypothesis import strategies as st
from test_emulator import arm  # noqa: F401

from aed.audio.board_frames import FrameReader
from aed.audio.serial_port import Port, open_port
from aed.base.errors import AedError
from aed.datamodules.sources.folder import Folder
from aed.run import record as recording
from aed.run.record import record
from aed.target.boards import load_board
from aed.target.emulator.qemu import run_program
from aed.target.emulator.toolchain import build, harness_sources
from aed.target.firmware.recorder import recorder_files

needs_gcc = pytest.mark.skipif(not shutil.which("gcc"), reason="apt-get install gcc libc6-dev")

# a board that loses 100 samples after every fifth block, of uneven sizes
MAIN = """
#include "aed_record.h"
%(includes)s
void aed_record_write(const uint8_t *bytes, size_t count) { %(write)s }
int main(void) {
    static aed_recorder recorder;
    static int16_t block[77];
    uint32_t number = 0U;
    size_t count;
    %(begin)s
    aed_recorder_init(&recorder, 16000U);
    while ((count = %(read)s / sizeof block[0]) > 0U) {
        aed_recorder_add(&recorder, block, count);
        if (++number %% 5U == 0U) {
            aed_recorder_lost(&recorder, 100U);
        }
    }
    return 0;
}
"""
ON_HOST = MAIN % {
    "includes": "#include <stdio.h>",
    "write": "(void)fwrite(bytes, 1, count, stdout);",
    "begin": "",
    "read": "2U * fread(block, sizeof block[0], 77U, stdin)",
}
ON_ARM = MAIN % {
    "includes": '#include "semihost.h"\nstatic int32_t to;',
    "write": "(void)aed_write(to, bytes, (uint32_t)count);",
    "begin": 'const int32_t from = aed_open("input.bin", 1);\n to = aed_open("output.bin", 5);',
    "read": "aed_read(from, block, sizeof block)",
}


def stream(samples: np.ndarray, **options) -> list[bytes]:
    return frames(samples, **options)


def file_of(parts: Sequence[bytes], folder: Path, name: str = "frames.bin") -> str:
    (folder / name).write_bytes(b"".join(parts))
    return str(folder / name)


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "record.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def live(parts: Sequence[bytes], seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """The parts come from a port, evenly over so many seconds of a clock of their own."""
    times = np.linspace(0, seconds, len(parts) + 1)[1:]

    @contextmanager
    def opened(name: str, baud: int) -> Iterator[Port]:
        yield Port(name, True, iter(list(zip(times.tolist(), parts, strict=True))))

    monkeypatch.setattr(recording, "open_port", opened)


# --- frames ----------------------------------------------------------------------------------------------------------


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.data())
def test_whole_frames_come_out_of_any_bytes_cut_anywhere(data):
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    sizes = data.draw(st.lists(st.integers(1, 40), min_size=1, max_size=8))
    sent = [rng.integers(-32768, 32768, size).astype(np.int16) for size in sizes]
    junk = st.sampled_from([b"", b"boot\r\n", b"\xae\xd5\xea", b"\xae\xd5\xea\x5d", frame(7, 7, sent[0])[:-1]])
    content = b"".join(data.draw(junk) + frame(number, 100 * number, samples) for number, samples in enumerate(sent))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(content)), max_size=6)))
    reader = FrameReader()
    pieces = [content[a:b] for a, b in zip([0, *cuts], [*cuts, len(content)], strict=True)]
    found = [one for piece in pieces for one in reader.feed(piece)]
    found += reader.feed(bytes(2000))  # what waits for the rest of a frame that never comes
    assert [one.number for one in found] == list(range(len(sent)))
    for one, samples in zip(found, sent, strict=True):
        np.testing.assert_array_equal(one.samples, samples)
        assert (one.position, one.rate_hz) == (100 * one.number, RATE)
    assert reader.frames == len(sent)
    reader.finish()
    whole = sum(24 + 2 * size for size in sizes)
    assert reader.stray_bytes == len(content) + 2000 - whole


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.integers(0, 343), st.integers(1, 255))
def test_a_changed_byte_costs_its_frame_and_no_other(at, change):
    parts = stream(speech(0.1))
    damaged = bytearray(parts[4])
    damaged[at] ^= change
    reader = FrameReader()
    found = list(reader.feed(b"".join([*parts[:4], bytes(damaged), *parts[5:]])))
    assert [one.number for one in found] == [0, 1, 2, 3, *range(5, 10)]
    assert reader.stray_bytes == 344


# --- the board's C ---------------------------------------------------------------------------------------------------


@needs_gcc
@pytest.mark.usefixtures("compiles")
def test_the_boards_loop_sends_the_frames_of_its_header(tmp_path):
    samples = speech(1)
    sent = subprocess.run([program(tmp_path / "c")], input=samples.tobytes(), capture_output=True, check=True).stdout
    assert sent == b"".join(stream(samples))


@needs_gcc
@pytest.mark.usefixtures("compiles", "arm")
@pytest.mark.parametrize("board", ["mps2-an505"])
def test_an_emulated_board_sends_the_bytes_of_this_machine(tmp_path, board):
    samples = speech(0.5)
    on_host = program(tmp_path / "host", ON_HOST)
    host = subprocess.run([on_host], input=samples.tobytes(), capture_output=True, check=True).stdout
    sources = {name: text for name, text in recorder_files().items() if name.startswith("aed_record")}
    sources |= harness_sources() | {"main.c": ON_ARM}
    sources = {name: text for name, text in sources.items() if "probe" not in name and name != "whole_net.h"}
    elf = build(tmp_path / "arm", sources, load_board(board))
    assert run_program(elf, tmp_path / "run", samples.tobytes(), load_board(board)) == host
    reader = FrameReader()
    found = list(reader.feed(host))
    blocks = range(0, len(samples), 77)
    lost = np.repeat(np.arange(len(blocks)) // 5 * 100, [len(samples[at : at + 77]) for at in blocks])
    at = 0
    for one in found:  # the last, incomplete frame is not sent
        assert one.position == at + lost[at]
        np.testing.assert_array_equal(one.samples, samples[at : at + len(one.samples)])
        at += len(one.samples)
    assert len(samples) - at < 160


@needs_gcc
@pytest.mark.usefixtures("compiles", "processes")
def test_a_board_at_a_port_is_recorded_sample_by_sample(tmp_path, monkeypatch):
    """A pseudo-terminal stands for the port, the board's C for the board, paced as a microphone paces it."""
    monkeypatch.setattr("aed.run.board_stream.LEAST_S", 0.2)
    monkeypatch.setattr(recording, "SETTLING_S", 0.1)
    monkeypatch.setattr(recording, "MEASURING_S", 0.3)
    samples = speech(2)
    board, port = os.openpty()
    path = os.ttyname(port)
    with subprocess.Popen([program(tmp_path / "c")], bufsize=0, stdin=subprocess.PIPE, stdout=board) as running:
        os.close(board)
        ready = threading.Event()

        def speak() -> None:
            ready.wait(10)
            assert running.stdin is not None
            with suppress(BrokenPipeError):  # killed below
                for at in range(0, len(samples), 160):
                    running.stdin.write(samples[at : at + 160].tobytes())
                    time.sleep(0.01)

        real = recording.open_port

        @contextmanager
        def opened(name: str, baud: int) -> Iterator[Port]:
            with real(name, baud) as found:
                ready.set()
                yield found

        monkeypatch.setattr(recording, "open_port", opened)
        speaker = threading.Thread(target=speak)
        speaker.start()
        folder = tmp_path / "sounds"
        [wav] = record(path, str(folder), "dog", seconds=1.0, checks="warn", baud=115200)
        running.kill()  # nobody reads it any more
        speaker.join()
    os.close(port)
    heard, rate = sf.read(wav, dtype="int16")
    assert rate == RATE and len(heard) == RATE
    windows = np.lib.stride_tricks.sliding_window_view(samples, RATE)[::160]
    assert (windows == heard).all(axis=1).sum() == 1  # whole frames, none lost, none twice
    [row] = rows(folder)
    assert row["category"] == "dog" and row["silence_s"] == "0.000" and float(row["measured_hz"]) > 0
    assert row["port"] == path


# --- gaps ------------------------------------------------------------------------------------------------------------


def test_lost_frames_are_never_joined(tmp_path, caplog):
    samples = speech(2)
    parts = stream(samples)
    damaged = bytearray(parts[80])
    damaged[30] ^= 1
    port = file_of([*parts[:80], bytes(damaged), b"printf\r\n", *parts[81:120], *parts[123:]], tmp_path)
    files = record(port, str(tmp_path / "s"), "dog", seconds=2)
    heard = [sf.read(path, dtype="int16")[0] for path in files]
    expected = [samples[: 80 * 160], samples[81 * 160 : 120 * 160], samples[123 * 160 :]]
    assert [len(one) for one in heard] == [len(one) for one in expected]
    assert all((one == other).all() for one, other in zip(heard, expected, strict=True))
    assert "4 frames (640 samples) lost on the line, 1 frames damaged, 352 bytes that belong to no frame" in caplog.text


def test_silence_keeps_the_time_and_is_said(tmp_path):
    samples = speech(2)
    parts = stream(samples)
    port = file_of([*parts[:50], *parts[60:]], tmp_path)
    [path] = record(port, str(tmp_path / "s"), "dog", seconds=2, gaps="silence")
    heard = sf.read(path, dtype="int16")[0]
    assert len(heard) == 32000 and not heard[8000:9600].any()
    np.testing.assert_array_equal(heard[9600:], samples[9600:])
    assert rows(tmp_path / "s")[0]["silence_s"] == "0.100"


def test_refused_clips_are_counted_and_the_command_fails(tmp_path):
    parts = stream(speech(3))
    port = file_of([*parts[:50], *parts[60:]], tmp_path)
    with pytest.raises(AedError, match=r"1 of 3 clips had gaps and are not saved \(gaps=refuse\); 2 are"):
        record(port, str(tmp_path / "s"), "dog", seconds=1, clips=3, gaps="refuse")
    assert len(rows(tmp_path / "s")) == 2


@pytest.mark.parametrize("gaps", ["cut", "silence"])
def test_a_board_that_begins_anew_is_cut_in_any_case(tmp_path, caplog, gaps):
    parts = stream(speech(1))
    port = file_of([*parts[:60], *parts[:60]], tmp_path)
    files = record(port, str(tmp_path / "s"), "dog", seconds=1.2, gaps=gaps)
    assert [len(sf.read(path)[0]) for path in files] == [9600, 9600]
    assert "1 times the board began anew" in caplog.text


def test_long_gaps_are_cut_and_short_pieces_left(tmp_path, caplog):
    samples = speech(6)
    parts = stream(samples)
    port = file_of([*parts[:50], *parts[52:60], *parts[300:]], tmp_path)
    files = record(port, str(tmp_path / "s"), "dog", seconds=6, gaps="silence")
    assert [len(sf.read(path)[0]) for path in files] == [9600, 48000]
    port = file_of([*parts[:50], *parts[52:60], *parts[300:]], tmp_path)
    files = record(port, str(tmp_path / "s"), "dog", seconds=6, gaps="cut")
    assert [len(sf.read(path)[0]) for path in files] == [8000, 48000]
    assert "1 pieces under 0.25 s between gaps are not kept" in caplog.text


def test_what_the_board_lost_is_a_gap_too(tmp_path, caplog):
    samples = speech(1)
    parts = [frame(0, 0, samples[:512]), *(frame(n, 512 * n + 300, samples[512 * n :][:512]) for n in range(1, 31))]
    files = record(file_of(parts, tmp_path), str(tmp_path / "s"), "dog", seconds=1)
    assert [len(sf.read(path)[0]) for path in files] == [30 * 512]
    assert "300 samples lost by the board" in caplog.text


def test_numbers_go_on_after_two_to_the_32(tmp_path):
    samples = speech(0.5)
    first = 2**32 - 3
    parts = [frame((first + n) % 2**32, (first + 160 * n) % 2**32, samples[160 * n :][:160]) for n in range(50)]
    [path] = record(file_of(parts, tmp_path), str(tmp_path / "s"), "dog", seconds=0.5)
    np.testing.assert_array_equal(sf.read(path, dtype="int16")[0], samples)


# --- rates and other faults ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "measured"), [(6.0, 16000), (6.1, 15738), (6.144, 15625), (3.0, 32000), (12, 8000)]
)
def test_the_announced_rate_is_held_against_that_of_arrival(tmp_path, monkeypatch, seconds, measured):
    live(stream(speech(6)), seconds, monkeypatch)
    if abs(measured / RATE - 1) < 0.02:
        record("/dev/x", str(tmp_path / "s"), "dog", seconds=3)
        assert float(rows(tmp_path / "s")[0]["measured_hz"]) == pytest.approx(measured, rel=1e-3)
        return
    with pytest.raises(AedError, match=f"announces 16000 Hz, but {measured} samples come a second"):
        record("/dev/x", str(tmp_path / "s"), "dog", seconds=3)
    assert not (tmp_path / "s").exists()
    live(stream(speech(6)), seconds, monkeypatch)
    record("/dev/x", str(tmp_path / "s"), "dog", seconds=1, checks="warn")
    assert len(rows(tmp_path / "s")) == 1


def test_what_a_board_kept_until_it_was_heard_is_not_its_rate(monkeypatch, tmp_path):
    parts = stream(speech(8))
    kept = [(0.001 * number, part) for number, part in enumerate(parts[:60])]
    later = [(0.1 + number / 100, part) for number, part in enumerate(parts[60:])]

    @contextmanager
    def opened(name: str, baud: int) -> Iterator[Port]:
        yield Port(name, True, iter([*kept, *later]))

    monkeypatch.setattr(recording, "open_port", opened)
    record("/dev/x", str(tmp_path / "s"), "dog", seconds=1)
    assert float(rows(tmp_path / "s")[0]["measured_hz"]) == pytest.approx(16000, rel=1e-3)


def test_a_board_that_begins_anew_all_the_time_is_given_up(monkeypatch):
    live(stream(speech(1)) * 40, 40, monkeypatch)
    with pytest.raises(AedError, match="begin anew all the time"):
        record("/dev/x")


def test_losses_do_not_lower_the_rate(monkeypatch, tmp_path):
    parts = [part if number % 3 else b"" for number, part in enumerate(stream(speech(6)))]
    live(parts, 6.0, monkeypatch)
    record("/dev/x", str(tmp_path / "s"), "dog", seconds=3, gaps="silence")
    assert float(rows(tmp_path / "s")[0]["measured_hz"]) == pytest.approx(16000, rel=2e-3)


def test_another_rate_than_asked_for_is_refused(tmp_path):
    with pytest.raises(AedError, match="announces 16000 Hz, 8000 Hz were asked for by rate="):
        record(file_of(stream(speech(1)), tmp_path), rate=8000)
    parts = [*stream(speech(1)), *stream(speech(1), rate_hz=8000)]
    with pytest.raises(AedError, match="announces 8000 Hz, 16000 Hz were announced before"):
        record(file_of(parts, tmp_path), seconds=2)


def test_sound_that_cannot_be_right_is_refused_or_said(tmp_path, caplog):
    swapped = speech(1).byteswap()
    port = file_of(stream(swapped), tmp_path)
    with pytest.raises(AedError, match=r"two bytes of a sample are swapped.*checks=warn saves it"):
        record(port, str(tmp_path / "s"), "dog", seconds=1)
    assert not (tmp_path / "s").exists()
    assert len(record(port, str(tmp_path / "s"), "dog", seconds=1, checks="warn")) == 1
    assert caplog.text.count("two bytes of a sample are swapped") == 1
    with pytest.raises(AedError, match="two bytes"):
        record(port, seconds=1)


def test_a_try_says_levels_and_faults(tmp_path, capsys, caplog):
    assert record(file_of(stream(speech(3)), tmp_path), seconds=3) == []
    said = capsys.readouterr().out
    assert said.startswith("16000 Hz announced; peak -12.") and "Nothing is wrong" in said
    record(file_of(stream(speech(3) // 64), tmp_path), seconds=3)
    assert "gain too low" in caplog.text and "Nothing" not in capsys.readouterr().out


# --- the folder ------------------------------------------------------------------------------------------------------


def test_data_folder_reads_what_was_recorded(tmp_path):
    sounds = tmp_path / "sounds"
    for seed, label in enumerate(("dog", "door bell")):
        port = file_of(stream(speech(2, seed=seed)), tmp_path)
        assert len(record(port, str(sounds), label, seconds=0.5, clips=3)) == 3
    table = Folder(str(sounds)).table()
    assert sorted(table["labels"]) == [("dog",)] * 3 + [("door bell",)] * 3
    listed = rows(sounds)
    assert sorted(str(sounds / row["filename"]) for row in listed) == sorted(map(str, table["path"]))
    assert {(row["rate_hz"], row["measured_hz"], row["seconds"]) for row in listed} == {("16000", "", "0.500")}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "serial: give the board's port"),
        ({"serial": "x", "label": "dog"}, "give both to record"),
        ({"serial": "x", "folder": "s", "label": "test"}, "for a split"),
        ({"serial": "x", "folder": "s", "label": "../dog"}, "cannot be the name"),
        ({"serial": "x", "clips": 0}, "clips: need at least 1"),
        ({"serial": "x", "gaps": "join"}, "gaps: need one of"),
        ({"serial": "x", "checks": "none"}, "checks: need one of"),
        ({"serial": "x", "seconds": 0.1}, "seconds: need 0.25 to 600"),
        ({"serial": "x", "seconds": float("nan")}, "seconds: need 0.25 to 600"),
        ({"serial": "x"}, "serial: x: No such file"),
        ({"serial": "."}, "is a folder"),
        ({"serial": "x", "firmware": "f"}, "leave serial, folder and label out"),
        ({"firmware": "f", "rate": 0}, "rate: need 1000 to 192000 Hz"),
        ({"serial": "empty"}, "empty: is empty"),
        ({"serial": "text"}, "text comes, no frames: 'hello, world'"),
        ({"serial": "noise"}, "3000 bytes came, no frame is in them"),
        ({"serial": "/dev/zero"}, "bytes came, no frame is in them"),
        ({"serial": "slow"}, "344 bytes came, no frame is in them"),
        ({"serial": "other"}, "frames of version 1 and format 3, need 1 and 1"),
        ({"serial": "damaged"}, "1 frames came, all damaged"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(tmp_path, monkeypatch, options, words):
    monkeypatch.chdir(tmp_path)
    one = frame(0, 0, speech(0.01))
    contents = {"empty": b"", "text": b"hello, world\r\n", "noise": np.random.default_rng(0).bytes(3000)}
    contents |= {"other": frame(0, 0, speech(0.01), form=(1, 3)), "damaged": one[:-1] + bytes([one[-1] ^ 1])}
    contents |= {"slow": frame(0, 0, speech(0.01), rate_hz=999)}
    for name, content in contents.items():
        Path(name).write_bytes(content)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(AedError, match=words.replace("(", r"\(")):
        record(**options)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_port_that_is_silent_or_stops_is_given_up(monkeypatch):
    for parts, words in (([b""] * 60, "nothing came in 5 s"), ([*stream(speech(1)), *[b""] * 900], "100 came before")):
        live(parts, 60 if len(parts) == 60 else 10, monkeypatch)
        with pytest.raises(AedError, match=words):
            record("/dev/x")


def test_a_port_is_raw_and_for_one_program(tmp_path):
    board, port = os.openpty()
    path = os.ttyname(port)
    every = bytes(range(256)) * 3
    try:
        with open_port(path, 115200) as opened:
            assert opened.is_live
            with pytest.raises(AedError, match="another program reads"), open_port(path, 115200):
                pass
            os.write(board, every)
            came = b""
            for _, content in opened.chunks:
                came += content
                if len(came) >= len(every):
                    break
        assert came == every
        with pytest.raises(AedError, match=r"baud: need one of 50, .*115200.*, got 12"), open_port(path, 12):
            pass
    finally:
        os.close(board)
        os.close(port)


def test_ctrl_c_saves_what_was_heard(tmp_path, monkeypatch):
    parts = stream(speech(4))

    def interrupted() -> Iterator[tuple[float, bytes]]:
        for number, part in enumerate(parts):
            yield number / 100, part
        raise KeyboardInterrupt

    @contextmanager
    def opened(name: str, baud: int) -> Iterator[Port]:
        yield Port(name, True, interrupted())

    monkeypatch.setattr(recording, "open_port", opened)
    [path] = record("/dev/x", str(tmp_path / "s"), "dog", seconds=30)
    assert len(sf.read(path)[0]) == RATE  # what is left after three seconds


# --- the command -----------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("processes")
def test_the_command_records_or_fails(tmp_path, forking):
    file_of(stream(speech(2)), tmp_path)
    command = [*forking, "aed.record", "folder=sounds", "label=dog", "seconds=2"]
    for port, code, words in (("frames.bin", 0, "sounds/dog/"), ("nothing", 1, "serial: nothing: No such file")):
        words_of = [*command, f"serial={port}"]
        done = subprocess.run(words_of, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == code and words in done.stdout + done.stderr, done.stderr


def test_the_boards_c_is_written_with_its_rate_and_never_over_something_else(tmp_path):
    assert record(firmware=str(tmp_path / "c"), rate=48000) == []
    assert sorted(path.name for path in (tmp_path / "c").iterdir()) == sorted(recorder_files())
    assert "#define RATE_HZ 48000U" in (tmp_path / "c" / "main.c").read_text()
    record(firmware=str(tmp_path / "c"))
    assert "#define RATE_HZ 16000U" in (tmp_path / "c" / "main.c").read_text()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "main.c").write_text("int main(void) { return 0; }")
    with pytest.raises(AedError, match="holds something else"):
        record(firmware=str(tmp_path / "mine"))


def test_with_a_prefix_all_names_are_renamed():
    texts = recorder_files(8000, "door_bell")
    assert sorted(texts) == ["README.md", "door_bell_record.c", "door_bell_record.h", "main.c"]
    left = [line for text in texts.values() for line in text.splitlines() if "aed" in line.replace("aed.record", "")]
    assert left == []


@needs_gcc
@pytest.mark.usefixtures("compiles")
def test_the_loop_of_the_page_compiles(tmp_path):
    page = (Path(__file__).parents[1] / "docs" / "recording.md").read_text(encoding="utf-8")
    (loop,) = re.findall(r"^<!-- compile -->\n```c\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    program(tmp_path)
    (tmp_path / "loop.c").write_text(loop)
    words = ["gcc", "-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-c", "loop.c"]
    subprocess.run(words, cwd=tmp_path, check=True)

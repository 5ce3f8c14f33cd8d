#!/usr/bin/env bash
# soundfile 0.14.0 (libsndfile 1.2.2): of an MP3 of variable bitrate whose first frame does not count the others (no
# Xing or LAME header, as encoders leave it that write to a pipe) `read()` gives the first part of the samples, with no
# error: libsndfile takes the first frame's bitrate for the mean, and gives no more samples than it so guessed. `frames`
# says the guess, `read(n)` and `blocks()` end there, too. Where the first frame is small, `frames` is too large instead.
#
# The file is valid: made by soundfile itself, then without its first frame, which holds the count and no sound. All of
# it comes of a file object that pretends to be 64 times as long.
#
# Output seen:
#   with the count: 136710 samples
#   without: 24277 of 138240 samples, as a file that pretends to be longer: 138240
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" -q --disable-pip-version-check install soundfile==0.14.0 numpy==2.4.2
cd "$work"
"$work/venv/bin/python" - <<'PY'
import io

import numpy as np
import soundfile as sf

time = np.arange(136710) / 44100
noise = np.random.default_rng(0).standard_normal(len(time))
wave = np.where(time < 0.4, 0.2 * noise, 0.1 * np.sin(2 * np.pi * 440 * time))
file = io.BytesIO()
sf.write(file, wave, 44100, format="MP3", bitrate_mode="VARIABLE")
counted = file.getvalue()
first_sound = counted.index(counted[:2], counted.index(b"Xing"))
bare = counted[first_sound:]

frames = position = 0
kbits = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
while position < len(bare):  # ISO 11172-3, layer III: 1152 samples a frame
    position += 144000 * kbits[bare[position + 2] >> 4] // 44100 + (bare[position + 2] >> 1 & 1)
    frames += 1
assert position == len(bare)


class Longer(io.RawIOBase):
    """Ends where it ends, but for the 128 bytes at its pretended end, where libmpg123 looks for a tag."""

    def __init__(self, content):
        self.content, self.position, self.size = content, 0, 64 * len(content)

    def seek(self, offset, whence=0):
        self.position = (0, self.position, self.size)[whence] + offset
        return self.position

    def tell(self):
        return self.position

    def readinto(self, buffer):
        found = self.content[self.position : self.position + len(buffer)]
        if self.position >= self.size - 128:
            found = bytes(min(len(buffer), self.size - self.position))
        buffer[: len(found)] = found
        self.position += len(found)
        return len(found)


class Forward(sf.SoundFile):
    """Without the seek after each block, for which the length would have to be right."""

    def seekable(self):
        return False


whole, part = (len(sf.read(io.BytesIO(content))[0]) for content in (counted, bare))
with Forward(Longer(bare)) as sound:
    longer = len(sound.read(10**6))
print(f"with the count: {whole} samples")
print(f"without: {part} of {1152 * frames} samples, as a file that pretends to be longer: {longer}")
assert whole == 136710 and part < 0.5 * whole and longer == 1152 * frames == 138240
PY

"""Nearness: how near a sound is to those of training, by cosines of embeddings; the same bits in Python and in C.

An embedding of an int8 model is counted in steps of its scale, which no cosine depends on: products and squares are
then whole numbers, and the few operations that round are named here in their order, each in float32. The C library has
the same ones (``aed_nearness.c``, ``aed_learn.c``).
"""

import base64
import binascii
import functools
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from aed.base.errors import AedError

Floats = npt.NDArray[np.float32]
Int8 = npt.NDArray[np.int8]
Int32 = npt.NDArray[np.int32]

UNIT = 2**15
"""Steps of a unit vector: the sum of 65,535 of them fits an int32."""

LARGEST_EMBEDDING = 2**15
"""Values: products of int8 means with steps of an int8 embedding then add up to less than an int32 holds."""


@dataclass(frozen=True)
class Nearness:
    """The means of a model's classes, and what they weigh in the decision that a sound is unknown.

    Args:
        weight: Share of the nearness in the score, the rest is the greatest posterior's; 0: the posterior decides.
        size: Values of an embedding.
        means: Directions of the means, ``(num_means, size)`` int8, in base64.
        learn_least: Cosine to a learned sound from which on it is heard; see :mod:`aed.scoring.learning`.
        learn_margin: What that cosine may be under the nearness.

    Raises:
        AedError: A value is out of its range.
    """

    weight: float
    size: int
    means: str
    learn_least: float = 1.0
    learn_margin: float = 0.0

    def __post_init__(self) -> None:
        for name, least in (("weight", 0), ("learn_least", -1), ("learn_margin", -1)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value <= 1:
                raise AedError(f"decision.nearness.{name}: need a number in [{least}, 1], got {value!r}")
        if not (isinstance(self.size, int) and 0 < self.size <= LARGEST_EMBEDDING):
            raise AedError(f"decision.nearness.size: need 1 to {LARGEST_EMBEDDING} values, got {self.size!r}")
        vectors = self.vectors
        if not len(vectors) or not vectors.any(axis=1).all():
            raise AedError("decision.nearness.means: need vectors that are not 0; export the model anew")

    @classmethod
    def of(cls, weight: float, vectors: Int8, limits: tuple[float, float] = (1.0, 0.0)) -> Self:
        """That of vectors ``(num_means, size)``, and of the limits of learned sounds."""
        means = base64.b64encode(vectors.astype(np.int8).tobytes()).decode()
        return cls(weight, int(vectors.shape[1]), means, *limits)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """That written by ``dataclasses.asdict``.

        Raises:
            AedError: A key is unknown or missing, or a value out of its range.
        """
        if set(values) != (names := {field.name for field in fields(cls)}):
            raise AedError(f"decision.nearness: need {sorted(names)}, got {sorted(values)}")
        return cls(**values)

    @property
    def vectors(self) -> Int8:
        """Directions of the means, ``(num_means, size)``."""
        return _vectors(self.means, self.size)

    def of_embeddings(self, embeddings: Floats) -> Floats:
        """The nearness of each embedding ``(rows, size)``: its greatest cosine to a mean, ``(rows,)``."""
        nearest: Floats = cosines(embeddings, self.vectors).max(axis=1)
        return nearest


@functools.lru_cache(maxsize=4)
def _vectors(means: str, size: int) -> Int8:
    try:
        content = base64.b64decode(means, validate=True)
    except (binascii.Error, ValueError, TypeError) as error:
        raise AedError("decision.nearness.means: damaged, no base64; export the model anew") from error
    if len(content) % size:
        raise AedError(
            f"decision.nearness.means: {len(content)} values are no vectors of {size}; export the model anew"
        )
    vectors = np.frombuffer(content, np.int8).reshape(-1, size)
    return vectors


def cosines(embeddings: Floats, vectors: Int8) -> Floats:
    """Cosines ``(rows, num_vectors)`` of embeddings to vectors; 0 where an embedding is 0.

    Products and squares are added up exactly where embeddings are steps, and rounded to float32 once; then a root of
    each sum of squares, their product, a quotient.

    Args:
        embeddings: ``(rows, size)``; of an int8 model steps, whole numbers from -255 to 255.
        vectors: ``(num_vectors, size)``, not 0.
    """
    wide, directions = embeddings.astype(np.float64), vectors.astype(np.float64)
    products = (wide @ directions.T).astype(np.float32)
    lengths = _lengths(wide)[:, None] * _lengths(directions)[None, :]
    zero = lengths == 0
    return np.where(zero, np.float32(0), products / np.where(zero, np.float32(1), lengths))


def _lengths(rows: npt.NDArray[np.float64]) -> Floats:
    """Length of each row, ``(rows,)``; a sum of squares that is a whole number has one value whatever the order."""
    lengths: Floats = np.sqrt((rows * rows).sum(axis=1).astype(np.float32))
    return lengths


def unit_steps(embeddings: Floats) -> Int32:
    """Embeddings ``(rows, size)`` brought to length 1, in steps of 1 / :data:`UNIT`; 0 where an embedding is 0."""
    lengths = _lengths(embeddings.astype(np.float64))
    factors = np.where(lengths > 0, np.float32(UNIT) / np.where(lengths > 0, lengths, np.float32(1)), np.float32(0))
    steps: Int32 = np.rint(embeddings.astype(np.float32) * factors[:, None]).astype(np.int32)
    return steps


def direction(total: Int32) -> Int8:
    """The direction of a sum of :func:`unit_steps` ``(size,)`` as int8: its greatest value becomes 127 or -127.

    Raises:
        AedError: The sum is 0.
    """
    most = int(np.abs(total.astype(np.int64)).max())
    if not most:
        raise AedError("nearness: the mean of these embeddings is 0; give sounds that the net hears something in")
    factor = np.float32(127) / np.float32(most)
    steps: Int8 = np.rint(total.astype(np.float32) * factor).astype(np.int8)
    return steps


def mean_direction(embeddings: Floats) -> Int8:
    """The mean of embeddings ``(rows, size)`` of length 1 as a direction ``(size,)``, at most 65,535 rows.

    Raises:
        AedError: There are none, or too many, or their mean is 0.
    """
    if not 0 < len(embeddings) < 2 * UNIT:
        raise AedError(f"nearness: need 1 to {2 * UNIT - 1} embeddings, got {len(embeddings)}")
    total: Int32 = unit_steps(embeddings).sum(axis=0, dtype=np.int64).astype(np.int32)
    return direction(total)


def blend(posterior: Floats, nearness: Floats, weight: float) -> Floats:
    """The score that decides what is unknown: ``(1 - weight) * posterior + weight * nearness``, each of them float32.

    Args:
        posterior: Greatest posterior of each row, ``(rows,)``.
        nearness: Of each row.
        weight: Of the nearness.
    """
    score: Floats = np.float32(1 - weight) * posterior + np.float32(weight) * nearness
    return score

"""C of the nearness to the classes, and of sounds that a device learns: tables, sizes and limits."""

import numpy as np

from aed.base.errors import AedError
from aed.export.card import ModelCard
from aed.scoring.nearness import Nearness
from aed.target.codegen.fixed import EXACT, fixed_sources
from aed.target.codegen.program import Tensor
from aed.target.codegen.text import c_float, c_lines

MOST_SOUNDS = 1000
"""That a device can learn."""


def check_learn(card: ModelCard, learn: int, prefix: str) -> None:
    """Refuses to learn with a model that cannot.

    Args:
        card: Of the model.
        learn: Sounds that a device can learn.
        prefix: Of the key, for messages: ``c.``.

    Raises:
        AedError: Says what to type.
    """
    if not 0 <= learn <= MOST_SOUNDS:
        raise AedError(f"{prefix}learn: need 0 to {MOST_SOUNDS} sounds, got {learn}")
    if learn and card.decision.nearness is None:
        raise AedError(f"{prefix}learn={learn}: the model has no means of its classes; train it with decision.means=4")


def mean_sources(nearness: Nearness, embedding: Tensor, learn: int) -> dict[str, str]:
    """File name -> content of the C of the nearness and, where sounds can be learned, of these.

    Args:
        nearness: Of the card.
        embedding: Of the net.
        learn: Sounds that a device can learn.

    Raises:
        AedError: The embedding is of another size.
    """
    vectors = nearness.vectors
    if vectors.shape[1] != embedding.size:
        raise AedError(
            f"the embedding has {embedding.size} values, the card's means {vectors.shape[1]}: export it anew"
        )
    names = (EXACT, "aed_nearness.h", "aed_nearness.c", *(("aed_learn.h", "aed_learn.c") if learn else ()))
    tables = {"aed_means.h": _header(nearness, embedding, learn), "aed_means.c": _source(nearness)}
    return tables | fixed_sources(names)


def learner_bytes(embedding: int, learn: int) -> int:
    """``sizeof(aed_learner)``."""
    return 4 * embedding + 4 + 4 * learn + -(-embedding * learn // 4) * 4


_LEARN = """
/* Sounds that can be learned. */
#define AED_LEARN {learn}

/* Cosine to a learned sound from which on it is heard, and what it may be under the nearness to the classes. */
#define AED_LEARN_LEAST ({least})
#define AED_LEARN_MARGIN ({margin})
"""


def _header(nearness: Nearness, embedding: Tensor, learn: int) -> str:
    limits = {"least": c_float(nearness.learn_least), "margin": c_float(nearness.learn_margin)}
    return f"""/* Generated: directions of the means of the classes, of embeddings of the net. */
#ifndef AED_MEANS_H
#define AED_MEANS_H

#include <stdint.h>

#define AED_MEANS {len(nearness.vectors)}

/* Of the embedding, the last values of an output of the net: how many, and the step that stands for 0. */
#define AED_EMBEDDING_SIZE {embedding.size}
#define AED_EMBEDDING_ZERO ({embedding.zero})
{_LEARN.format(learn=learn, **limits) if learn else ""}
#ifdef __cplusplus
extern "C" {{
#endif

extern const int8_t aed_means[AED_MEANS][AED_EMBEDDING_SIZE];
extern const float aed_mean_lengths[AED_MEANS];

#ifdef __cplusplus
}}
#endif

#endif
"""


def _source(nearness: Nearness) -> str:
    vectors = nearness.vectors
    rows = "\n".join(f"    {{\n{c_lines(map(str, vector.tolist()))}\n    }}," for vector in vectors)
    lengths = np.sqrt((vectors.astype(np.float64) ** 2).sum(axis=1).astype(np.float32))
    return f"""/* Generated: directions of the means of the classes. */
#include "aed_means.h"

const int8_t aed_means[AED_MEANS][AED_EMBEDDING_SIZE] = {{
{rows}
}};

const float aed_mean_lengths[AED_MEANS] = {{
{c_lines(map(c_float, lengths))}
}};
"""

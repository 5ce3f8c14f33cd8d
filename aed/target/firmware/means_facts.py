"""What the library's README says of the nearness to the classes and of sounds that a device learns."""

from aed.export.card import ModelCard
from aed.target.codegen.means import learner_bytes

_NEARNESS = """
What is unknown is decided by a score of which {share:g} % is the nearness: the greatest cosine of the net's embedding
to {means} means of the classes, which `aed_nearness` computes of an output of the net. `aed_decide`, `aed_clip_add`
and `aed_events_add` take it beside the probabilities.
"""

_LEARNING = """
## New sounds

The device learns up to {learn} sounds from examples (`aed_learn.h`): `aed_learn_begin`, `aed_learn_add` for the output
of each patch in which the sound is heard, `aed_learn_end` with its number. `aed_learn_cosines` compares an output with
all of them, and `aed_learned` says which of them is heard, -1 for none.
"""


def means_facts(card: ModelCard, embedding: int, learn: int) -> dict[str, str]:
    """Values of the README's template.

    Args:
        card: Of the model.
        embedding: Values that the net has an embedding of; 0: none.
        learn: Sounds that can be learned.
    """
    nearness = card.decision.nearness
    if nearness is None or not embedding:
        return {"nearness": "", "learning": "", "means": ""}
    number = len(nearness.vectors)
    rows = f"| means of the classes | {number * (embedding + 4):,} | flash |\n"
    if learn:
        rows += f"| learned sounds (`aed_learner`) | {learner_bytes(embedding, learn):,} | RAM, the caller's |\n"
    weighs = card.decision.by_nearness
    return {
        "nearness": _NEARNESS.format(share=100 * nearness.weight, means=number) if weighs else "",
        "learning": _LEARNING.format(learn=learn) if learn else "",
        "means": rows,
    }

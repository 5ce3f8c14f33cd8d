import json

import nets
import onnx
import pytest

from aed.base.errors import AedError
from aed.export.card import CARD_KEY, CARD_VERSION, ModelCard, Quantization, put_card, read_card

CARD = ModelCard(
    frontend=nets.FRONTEND,
    class_names=("dog", "Köter", "rain"),
    data={"name": "esc10", "clips": {"train": ["a.wav"], "test": ["b.wav"]}},
    metrics={"test/clip_acc": 0.9},
    weights={"file": "x.h5", "licence": "Apache-2.0"},
    versions={"torch": "2"},
    float_sha256="ab",
    quantization=Quantization(
        scheme={"per_channel": True, "repair": ["bias"]},
        calibration_clips=("a.wav",),
        io="int8",
        input_scale=0.05,
        input_zero_point=3,
        output_scale=0.1,
        output_zero_point=-128,
        float_layers=("head",),
    ),
)


def model_with(text: str) -> onnx.ModelProto:
    model = onnx.ModelProto()
    model.metadata_props.add(key="theirs", value="kept")
    model.metadata_props.add(key=CARD_KEY, value=text)
    return model


def test_a_card_survives_its_json():
    assert ModelCard.from_json(CARD.to_json(), "x") == CARD
    assert json.loads(CARD.to_json())["version"] == CARD_VERSION


def test_a_card_replaces_the_old_one_and_leaves_others_properties():
    model = model_with("old")
    put_card(model, CARD)
    assert read_card(model, "x") == CARD
    assert [(item.key, item.value) for item in model.metadata_props if item.key != CARD_KEY] == [("theirs", "kept")]
    assert len(model.metadata_props) == 2


def test_a_model_without_a_card_has_none():
    assert read_card(onnx.ModelProto(), "x") is None


def changed(**changes: object) -> str:
    return json.dumps(json.loads(CARD.to_json()) | changes)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (changed(version=CARD_VERSION + 1), "update aed"),
        ("{", "damaged"),
        ("[]", "damaged"),
        ("{}", "damaged"),
        (changed(version="new"), "damaged"),
        (changed(surprise=1), "damaged"),
        (changed(frontend={"n_mels": "many"}), "n_mels"),
        (changed(frontend={"colour": 1}), "colour"),
        (changed(class_names="dog"), "damaged"),
        (changed(class_names=[1, 2]), "damaged"),
        (changed(class_names=["a", "a", "a"]), "damaged .class_names: a twice"),
        (changed(class_names=["a", ""]), "class_names: need names that are texts and not empty"),
        (changed(outputs="guesses"), "damaged"),
        (changed(task="dance"), "damaged"),
        (changed(quantization={"io": "int4"}), "damaged"),
        (changed(quantization={"io": "int8"}), "damaged"),
    ],
)
def test_a_bad_card_says_what_to_do(text, message):
    with pytest.raises(AedError, match=message):
        read_card(model_with(text), "model.onnx")


def quantized(**changes: object) -> str:
    facts = json.loads(CARD.to_json())
    facts["quantization"] |= changes
    return json.dumps(facts)


@pytest.mark.parametrize(
    "text",
    [
        quantized(input_scale="abc"),
        quantized(input_scale=0),
        quantized(input_scale=float("nan")),
        quantized(output_scale=None),
        quantized(output_zero_point=200),
        quantized(input_zero_point=1.5),
        changed(data=[1]),
        changed(data={"name": "esc10"}),
        changed(metrics="good"),
        changed(frontend=[1]),
    ],
)
def test_numbers_that_cannot_be_used_are_refused(text):
    with pytest.raises(AedError, match=r"model\.onnx: its model card is damaged"):
        read_card(model_with(text), "model.onnx")


def test_an_end_that_stays_float_has_no_steps():
    text = quantized(io="float", input_scale=None, input_zero_point=None)
    card = read_card(model_with(text), "x")
    assert card and card.quantization and card.quantization.input_scale is None

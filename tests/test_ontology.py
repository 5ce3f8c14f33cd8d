"""Un-smearing against a brute-force search, on random graphs; the ontology's file."""

import json
import logging
import random
from pathlib import Path

import fsd50k_tree as tree
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aed.base.errors import AedError
from aed.datamodules.sources.ontology import Ontology

Graph = dict[str, list[str]]


@st.composite
def dags(draw: st.DrawFn) -> Graph:
    """Edges go from a smaller to a larger number, so there is no cycle; nodes have any number of parents."""
    size = draw(st.integers(1, 12))
    pairs = [(a, b) for a in range(size) for b in range(a + 1, size)]
    edges = draw(st.lists(st.sampled_from(pairs), max_size=25)) if pairs else []
    order = draw(st.permutations(range(size)))
    return {f"m{order[a]}": sorted({f"m{order[y]}" for x, y in edges if x == a}) for a in range(size)}


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Any graph, with cycles and loops."""
    nodes = [f"m{i}" for i in range(draw(st.integers(1, 8)))]
    return {node: draw(st.lists(st.sampled_from(nodes), max_size=4)) for node in nodes}


label_sets = st.lists(st.integers(0, 13).map(lambda i: f"m{i}"), min_size=1, max_size=8)  # some in no graph


def leads_to(graph: Graph, top: str, bottom: str, seen: frozenset[str] = frozenset()) -> bool:
    """Whether a path of one edge or more goes from ``top`` to ``bottom``."""
    below = [child for child in graph.get(top, []) if child not in seen]
    return bottom in below or any(leads_to(graph, child, bottom, seen | {child}) for child in below)


def brute_force(graph: Graph, labels: list[str]) -> set[str]:
    def above(top: str, bottom: str) -> bool:
        return leads_to(graph, top, bottom) and not leads_to(graph, bottom, top)

    return {label for label in labels if not any(above(label, other) for other in labels)}


@settings(deadline=None)
@given(dags() | graphs(), label_sets)
def test_unsmear_is_brute_force(graph: Graph, labels: list[str]) -> None:
    kept = Ontology(graph).unsmear(labels)
    assert set(kept) == brute_force(graph, labels)
    assert len(set(kept)) == len(kept) > 0


@settings(deadline=None)
@given(dags() | graphs(), label_sets, st.randoms(use_true_random=False))
def test_unsmear_is_idempotent_and_blind_to_order(graph: Graph, labels: list[str], shuffler: random.Random) -> None:
    ontology = Ontology(graph)
    kept = ontology.unsmear(labels)
    assert ontology.unsmear(kept) == kept
    shuffled = shuffler.sample(labels, len(labels))
    assert set(ontology.unsmear(shuffled)) == set(kept)


@settings(deadline=None)
@given(dags() | graphs())
def test_ancestors_and_descendants_are_one_relation(graph: Graph) -> None:
    ontology = Ontology(graph)
    for top in graph:
        assert ontology.descendants(top) == {node for node in graph if top in ontology.ancestors(node)}


@settings(deadline=None)
@given(dags(), label_sets)
def test_smearing_adds_nothing_that_unsmearing_keeps(graph: Graph, labels: list[str]) -> None:
    ontology = Ontology(graph)
    smeared = {above for label in labels for above in ontology.ancestors(label)} | set(labels)
    assert set(ontology.unsmear(sorted(smeared))) == set(ontology.unsmear(labels))


def test_direct_children_are_not_enough() -> None:
    """Between Vehicle and Bicycle is a class that no clip is labelled with."""
    labels = ["/m/0199g", "/m/07yv9"]
    direct = [mid for mid in labels if not set(tree.CHILDREN.get(mid, [])) & set(labels)]
    assert direct == ["/m/0199g", "/m/07yv9"]
    assert Ontology(tree.CHILDREN).unsmear(labels) == ("/m/0199g",)


def test_a_class_below_two_others_removes_both() -> None:
    published = [tree.VOCABULARY[name] for name in tree.SMEARED["Bicycle_bell"]]
    assert Ontology(tree.CHILDREN).unsmear(published) == (tree.VOCABULARY["Bicycle_bell"],)


def test_classes_on_a_cycle_stay_and_what_is_above_them_goes() -> None:
    ontology = Ontology({"top": ["a"], "a": ["b"], "b": ["a"]})
    assert ontology.unsmear(["b", "top", "a"]) == ("b", "a")


def test_many_sets_keep_their_order_and_strange_mids_are_counted_once(caplog: pytest.LogCaptureFixture) -> None:
    ontology = Ontology({"top": ["a"]})
    sets = [("top", "a"), ("x", "top"), ("top", "a"), ("y", "x"), ("top",)]
    with caplog.at_level(logging.WARNING):
        found = ontology.unsmear_all(sets)
    assert found == [("a",), ("x", "top"), ("a",), ("y", "x"), ("top",)]
    assert [record.getMessage() for record in caplog.records] == [
        "2 mids are not in the ontology and stay as they are, in 2 clips; e.g. x"
    ]


def test_a_file_is_read(tmp_path: Path) -> None:
    entries = [{"id": "/m/1", "name": "Höhe", "child_ids": ["/m/2"], "restrictions": []}]
    (tmp_path / "o.json").write_bytes(b"\xef\xbb\xbf" + json.dumps(entries, ensure_ascii=False).encode())
    ontology = Ontology.read(tmp_path / "o.json")
    assert ontology.ancestors("/m/2") == {"/m/1"}
    assert "/m/2" in ontology and "/m/3" not in ontology


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "{}", "3", "null", '["a"]', '{"a": 1}', '[{"id": "a"}]', '[{"id": 3, "child_ids": []}]',
     '[{"id": "a", "child_ids": "bc"}]', '[{"id": "a", "child_ids": [1]}]', '[{"id": [], "child_ids": []}]',
     "<html>", "[" * 100_000, "\udcff"],
)  # fmt: skip
def test_no_ontology_is_an_error_that_names_the_file(tmp_path: Path, text: str) -> None:
    (tmp_path / "o.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(AedError, match=r"o\.json.*"):
        Ontology.read(tmp_path / "o.json")


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    for path in (tmp_path / "gone.json", tmp_path):
        with pytest.raises(AedError, match=r"AudioSet's ontology\.json"):
            Ontology.read(path)

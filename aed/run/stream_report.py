"""Scores of streams as people read them."""

from collections.abc import Mapping, Sequence
from math import isnan
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from aed.dsp.gate import power_dbfs
from aed.inference.detection import Detector
from aed.scoring.duty import Duty
from aed.scoring.events.family import Choice, Shape
from aed.scoring.events.fitting import Fitted
from aed.scoring.events.stream import StreamScores, background_interval, tradeoff

if TYPE_CHECKING:
    from aed.target.load import Load

HEADS = ("class", "events", "found", "recall", "again", "background", "an hour", "confused", "per 100")
"""Alarms where nothing is, with their rate, and alarms in the time of events of other classes, with those for 100
events, stand apart. With names of up to 15 characters they fit 80 columns."""


def summary(result: StreamScores, names: Sequence[str], title: str | None = None) -> Table:
    """Each class, and all of them."""
    table, counted = Table(title=title, box=SIMPLE_HEAD, padding=0), result.alarms
    for head in HEADS:
        is_name = head == "class"
        table.add_column(head, justify="left" if is_name else "right", overflow="fold", no_wrap=not is_name)
    rates, wrong = tradeoff(counted, names), counted.confused.sum(axis=1)
    columns = (counted.references, counted.found, counted.duplicates, counted.background, wrong)
    for row, name in enumerate([*names, "all"]):
        own = slice(None) if row == len(names) else slice(row, row + 1)
        ending = "" if row == len(names) else f"/{name}"
        events, found, twice, background, confused = (str(int(part[own].sum())) for part in columns)
        recall = _number(1 - rates[f"miss_rate{ending}"], 3)
        hourly, per_event = (
            _number(rates[f"{key}{ending}"], 2) for key in ("background_per_hour", "confused_per_100_events")
        )
        table.add_row(name, events, found, recall, twice, background, hourly, confused, per_event)
    return table


def headline(result: StreamScores, repeated: str) -> str:
    """All recordings in a line.

    Args:
        result: Their scores.
        repeated: What the interval of the recall is taken over: ``clips``, ``recordings``.
    """
    metrics = result.metrics
    parts = [f"{metrics['hours']:.3g} h, {metrics['background_hours']:.3g} h without events"]
    if "recall" in metrics:
        low, high = (metrics.get(f"recall_interval/{end}") for end in ("low", "high"))
        interval = (
            f"95 % over {repeated}: {low:.3f} to {high:.3f}" if low is not None else f"one of {repeated}: no interval"
        )
        parts.append(f"recall {metrics['recall']:.3f} ({interval})")
    if "background_per_hour" in metrics:
        parts.append(f"background alarms an hour {rate_text(result)}")
    for key, text in (
        ("confused_per_100_events", "confused {:.1f} per 100 events"),
        ("delay_s/median", "alarm after {:.1f} s"),
        ("onset_f1", "onset F1 {:.3f}"),
        ("segment_f1", "segment F1 {:.3f}"),
        ("psds1", "PSDS1 {:.3f}"),
    ):
        if key in metrics:
            parts.append(text.format(metrics[key]))
    return "; ".join(parts)


def rate_text(result: StreamScores) -> str:
    """Background alarms an hour with their exact interval and, where there are alarms, that over places."""
    counted, over_places = result.alarms, over_places_of(result.metrics)
    low, high = background_interval(int(counted.background.sum()), counted.background_hours)
    span = f"up to {high:.2f}" if low == 0 else f"{low:.2f} to {high:.2f}"
    if low and over_places:
        span += f"; over places: {over_places[0]:.2f} to {over_places[1]:.2f}"
    return f"{counted.background_per_hour:.2f} (95 %: {span})"


def duty_text(detector: Detector, duty: Duty, load: "Load | None") -> str:
    """How often the net ran, and how busy that makes a core."""
    text = f"{duty.per_hour:.0f} decisions an hour"
    if detector.rule.gate_dbfs is not None:
        text += f"; the net ran for {100 * duty.share:.1f} % of them, gate {detector.rule.gate_dbfs:g} dBFS"
    if load is not None:
        busy, always, least = (100 * load.share(ran) for ran in (duty.share, 1, 0))
        text += f"; {busy:.2g} % of a core at {load.clock_mhz:g} MHz (estimated"
        text += f"; {always:.2g} % without a gate" if detector.rule.gate_dbfs is not None else ""
        text += f"; the front end alone {least:.2g} %)"
    return text


def duty_content(duty: Duty, load: "Load | None") -> dict[str, Any]:
    """The same for JSON; shares of the core, and where they come from."""
    content: dict[str, Any] = duty.metrics
    if load is not None:
        shares = {"load": duty.share, "load_always": 1.0, "load_frontend": 0.0}
        content["clock_mhz"] = load.clock_mhz
        content |= {key: {"value": load.share(ran), "source": "estimated"} for key, ran in shares.items()}
    return content


def never_open(detector: Detector, duty: Duty) -> str:
    """What is wrong with a gate that nothing reached; "": something did, or there is none."""
    gate_dbfs = detector.rule.gate_dbfs
    if gate_dbfs is None or duty.ran or not duty.decisions:
        return ""
    loudest = power_dbfs(duty.power, detector.card.frontend)
    return (
        f"rule.gate_dbfs={gate_dbfs:g}: no sound reaches it, the loudest has {loudest:.1f} dBFS: the net never runs; "
        "lower the gate, or raise the microphone's gain"
    )


def programs_table(metrics: Mapping[str, Mapping[str, float]]) -> Table:
    """A row for each program of a model that heard the same recordings."""
    table = Table(title="programs of the model")
    keys = ("recall", "background_per_hour", "confused_per_100_events", "equal_posteriors", "equal_events")
    for column in ("program", *(key.replace("_", " ") for key in keys)):
        table.add_column(column, justify="left" if column == "program" else "right")
    for name, own in metrics.items():
        table.add_row(name, *(f"{own[key]:.4f}" if key in own else "-" for key in keys))
    return table


def candidates_table(best: Mapping[Shape, Choice], chosen: Shape, events: int, hours: float, budget: float) -> Table:
    """The best rule of each shape within the budget.

    Args:
        best: Of each shape.
        chosen: The best of all.
        events: That occur.
        hours: Of background.
        budget: Alarms an hour where nothing is.
    """
    table = Table(title=f"rules within {budget:g} background alarms an hour, on validation")
    heads = ("window", "off / on", "hold-off s", "recall", "background an hour", "expected", "confused per 100 events")
    for column in ("", *heads):
        table.add_column(column, justify="right")
    for shape, choice in best.items():
        texts = (str(shape.window), f"{shape.off_share:g}", f"{shape.hold_off_s:g}", f"{choice.found / events:.3f}")
        alarms = (f"{number / hours:.2f}" for number in (choice.background, choice.expected))
        rates = (*alarms, f"{100 * choice.confused / events:.2f}")
        table.add_row("*" if shape == chosen else "", *texts, *rates)
    return table


def thresholds_text(choice: Choice, names: Sequence[str]) -> str:
    """The threshold of each class."""
    pairs = zip(names, choice.options, strict=True)
    return ", ".join(f"{name} {'never' if own.threshold is None else f'{own.threshold:.8g}'}" for name, own in pairs)


def elsewhere_text(fitted: Fitted) -> str:
    """What a choice for such a budget costs in places that it is made without."""
    assert fitted.elsewhere is not None
    return (
        f"in places that it is chosen without: {fitted.elsewhere} alarms in {fitted.hours:.3g} h, "
        f"{fitted.elsewhere / fitted.hours:.2f} an hour"
    )


def verdict(result: StreamScores, budget: float) -> str:
    """Whether the alarms of test streams are within a budget, as far as they can tell."""
    counted = result.alarms
    count, hours = int(counted.background.sum()), counted.background_hours
    low, high = background_interval(count, hours)
    over_places = over_places_of(result.metrics)
    if count and over_places is not None:
        low, high = min(low, over_places[0]), max(high, over_places[1])
    where = "inside" if low <= budget <= high else "over it: kept" if budget > high else "under it: not kept"
    return (
        f"test: {count} background alarms in {hours:.3g} h, an hour {rate_text(result)}; the budget, {budget:g}, is "
        f"{where}"
    )


def over_places_of(metrics: Mapping[str, float]) -> tuple[float, float] | None:
    """The interval of the alarms an hour by drawing places anew; None: there are too few."""
    low, high = (metrics.get(f"background_over_places/{end}") for end in ("low", "high"))
    return None if low is None or high is None else (low, high)


def _number(value: float, digits: int) -> str:
    return "-" if isnan(value) else f"{value:.{digits}f}"

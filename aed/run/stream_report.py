"""Scores of streams as people read them."""

from collections.abc import Sequence

from rich.table import Table

from aed.scoring.events.stream import StreamScores


def summary(result: StreamScores, names: Sequence[str]) -> Table:
    """Each class, and all of them."""
    table, counted = Table(), result.alarms
    heads = ("class", "events", "found", "recall", "again", "confused", "background", "false/h")
    for head in heads:
        table.add_column(head, justify="left" if head == "class" else "right")
    wrong = counted.confused.sum(axis=1)
    columns = (counted.references, counted.found, counted.duplicates, wrong, counted.background)
    for row, name in enumerate([*names, "all"]):
        own = slice(None) if row == len(names) else slice(row, row + 1)
        events, found, twice, confused, background = (int(part[own].sum()) for part in columns)
        recall = f"{found / events:.3f}" if events else "-"
        rate = f"{(confused + background) / counted.hours:.2f}"
        table.add_row(name, str(events), str(found), recall, str(twice), str(confused), str(background), rate)
    return table


def headline(result: StreamScores) -> str:
    """All recordings in a line."""
    metrics = result.metrics
    parts = [f"{metrics['hours']:.3g} h"]
    high = metrics["background_per_hour/high"]
    parts.append(f"background alarms an hour {metrics['background_per_hour']:.2f} (95 %: up to {high:.2f})")
    for key, text in (
        ("delay_s/median", "alarm after {:.1f} s"),
        ("onset_f1", "onset F1 {:.3f}"),
        ("segment_f1", "segment F1 {:.3f}"),
        ("psds1", "PSDS1 {:.3f}"),
    ):
        if key in metrics:
            parts.append(text.format(metrics[key]))
    return "; ".join(parts)

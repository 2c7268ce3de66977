"""The README's plot: ratios to the floor as bars on a logarithmic scale, in SVG.

Written by hand: GitHub shows an SVG as an image, in which a style can follow the reader's colours.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from html import escape
from math import log10
from typing import Any

WIDTH = 880
_LABEL, _RIGHT = 330, 64
"""Where bars begin, and what is left for the last number."""

_ROW, _BAR, _TITLE, _TOP, _BOTTOM = 24, 15, 46, 16, 40
_LEFT_OUT = re.compile(r", batch (\d+, .*(channels_last|bf16|compile)|32|64|128)$")
"""What is in the table alone: other fixed batch sizes, and options at a fixed one."""

_TICKS = (0.25, 0.5, 1, 2, 5, 10, 20, 50)

_STYLE = """\
text { font: 13px -apple-system, "Segoe UI", "Noto Sans", Helvetica, Arial, sans-serif; fill: #1f2328; }
.title { font-weight: 600; font-size: 14px; }
.bold { font-weight: 600; }
.dim { fill: #59636e; font-size: 12px; }
.ours { fill: #0969da; }
.reference { fill: #8c959f; }
.peer { fill: #c3cad1; }
.grid { stroke: #d1d9e0; }
.floor { stroke: #1f2328; stroke-dasharray: 3 3; }
.back { fill: #ffffff; }
@media (prefers-color-scheme: dark) {
text { fill: #f0f6fc; }
.dim { fill: #9198a1; }
.ours { fill: #4493f8; }
.reference { fill: #7d8590; }
.peer { fill: #4b535d; }
.grid { stroke: #2f353d; }
.floor { stroke: #f0f6fc; }
.back { fill: #0d1117; }
}
"""
# Colours are written out twice: not every viewer of SVG knows variables. The background is drawn,
# because a page's colours need not be those that the reader's system prefers.


@dataclass(frozen=True, slots=True)
class Bar:
    """A contender; `kind` is `ours`, `peer` or `reference`."""

    label: str
    ratio: float
    kind: str


@dataclass(frozen=True, slots=True)
class Panel:
    """Bars with one floor."""

    title: str
    bars: tuple[Bar, ...]


def drawn(found: Mapping[str, Any]) -> str | None:
    """The plot of the results; None where there is nothing to show."""
    panels = [panel for panel in _panels(found) if panel.bars]
    return svg(panels) if panels else None


def _panels(found: Mapping[str, Any]) -> Iterator[Panel]:
    titles = {
        "classification": "MLP, {rows:,} rows: accuracy, macro precision, recall, F1",
        "auroc": "MLP, {rows:,} rows: the same with exact macro AUROC",
        "resnet18": "ResNet-18, {rows:,} images",
    }
    parts = [*found.get("mlp", {}).get("found", ()), *found.get("resnet", {}).get("found", ())]
    # One number of threads of each, the fewest: fewer bars tell more.
    fewest: dict[str, Any] = {}
    for part in parts:
        best = fewest.get(part["part"])
        if best is None or part["threads"] < best["threads"]:
            fewest[part["part"]] = part
    for name, title in titles.items():
        if name in fewest:
            part = fewest[name]
            threads = "1 thread" if part["threads"] == 1 else f"{part['threads']} threads"
            yield Panel(f"{title.format(**part)} ({threads})", tuple(_bars(part["contenders"])))


def _bars(contenders: list[dict[str, Any]]) -> list[Bar]:
    """Ours first, then the others, each from near to far. The floors are the line at 1."""
    bars = [
        Bar(one["name"], one["ratio"], one["kind"])
        for one in contenders
        if one["kind"] != "floor" and not _LEFT_OUT.search(one["name"])
    ]
    return sorted(bars, key=lambda bar: (bar.kind != "ours", bar.ratio))


def svg(panels: list[Panel]) -> str:
    """Panels below one another, on one scale."""
    ratios = [bar.ratio for panel in panels for bar in panel.bars]
    low, high = min(0.9, *ratios) * 0.9, max(2.0, *ratios) * 1.05
    ticks = [tick for tick in _TICKS if low <= tick <= high]
    height = _TOP + sum(_TITLE + _ROW * len(panel.bars) for panel in panels) + _BOTTOM

    def x(ratio: float) -> float:
        share = (log10(ratio) - log10(low)) / (log10(high) - log10(low))
        return round(_LABEL + share * (WIDTH - _LABEL - _RIGHT), 1)

    size = f'viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
    label = 'role="img" aria-label="Time as a ratio to the forward passes alone"'
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} {label}>',
        f"<style>\n{_STYLE}</style>",
        f'<rect class="back" width="{WIDTH}" height="{height}" rx="6"/>',
    ]
    y = _TOP
    for panel in panels:
        bottom = y + _TITLE + _ROW * len(panel.bars)
        lines.append(f'<text class="title" x="12" y="{y + 24}">{escape(panel.title)}</text>')
        for tick in ticks:
            kind = "floor" if tick == 1 else "grid"
            lines.append(
                f'<line class="{kind}" x1="{x(tick)}" x2="{x(tick)}" y1="{y + 36}" y2="{bottom - 4}"/>'
            )
        for number, bar in enumerate(panel.bars):
            lines += _bar(bar, y + _TITLE + _ROW * number, x)
        y = bottom
    for tick in ticks:
        lines.append(
            f'<text class="dim" x="{x(tick)}" y="{y + 12}" text-anchor="middle">{tick:g}</text>'
        )
    lines.append(
        f'<text class="dim" x="{WIDTH - 12}" y="{y + 32}" text-anchor="end">'
        "time ÷ time of the forward passes alone at batch 256 (dashed), logarithmic; less is better</text>"
    )
    return "\n".join([*lines, "</svg>"]) + "\n"


def _bar(bar: Bar, y: int, x: Any) -> Iterator[str]:
    """Left of 1 or right of it: a logarithmic bar has no other place to begin."""
    start, end = sorted((x(1.0), x(bar.ratio)))
    middle = y + _ROW / 2 + 1
    bold = ' class="bold"' if bar.kind == "ours" else ""
    yield (
        f'<text{bold} x="{_LABEL - 10}" y="{middle + 2}" text-anchor="end">{escape(_short(bar.label))}</text>'
    )
    yield (
        f'<rect class="{bar.kind}" x="{start}" y="{middle - _BAR / 2 - 2}" '
        f'width="{max(1.5, end - start):.1f}" height="{_BAR}" rx="2"/>'
    )
    yield f'<text class="dim" x="{end + 6}" y="{middle + 2}">{bar.ratio:.2f}</text>'


def _short(label: str) -> str:
    """Without what is the same for all, or follows."""
    if label.startswith("model-eval: "):
        return label.replace("ledger, metrics", "metrics").removesuffix(", batch 256")
    return label.replace("batch auto, ", "").replace("batch auto (defaults)", "defaults")

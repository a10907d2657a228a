"""How the page of a lens looks and moves: its colours, its style sheet and its script."""

from __future__ import annotations

from stillwired.report.html import both

SHADES = 20
"""Steps of the shading, beyond none."""

# Backgrounds run from the page's own to the full shade; the three text colours have a contrast
# of at least 4.5 on every step.
LIGHT = {"page": "#ffffff", "full": "#6fa8ef", "text": "#14181f", "mark": "#333a46"}
DARK = {"page": "#14171c", "full": "#1d5fae", "text": "#f3f5f8", "mark": "#d8dde5"}


def shade(probability: float) -> int:
    """Return the step of the shading, 0 to 20."""
    return min(max(round(probability * SHADES), 0), SHADES)


def shades(theme: dict[str, str]) -> list[str]:
    """Return the backgrounds of a theme, from none to full."""
    low, high = (_channels(theme[name]) for name in ("page", "full"))
    mixed = [
        [round(a + (b - a) * step / SHADES) for a, b in zip(low, high, strict=True)]
        for step in range(SHADES + 1)
    ]
    return [f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue in mixed]


def style() -> str:
    """Write the style sheet."""
    steps = "\n".join(
        f".s{step}{{{both(light, dark)}}}"
        for step, (light, dark) in enumerate(zip(shades(LIGHT), shades(DARK), strict=True))
    )
    text = both(LIGHT["text"], DARK["text"], "color")
    page = both(LIGHT["page"], DARK["page"])
    mark = both(LIGHT["mark"], DARK["mark"], "color")
    line = both("#c3cad4", "#3a4350", "border-color")
    raised = both("#f1f4f8", "#20252d")
    return _STYLE.format(steps=steps, text=text, page=page, mark=mark, line=line, raised=raised)


def _channels(colour: str) -> list[int]:
    return [int(colour[k : k + 2], 16) for k in (1, 3, 5)]


_STYLE = """
:root{{color-scheme:light dark;font:13px/1.45 system-ui,sans-serif}}
:root:has(#light:checked){{color-scheme:light}}
:root:has(#dark:checked){{color-scheme:dark}}
*{{box-sizing:border-box}}
body{{margin:0;padding:1rem;{text};{page}}}
header,.legend,.theme{{display:flex;flex-wrap:wrap;align-items:center;gap:.25rem 1rem}}
header{{justify-content:space-between}}
h1{{font-size:1.5rem;margin:0}}
small{{font-size:1rem;font-weight:400}}
p{{max-width:80em;margin:.5rem 0}}
.theme{{border:0;padding:0;margin:0}}
.theme legend{{float:left;padding:0 .5rem 0 0}}
.theme label{{display:flex;align-items:center;gap:.25rem}}
.legend{{gap:.25rem .5rem;margin:.5rem 0}}
.scale{{display:inline-flex;align-items:center;gap:.5rem}}
.bar{{display:inline-flex;border:1px solid;{line}}}
.bar span{{width:.6rem;height:1rem;print-color-adjust:exact;-webkit-print-color-adjust:exact}}
.scroll{{overflow:auto;max-height:calc(100vh - 2rem);border:1px solid;{line};
scroll-padding:2.5rem 1rem 1rem 4rem}}
.scroll>table{{border-collapse:separate;border-spacing:0}}
caption{{text-align:left}}
caption>div{{position:sticky;left:0;width:calc(100vw - 4rem);max-width:80em;padding:.5rem}}
dl{{display:grid;grid-template-columns:max-content 1fr;gap:.1rem .75rem;margin:0}}
dt{{font-weight:600}}
dd{{margin:0;min-width:0;overflow-wrap:anywhere}}
.text{{white-space:pre-wrap;max-height:6em;overflow:auto}}
.scroll>table>*>tr>th,.scroll>table>tbody>tr>td{{padding:.15rem .4rem;text-align:left;
border:0 solid;border-width:0 1px 1px 0;{line};white-space:pre}}
.scroll>table>*>tr>th{{position:sticky;{raised};font-weight:600;z-index:1}}
.scroll>table>thead>tr>th{{top:0;z-index:2}}
.scroll>table>*>tr>th:first-child{{left:0;text-align:right}}
.scroll>table>thead>tr>th:first-child{{z-index:3}}
.w{{max-width:12em;overflow:hidden;text-overflow:ellipsis;display:block}}
.w>*{{margin-right:.15em}}
i{{font-style:normal;{mark}}}
.scroll>table>tbody>tr>td:focus,.scroll>table>tbody>tr>td:hover{{outline:2px solid;
outline-offset:-2px}}
.scroll>table>tbody>tr>td:focus{{outline-width:3px;outline-offset:-3px}}
{steps}
.tip{{display:none;position:fixed;left:0;right:0;bottom:0;z-index:9;padding:.5rem .6rem;{text};
{raised};border:1px solid;{line};border-radius:4px;box-shadow:0 3px 14px #0006;white-space:normal;
max-height:60vh;overflow:auto}}
td:hover>.tip,td:focus>.tip{{display:block}}
table:has(td:hover) td:focus:not(:hover)>.tip,.hush .tip{{display:none!important}}
.tip.up{{top:0;bottom:auto}}
.tip p{{margin:0 0 .25rem}}
.tip td{{padding:.05rem .6rem .05rem 0;vertical-align:top;white-space:nowrap}}
.tip td:nth-child(2){{width:100%;white-space:normal}}
.tip td:last-child{{padding:.05rem 0}}
.tip data{{display:block;padding:0 .35rem;font-variant-numeric:tabular-nums}}
.q{{white-space:pre-wrap;overflow-wrap:anywhere}}
.q::before{{content:"“"}}
.q::after{{content:"”"}}
@media (min-width:40.01rem){{.js .tip{{right:auto;bottom:auto;width:max-content;max-width:26rem}}}}
@media (max-width:40rem){{caption{{caption-side:bottom}}}}
@media print{{
:root,:root:has(#dark:checked){{color-scheme:light;font-size:6.5pt}}
@page{{size:landscape;margin:8mm}}
.theme,.tip{{display:none!important}}
.scroll{{overflow:visible;max-height:none;border:0}}
.scroll>table{{width:100%;table-layout:fixed}}
.scroll>table>thead>tr>th:first-child{{width:4em}}
.scroll>table>*>tr>th{{position:static}}
.scroll>table>*>tr>*{{white-space:pre-wrap!important;overflow-wrap:anywhere;
padding:1px 2px!important;print-color-adjust:exact;-webkit-print-color-adjust:exact}}
tr{{break-inside:avoid}}
caption{{caption-side:top}}
caption>div{{width:auto;position:static}}
.text{{max-height:none}}
.w{{max-width:none;overflow:visible}}
.w bdi{{display:inline-block;max-width:100%}}
.scroll>table>tbody>tr>td{{outline:0!important}}
}}
"""

SCRIPT = """
"use strict";
(() => {
  const table = document.querySelector(".scroll > table");
  const rows = [...table.tBodies[0].rows].map(row => [...row.cells].slice(1));
  const narrow = matchMedia("(max-width: 40rem)");
  const where = new Map();
  rows.forEach((row, r) => row.forEach((cell, c) => {
    where.set(cell, [r, c]);
    cell.tabIndex = r || c ? -1 : 0;
  }));
  document.documentElement.classList.add("js");
  let last = rows[0][0];
  const cellOf = node => {
    while (node && !where.has(node)) node = node.parentElement;
    return node;
  };
  const place = cell => {
    const tip = cell && cell.querySelector(".tip");
    if (!tip) return;
    const box = cell.getBoundingClientRect();
    tip.classList.toggle("up", narrow.matches && box.top > innerHeight / 2);
    tip.style.left = tip.style.top = "";
    if (narrow.matches) return;
    const size = tip.getBoundingClientRect();
    const below = box.bottom + size.height < innerHeight - 4 || box.top < size.height;
    tip.style.left = Math.max(4, Math.min(box.left, innerWidth - size.width - 20)) + "px";
    tip.style.top = Math.max(4, below ? box.bottom - 1 : box.top - size.height + 1) + "px";
  };
  const show = event => {
    const cell = cellOf(event.target);
    table.classList.remove("hush");
    place(cell);
  };
  table.addEventListener("mouseover", show);
  table.addEventListener("focusin", event => {
    const cell = cellOf(event.target);
    if (!cell) return;
    last.tabIndex = -1;
    cell.tabIndex = 0;
    last = cell;
    show(event);
  });
  const again = () =>
    place(table.querySelector("td[aria-label]:hover") || cellOf(document.activeElement));
  document.querySelector(".scroll").addEventListener("scroll", again, true);
  addEventListener("resize", again);
  document.addEventListener("keydown", event => {
    if (event.key === "Escape") table.classList.add("hush");
    const cell = cellOf(document.activeElement);
    if (!cell || event.altKey || event.metaKey) return;
    let [r, c] = where.get(cell);
    const end = rows[0].length - 1;
    switch (event.key) {
      case "ArrowUp": r -= 1; break;
      case "ArrowDown": r += 1; break;
      case "ArrowLeft": c -= 1; break;
      case "ArrowRight": c += 1; break;
      case "Home": c = 0; if (event.ctrlKey) r = 0; break;
      case "End": c = end; if (event.ctrlKey) r = rows.length - 1; break;
      default: return;
    }
    event.preventDefault();
    const next = rows[Math.max(0, Math.min(r, rows.length - 1))][Math.max(0, Math.min(c, end))];
    next.focus({ preventScroll: true });
    next.scrollIntoView({ block: "nearest", inline: "nearest" });
    place(next);
  });
})();
"""

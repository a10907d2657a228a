"""What an atlas adds to the looks of pages about claims, and the script that moves in it."""

from __future__ import annotations

from stillwired.report.html import both

_LINE = both("#d3d9e1", "#39424e", "border-color")
_RAISED = both("#f3f5f8", "#1e232b")
_TEXT = both("#14181f", "#eef1f5", "color")

STYLE = f"""
body{{max-width:none}}
.legend{{display:flex;flex-wrap:wrap;gap:.4rem}}
.scroll{{overflow:auto;max-height:calc(100vh - 2rem);border:1px solid;{_LINE};border-radius:8px;
scroll-padding:7rem 1rem 1rem 20rem}}
.atlas{{border-collapse:separate;border-spacing:0;font-size:.9rem}}
.atlas th,.atlas td{{padding:.35rem .6rem;border:0 solid;border-width:0 1px 1px 0;{_LINE}}}
.atlas th{{{_RAISED};position:sticky;left:0;z-index:1}}
.atlas thead th{{top:0;left:auto;z-index:2;vertical-align:bottom;white-space:normal;
min-width:11rem;max-width:20rem}}
.atlas thead th:first-child{{left:0;z-index:3}}
.atlas tbody tr:not(.paper) th{{min-width:16rem;max-width:24rem}}
.atlas th span,.atlas td span{{display:block;font-size:.85rem;font-weight:400}}
.atlas td{{min-width:10rem;print-color-adjust:exact;-webkit-print-color-adjust:exact}}
.atlas td>b{{font-size:.8rem}}
.atlas .paper th{{font-weight:650;position:static}}
.atlas td:focus,.atlas td:hover{{outline:2px solid;outline-offset:-2px}}
:root:not(:has(#others:checked)) .other{{display:none}}
.tip{{display:none;position:fixed;left:0;right:0;bottom:0;z-index:9;padding:.6rem 1rem;{_TEXT};
{_RAISED};border-top:1px solid;{_LINE};box-shadow:0 -3px 14px #0004;font-size:.95rem}}
td:hover>.tip,td:focus>.tip{{display:block}}
table:has(td:hover) td:focus:not(:hover)>.tip{{display:none}}
@media (max-width:40rem){{
.atlas tbody tr:not(.paper) th{{min-width:9rem;max-width:9rem;overflow-wrap:anywhere}}
.atlas .says{{display:none}}
.atlas thead th{{position:static}}
.scroll{{scroll-padding:1rem 1rem 1rem 10rem}}
}}
@media print{{
@page{{size:landscape}}
.scroll{{overflow:visible;max-height:none;border:0}}
.atlas{{font-size:7pt}}
.atlas th{{position:static}}
.atlas td,.atlas thead th,.atlas tbody tr:not(.paper) th{{min-width:0;max-width:none}}
.tip,p:has(#others){{display:none!important}}
}}
"""

KEYS = """
"use strict";
(() => {
  const table = document.querySelector(".atlas");
  const all = [...table.querySelectorAll("td[tabindex]")];
  if (!all.length) return;
  let last = all[0];
  for (const cell of all) cell.tabIndex = cell === last ? 0 : -1;
  table.addEventListener("focusin", event => {
    const cell = event.target.closest("td[tabindex]");
    if (!cell) return;
    last.tabIndex = -1;
    cell.tabIndex = 0;
    last = cell;
  });
  // The cell that the Tab key leads to must be one that is shown.
  document.querySelector("#others").addEventListener("change", () => {
    if (last.offsetParent) return;
    last.tabIndex = -1;
    last = all.find(cell => cell.offsetParent) || last;
    last.tabIndex = 0;
  });
  table.addEventListener("keydown", event => {
    const cell = event.target.closest("td[tabindex]");
    if (!cell || event.altKey || event.metaKey) return;
    const rows = [...table.querySelectorAll("tbody tr:not(.paper)")].filter(r => r.offsetParent);
    let r = rows.indexOf(cell.parentElement), c = cell.cellIndex;
    const [dr, dc] = {
      ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1],
    }[event.key] || [0, 0];
    if (!dr && !dc) return;
    event.preventDefault();
    // What was not judged is passed over.
    for (;;) {
      r += dr;
      c += dc;
      const next = rows[r] && rows[r].cells[c];
      if (!next || !c) return;
      if (next.tabIndex < 0 && !next.hasAttribute("tabindex")) continue;
      next.focus({ preventScroll: true });
      next.scrollIntoView({ block: "nearest", inline: "nearest" });
      return;
    }
  });
})();
"""

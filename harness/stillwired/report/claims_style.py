"""How pages about claims look, and the script that filters one: no framework, no font, no network.

Every colour is declared for light and for dark, with a contrast of at least 4.5 for text. A word
is always written out, so that nothing is told by colour alone.
"""

from __future__ import annotations

from stillwired.report.html import both
from stillwired.report.words import word_rules


def sheet(more: str = "") -> str:
    """Write the style sheet; ``more`` is what a page adds."""
    colours = {
        "TEXT": both("#14181f", "#eef1f5", "color"),
        "PAGE": both("#ffffff", "#14171c"),
        "QUIET": both("#4c5563", "#b4bdc9", "color"),
        "LINK": both("#0b57b0", "#8fc1ff", "color"),
        "LINE": both("#d3d9e1", "#39424e", "border-color"),
        "RAISED": both("#f3f5f8", "#1e232b"),
        "REGION": both("#cfe6d6", "#21442f", "fill"),
        "AXIS": both("#8a94a1", "#7f8a98", "stroke"),
        "BAR": both("#14181f", "#eef1f5", "stroke"),
        "DOT": both("#14181f", "#eef1f5", "fill"),
        "LABEL": both("#4c5563", "#b4bdc9", "fill"),
        "MARK": both("#a8500a", "#ffb45e", "stroke"),
        "MARKED": both("#a8500a", "#ffb45e", "color"),
    }
    style = _STYLE
    for name, colour in colours.items():
        style = style.replace(f"${name};", f"{colour};")
    return "\n".join([style, word_rules(), more])


_STYLE = """
:root{color-scheme:light dark;font:15px/1.5 system-ui,sans-serif;scroll-padding-top:1rem}
:root:has(#light:checked){color-scheme:light}
:root:has(#dark:checked){color-scheme:dark}
*{box-sizing:border-box}
[hidden]{display:none!important}
body{margin:0 auto;padding:1.25rem;max-width:84rem;$TEXT;$PAGE;overflow-wrap:break-word}
a{$LINK;text-underline-offset:.15em}
:focus-visible{outline:2px solid;outline-offset:2px}
.skip{position:absolute;left:-99rem}
.skip:focus{position:static}
header{display:flex;flex-wrap:wrap;align-items:center;justify-content:space-between;gap:.5rem 1rem}
h1{font-size:1.7rem;line-height:1.2;margin:0}
h1 small{font-weight:400;font-size:1.1rem;$QUIET;overflow-wrap:anywhere}
h2{font-size:1.4rem;line-height:1.25;margin:2rem 0 .25rem;overflow-wrap:anywhere}
h3{font-size:1.15rem;margin:2.25rem 0 .5rem;padding-top:.75rem;border-top:1px solid;$LINE;}
h4{font-size:1rem;margin:0}
h4 a{$TEXT;text-decoration:none}
h4 a:hover{text-decoration:underline}
p{margin:.35rem 0;max-width:52rem}
ul{margin:.35rem 0;padding-left:1.3rem}
small{font-size:.85em}
code,pre{font:13px/1.5 ui-monospace,monospace;overflow-wrap:anywhere}
pre{$RAISED;border:1px solid;$LINE;border-radius:6px;padding:.6rem .75rem;white-space:pre-wrap}
fieldset{border:0;padding:0;margin:0;display:flex;flex-wrap:wrap;align-items:center;
gap:.25rem .75rem}
legend{float:left;padding:0 .25rem 0 0}
label{display:inline-flex;align-items:center;gap:.35rem}
input,select{font:inherit}
.theme,.about,.rest,.why{$QUIET;}
.about{margin-top:0;overflow-wrap:anywhere}
.tally{font-weight:600}
.gate .w{font-size:1rem}
.remark{font-weight:650;$MARKED;}
.filters{display:flex;flex-wrap:wrap;align-items:center;gap:.5rem 1.25rem;$RAISED;
border:1px solid;$LINE;border-radius:8px;padding:.6rem .8rem;margin:1rem 0}
.filters output{$QUIET;margin-left:auto}
.filters select{max-width:min(24rem,75vw)}
.w{display:inline-block;font-size:.8rem;font-weight:650;line-height:1.3;padding:.1rem .45rem;
border-radius:4px;white-space:nowrap;print-color-adjust:exact;-webkit-print-color-adjust:exact}
table{border-collapse:collapse;text-align:left;font-variant-numeric:tabular-nums}
th,td{padding:.3rem .7rem .3rem 0;vertical-align:top;font-weight:400}
thead th{font-weight:600;white-space:nowrap}
.scroll{overflow-x:auto}
.verdicts{width:100%;font-size:.93rem}
.verdicts th,.verdicts td{border-bottom:1px solid;$LINE;}
.verdicts tbody th{min-width:12rem;max-width:18rem}
.verdicts td:nth-child(2){min-width:8.5rem}
.verdicts td:nth-child(4),.verdicts td:nth-child(5){white-space:nowrap}
.verdicts .primary th{font-weight:650}
.verdicts td:nth-child(6){min-width:9rem;max-width:15rem}
.verdicts .why{display:block;font-size:.88rem;margin-top:.15rem;min-width:14rem}
.changes{width:100%;font-size:.93rem}
.changes th,.changes td{border-bottom:1px solid;$LINE;}
.changes small{display:block;$QUIET;}
.changes td:nth-child(6),.changes td:nth-child(7){white-space:nowrap}
.changes .why{display:block;font-size:.88rem}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.1rem .9rem;margin:.5rem 0}
dt{$QUIET;grid-column:1}
dd{margin:0;grid-column:2;min-width:0;overflow-wrap:anywhere}
.claim{content-visibility:auto;contain-intrinsic-size:auto 30rem;
margin:1.5rem 0;padding:1rem 1.1rem;border:1px solid;$LINE;border-radius:8px}
.claim:target,.cell:target,.record:target>h2{outline:2px solid;outline-offset:3px;$MARKED;}
.claim:target>*,.cell:target>*{$TEXT;}
.says{font-size:1.1rem;margin:.15rem 0 .5rem}
.claim>dl,.cell dl{font-size:.9rem}
.cells-head,summary{display:grid;align-items:center;gap:.25rem 1rem;
grid-template-columns:1rem minmax(7rem,1fr) 220px minmax(12rem,16rem) minmax(9.5rem,max-content)}
.cells-head>svg{grid-column:3}
summary>.w{justify-self:start}
.cell{border-top:1px solid;$LINE;}
.cell>summary{cursor:pointer;list-style:none;padding:.3rem 0}
summary::-webkit-details-marker{display:none}
.cell>summary::before{content:"";width:0;height:0;border:.3rem solid transparent;
border-left-color:currentcolor;margin-left:.3rem}
.cell[open]>summary::before{transform:rotate(90deg) translate(.12rem,.12rem)}
.cell>summary:hover .where{text-decoration:underline}
.where{font-weight:600;overflow-wrap:anywhere}
.where abbr{text-decoration:none;margin-left:.15rem}
.figure{font-variant-numeric:tabular-nums}
.figure span{$QUIET;margin-left:.4rem}
.cell>:not(summary){margin-left:2rem}
.cell>:last-child:not(summary){margin-bottom:.9rem}
.figures{font-size:.93rem;margin:.2rem 0 .4rem}
.figures small{display:block;$QUIET;}
.figures small.pub{$MARKED;}
.figures td:nth-child(4),.figures td:nth-child(5){white-space:nowrap}
.figures tbody th{min-width:9rem;max-width:24rem;overflow-wrap:anywhere}
.figures .over th{padding-top:.7rem;$QUIET;}
.figures tr>*{vertical-align:middle}
.p{display:block;width:220px;height:18px;overflow:visible}
.p .g{$REGION;print-color-adjust:exact;-webkit-print-color-adjust:exact}
.p path{fill:none}
.p .z{$AXIS;}
.p .i{$BAR;stroke-width:1.6}
.p .u{stroke-dasharray:3 2}
.p .m{$MARK;stroke-width:1.8}
.p circle{$DOT;}
.p text{$LABEL;font-size:11px;text-anchor:middle}
.p .s{text-anchor:start}
.p .e{text-anchor:end}
figure{margin:1rem 0;overflow-x:auto;background:#fff;border-radius:8px;border:1px solid;$LINE;}
.drawn{display:block;min-width:44rem;width:100%;max-width:75rem;height:auto;margin:0 auto}
.checks{font-size:.9rem;margin:.5rem 0}
.checks td,.checks th,.verdicts td{overflow-wrap:anywhere}
.facts details>summary{display:list-item;cursor:pointer}
@media screen and (max-width:56rem){
body{padding:.9rem}
.cells-head,summary{grid-template-columns:1rem minmax(0,1fr) max-content}
.cells-head>svg,.cell>summary>svg,.cell>summary>.figure{grid-column:2/-1}
.cell>summary>.w{grid-row:1;grid-column:3}
.cell>:not(summary){margin-left:0}
.figures,.figures tbody,.figures thead{display:block}
.figures tr{display:grid;grid-template-columns:max-content max-content 1fr;gap:0 .9rem;
padding:.35rem 0;border-top:1px solid;$LINE;}
.figures tr>*{padding:0}
.figures thead th{display:none}
.figures tbody th,.figures td:nth-child(2){grid-column:1/-1;max-width:none}
.figures td:nth-child(6){grid-column:1/-1}
.figures td:empty{display:none}
.filters>label{flex-wrap:wrap}
.verdicts,.verdicts tbody{display:block}
.verdicts thead,.verdicts td:nth-child(5),.verdicts td:nth-child(6){display:none}
.verdicts tr{display:grid;grid-template-columns:minmax(0,1fr) max-content max-content;gap:0 .9rem;
padding:.4rem 0;border-bottom:1px solid;$LINE;}
.verdicts tr>*{padding:0;border:0}
.verdicts tr>th,.verdicts tr>:last-child{grid-column:1/-1}
.changes,.changes tbody{display:block}
.changes thead{display:none}
.changes tr{display:grid;grid-template-columns:auto auto minmax(0,1fr);gap:.1rem .9rem;
padding:.4rem 0;border-bottom:1px solid;$LINE;}
.changes tr>*{padding:0;border:0}
.changes tr>th,.changes td:nth-child(2),.changes tr>:last-child{grid-column:1/-1}
.changes td:nth-child(4){grid-column:2/-1}
dl{grid-template-columns:1fr}
dd{grid-column:1;margin-bottom:.3rem}
}
@media print{
:root,:root:has(#dark:checked){color-scheme:light;font-size:9pt}
@page{margin:12mm}
body{padding:0;max-width:none}
.theme,.filters,.skip{display:none!important}
.scroll{overflow:visible}
.verdicts{font-size:7.5pt}
.verdicts .why,.verdicts td:nth-child(6){min-width:0}
th,td{padding-right:.45rem}
.p{width:150px;height:12px}
.cells-head,summary{grid-template-columns:1rem minmax(6rem,1fr) 150px 11rem 9rem;gap:.25rem .6rem}
tr,.drawn,figure,summary{break-inside:avoid}
h2,h3,h4,.says{break-after:avoid}
figure{border:0;overflow:visible}
.drawn{min-width:0}
a{text-decoration:none}
}
"""

FILTERS = """
"use strict";
(() => {
  const form = document.querySelector(".filters");
  const rows = [...document.querySelectorAll(".verdicts tbody tr")];
  const cells = [...document.querySelectorAll(".cell")];
  const found = rows.map((row, k) => {
    const cell = cells[k], claim = cell.closest(".claim");
    const says = claim.querySelector(".says").textContent;
    return {
      row, cell, claim, word: row.classList[0], paper: row.dataset.paper,
      primary: row.classList.contains("primary"),
      text: (row.textContent + " " + says).toLowerCase(),
    };
  });
  const groups = [...document.querySelectorAll(".paper")];
  const filter = () => {
    const words = new Set([...form.querySelectorAll("[name=word]:checked")].map(w => w.value));
    const paper = form.elements.paper.value;
    const text = form.elements.text.value.trim().toLowerCase();
    const primary = form.elements.primary.checked;
    const claims = new Set();
    let shown = 0;
    for (const one of found) {
      const fits = words.has(one.word) && (!paper || one.paper === paper) &&
        (!primary || one.primary) && one.text.includes(text);
      one.row.hidden = one.cell.hidden = !fits;
      if (fits) { shown += 1; claims.add(one.claim); }
    }
    for (const one of found) one.claim.hidden = !claims.has(one.claim);
    for (const group of groups) group.hidden = !group.querySelector(".claim:not([hidden])");
    form.querySelector("output").textContent = `${shown} of ${found.length} cells`;
  };
  const follow = () => {
    const place = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!place) return;
    if (place.closest("[hidden]")) { form.reset(); filter(); }
    if (place.classList.contains("cell")) place.open = true;
    place.scrollIntoView();
  };
  form.addEventListener("input", filter);
  form.addEventListener("submit", event => event.preventDefault());
  addEventListener("hashchange", follow);
  form.reset();
  form.hidden = false;
  filter();
  follow();
})();
"""

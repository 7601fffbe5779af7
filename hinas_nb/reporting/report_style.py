"""How the report page looks: one column on a telephone, wide on a desk, light or dark as the reader is."""

CSS = """
:root { color-scheme: light dark; --ink: #1d2329; --quiet: #5d6873; --paper: #fbfaf7; --card: #fff;
  --line: #e2dfd8; --accent: #a3127f; --good: #0b6b4f; --bad: #b3261e; --open: #8a5a00; }
@media (prefers-color-scheme: dark) { :root { --ink: #e7e5e0; --quiet: #a3abb3; --paper: #15181b;
  --card: #1e2226; --line: #343a40; --accent: #f08ad6; --good: #6fd3ad; --bad: #ff9d94; --open: #f2c063; } }
* { box-sizing: border-box; }
html { scroll-behavior: smooth; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.55 system-ui, sans-serif; }
header, main, footer { max-width: 72rem; margin: 0 auto; padding: 0 1.1rem; }
header { padding-top: 2.5rem; }
h1 { font-size: clamp(1.5rem, 4.5vw, 2.4rem); line-height: 1.2; margin: .2rem 0 .8rem; max-width: 28em; }
h2 { font-size: 1.35rem; margin: 0 0 .4rem; }
h3 { font-size: 1.02rem; line-height: 1.35; margin: .2rem 0 .4rem; }
a { color: var(--accent); }
small { color: var(--quiet); white-space: nowrap; }
section { margin: 2.2rem 0; padding-top: 1.4rem; border-top: 1px solid var(--line); }
.kicker, .number { color: var(--accent); font-size: .82rem; letter-spacing: .04em; margin: 0; }
.facts { display: flex; flex-wrap: wrap; gap: .6rem 1.8rem; list-style: none; padding: 0;
  color: var(--quiet); }
.facts b { color: var(--ink); font-size: 1.25rem; margin-right: .15rem; }
.cards { display: grid; gap: .9rem; grid-template-columns: repeat(auto-fill, minmax(min(17rem, 100%), 1fr)); }
.card { display: block; padding: .9rem 1rem; background: var(--card); border: 1px solid var(--line);
  border-radius: 10px; color: inherit; text-decoration: none; }
.card:hover, .card:focus { border-color: var(--accent); }
.card p { margin: 0; color: var(--quiet); font-size: .93rem; }
.outdated { color: var(--open); }
.changed { font-weight: 600; }
.card .failed { color: var(--bad); margin-top: .4rem; }
.question { color: var(--quiet); margin: 0; max-width: 46em; }
.answer { font-size: 1.12rem; margin: .3rem 0 .6rem; max-width: 44em; }
.answer::first-letter, .card p::first-letter { text-transform: uppercase; }
.about { color: var(--quiet); margin: 0; max-width: 46em; }
.links { font-size: .92rem; }
.figures { display: grid; gap: 1.2rem; margin: 1rem 0;
  grid-template-columns: repeat(auto-fit, minmax(min(30rem, 100%), 1fr)); }
figure { margin: 0; min-width: 0; }
.broad { grid-column: 1 / -1; }
figure a { display: block; background: #fff; border: 1px solid var(--line); border-radius: 10px;
  padding: .6rem; }
figure img { display: block; max-width: 100%; height: auto; max-height: 40rem; object-fit: contain; margin: 0 auto; }
figcaption { font-size: .92rem; color: var(--quiet); padding: .45rem .2rem; }
figcaption a { display: inline; background: none; border: 0; padding: 0; }
details { margin: 1rem 0; }
summary { cursor: pointer; font-size: .97rem; padding: .2rem 0 .5rem; }
.wide { overflow-x: auto; width: fit-content; max-width: 100%;
  border: 1px solid var(--line); border-radius: 10px; background: var(--card); }
table { border-collapse: collapse; font-size: .88rem; font-variant-numeric: tabular-nums; }
th, td { padding: .4rem .75rem; text-align: left; border-bottom: 1px solid var(--line); white-space: nowrap; }
tbody tr:last-child td { border-bottom: 0; }
th { color: var(--quiet); font-weight: 600; white-space: normal; vertical-align: bottom; }
td.long { white-space: normal; min-width: 16rem; }
td.n, th.n { text-align: right; }
.badge { font-weight: 600; color: var(--open); }
.badge.supports { color: var(--good); }
.badge.contradicts { color: var(--bad); }
.badge.no { color: var(--quiet); }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1.2rem; font-size: .88rem; }
dt { color: var(--quiet); }
dd { margin: 0; overflow-wrap: anywhere; }
footer { color: var(--quiet); font-size: .88rem; padding-bottom: 3rem; }
"""

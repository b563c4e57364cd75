"""The page around the sections: its colours for light and dark, its widths for phone and desk, its look on paper."""

from html import escape

__all__ = ["document"]

# contrast of text on ground is above 4.5 in both schemes; the maps bring their own colours
STYLE = """
:root{color-scheme:light dark;--ground:#fbfaf7;--card:#fff;--text:#1c2026;--muted:#565d68;--line:#d9d6cd;--accent:#0b5394;
--shade:#0004}
@media (prefers-color-scheme:dark){:root{--ground:#13161b;--card:#1b1f26;--text:#e8e6e1;--muted:#a7aeb9;--line:#363c46;
--accent:#8ab8ec;--shade:#000c}}
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%;scroll-behavior:smooth}
body{margin:0;background:var(--ground);color:var(--text);font:16px/1.55 system-ui,-apple-system,"Segoe UI",sans-serif}
main,header,footer{max-width:60rem;margin:0 auto;padding:0 1rem;overflow-wrap:anywhere}
header{padding-top:2.2rem}
h1{font-size:1.9rem;line-height:1.15;margin:0 0 .3rem;letter-spacing:-.01em}
h2{font-size:1.3rem;line-height:1.25;margin:2.6rem 0 .6rem;padding-top:.9rem;border-top:1px solid var(--line)}
p{margin:.5rem 0;max-width:44rem}
.muted,figcaption,footer{color:var(--muted)}
.stamp{font-size:.85rem}
figcaption{font-size:.85rem;line-height:1.4;margin-top:.4rem}
nav{display:flex;flex-wrap:wrap;gap:.3rem 1rem;margin:1rem 0 0;font-size:.9rem}
a{color:var(--accent)}
a:focus-visible,[tabindex]:focus-visible{outline:2px solid var(--accent);outline-offset:2px}
figure{margin:0;padding:.8rem;background:var(--card);border:1px solid var(--line);border-radius:10px;min-width:0}
figure svg{display:block;margin:0 auto;width:100%;max-width:30rem}
.pair{display:grid;gap:1rem;grid-template-columns:repeat(auto-fill,minmax(min(100%,21rem),1fr));margin:1rem 0}
.tiles{display:grid;gap:.8rem;grid-template-columns:repeat(auto-fill,minmax(8.2rem,1fr));margin:1rem 0}
.tiles figure{padding:.5rem}
.tiles img{border-radius:5px}
.tiles b{color:var(--text)}
.scale{max-width:23rem;margin:0 0 1rem}
.lead{border-left:4px solid var(--accent);background:var(--card);padding:.7rem 1rem;margin:1.2rem 0;border-radius:0 10px 10px 0}
.lead p{margin:.2rem 0}
ul{padding-left:1.2rem;max-width:44rem}
li{margin:.2rem 0}
dl.findings{margin:1rem 0;border:1px solid var(--line);border-radius:10px;background:var(--card);overflow:hidden}
dl.findings>div{display:grid;grid-template-columns:minmax(0,1fr) auto auto;gap:.1rem .8rem;padding:.6rem .9rem}
dl.findings>div+div{border-top:1px solid var(--line)}
dt{font-weight:600}
dd{margin:0}
dd.value{font-variant-numeric:tabular-nums;text-align:right}
dd.says{grid-column:1/-1;color:var(--muted);font-size:.93rem}
.level{font-size:.8rem;line-height:1.5;width:4.2rem;text-align:center;border:1px solid var(--line);border-radius:99px;
align-self:center}
.slight{border-color:var(--muted)}
.clear{border-color:var(--text);font-weight:600}
.strong{background:var(--text);border-color:var(--text);color:var(--ground);font-weight:600}
/* a frame that scrolls: its bars are always there, and a shadow lies where more follows */
.scroll{margin:1rem 0;border:1px solid var(--line);border-radius:10px;padding:.4rem .8rem;overflow:auto;max-height:34rem;
scrollbar-width:auto;scrollbar-color:var(--muted) var(--line);background:
linear-gradient(var(--card) 30%,transparent) top/100% 2.4rem local,
linear-gradient(transparent,var(--card) 70%) bottom/100% 2.4rem local,
radial-gradient(farthest-side at 50% 0,var(--shade),transparent) top/100% .9rem scroll,
radial-gradient(farthest-side at 50% 100%,var(--shade),transparent) bottom/100% .9rem scroll,
var(--card);background-repeat:no-repeat}
.scroll>div{overflow:visible!important;max-height:none!important}
.scroll th{position:sticky;top:-.4rem;background:var(--card)!important;z-index:1}
.scroll td,.scroll th{overflow-wrap:normal}
.scroll td:last-child{min-width:14rem}
.scroll table{font-size:.85rem;font-variant-numeric:tabular-nums}
code,pre{font:.85rem/1.5 ui-monospace,SFMono-Regular,Consolas,monospace}
pre{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:.7rem .9rem;overflow:auto}
footer{font-size:.85rem;padding:1.5rem 1rem 3rem}
@media (min-width:48rem){.tiles{grid-template-columns:repeat(auto-fill,minmax(10rem,1fr))}h1{font-size:2.4rem}}
@media print{:root{--ground:#fff;--card:#fff;--text:#000;--muted:#333;--line:#bbb;--accent:#000}
body{font-size:11pt}nav{display:none}figure,dl.findings>div,.lead{break-inside:avoid}h2{break-after:avoid}
.scroll,.scroll div{max-height:none!important;overflow:visible!important}.scroll{background:none}.scroll th{position:static}
img,svg,.strong{print-color-adjust:exact;-webkit-print-color-adjust:exact}}
"""
# nothing is fetched and nothing runs, whatever a model's name or a layer's may hold
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def document(
    title: str, subtitle: str, lead: str, sections: list[tuple[str, str, str]], footer: str, *, stamp: str = ""
) -> str:
    """A whole page of sections (id, heading, body).

    Title, subtitle, headings and `stamp` (when and by what it was made) are plain text, the rest is HTML.
    """
    when = f'<p class="muted stamp">{escape(stamp)}</p>\n' if stamp else ""
    links = "".join(f'<a href="#{name}">{escape(heading)}</a>' for name, heading, _ in sections)
    bodies = "\n".join(
        f'<section aria-labelledby="{name}"><h2 id="{name}">{escape(heading)}</h2>\n{body}</section>'
        for name, heading, body in sections
    )
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="description" content="{escape(subtitle)}">
<title>{escape(title)}: importance landscape</title>
<link rel="icon" href="data:,">
<style>{STYLE}</style>
</head>
<body>
<header>
<h1>{escape(title)}</h1>
<p class="muted">{escape(subtitle)}</p>
{when}<nav aria-label="sections">{links}</nav>
</header>
<main>
{lead}
{bodies}
</main>
<footer>{footer}</footer>
</body>
</html>
"""

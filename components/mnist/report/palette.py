"""The colours of the charts and of the report, each for a light and for a dark page.

Charts are drawn in the light colours; in the report each becomes the CSS variable of its name, so that charts follow
the reader's choice of light or dark. No two light colours may be equal, or the replacement would be ambiguous.
"""

LIGHT = {
    "paper": "#ffffff",
    "ink": "#1b2430",
    "muted": "#5f6b7a",
    "line": "#dfe4ea",
    "blue": "#2a6db0",
    "amber": "#c77a1c",
    "red": "#c23b33",
}
DARK = {
    "paper": "#12161c",
    "ink": "#e8ecf1",
    "muted": "#9aa6b4",
    "line": "#2b333d",
    "blue": "#79b2ea",
    "amber": "#e9aa55",
    "red": "#f2796f",
}

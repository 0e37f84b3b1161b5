"""Charts as inline SVG: one file a chart, each a function from numbers to a `Chart`; drawing.py draws them all."""

"""Maps, traces and advice as SVG and HTML."""

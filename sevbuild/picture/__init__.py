"""Launch plans as pictures: SVG and HTML text."""

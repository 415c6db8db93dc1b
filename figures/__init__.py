"""One file per figure: read results, draw, write SVG and PNG. No model, no randomness."""

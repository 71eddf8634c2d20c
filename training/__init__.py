"""Training recipes. Nothing here imports Django; what they produce is served by `ml`."""

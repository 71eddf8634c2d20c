"""Audio clean-up before recognition."""

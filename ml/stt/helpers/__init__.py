"""Models that help recognition: identification of the language, punctuation, language models. See `base`."""

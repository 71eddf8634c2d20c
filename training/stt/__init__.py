"""Speech recognition recipes: a Conformer RNN-T from scratch, and Whisper fine-tuning."""

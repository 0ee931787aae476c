"""Checkpoint input and output: Hugging Face's layout, safetensors, atomic writes."""

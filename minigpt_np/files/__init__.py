"""The world outside: checkpoints in Hugging Face's layout, safetensors, files that are always whole."""

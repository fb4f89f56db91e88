"""Model providers, their keys, and model configurations."""

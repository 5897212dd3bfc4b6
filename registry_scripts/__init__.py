"""The only code that writes the model registry or ships what is in it."""

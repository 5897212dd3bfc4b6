"""Each file directly in here is one entry point; what they share is in `steps.sentiment`."""

import os

# TensorFlow reads this when it is imported, by whichever package comes first; without it, it talks on every start.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

"""Each file directly in here is one entry point; what they share is in `steps.sentiment`."""

import os

# TensorFlow reads this when it is imported, by whichever package comes first; without it, it talks on every start.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# So does OpenMP, below torch. Its threads wait for one another by spinning; where something else has their cores, that made
# a training many times slower. They sleep after a short while, which is as fast on a quiet machine (docs/log.md).
os.environ.setdefault("GOMP_SPINCOUNT", "2000")

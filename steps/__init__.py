"""Each file directly in here is one entry point; what they share is in `steps.sentiment`."""

import os

# TensorFlow reads this when it is imported, by whichever package comes first; without it, it talks on every start.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# So does OpenMP, below torch. Its threads wait for one another by spinning; where something else has their cores, that made
# a training ten times slower. They sleep after about a tenth of a millisecond, which is as fast on a quiet machine.
os.environ.setdefault("GOMP_SPINCOUNT", "2000")

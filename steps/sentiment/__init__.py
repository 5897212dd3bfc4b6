"""What the steps share; nothing in here is an entry point.

command_line    flags and errors as a person meets them
sources         reads and downloads raw tweets
dataset         raw tweets -> the prepared dataset, and back from its folder
profile         reference statistics of texts and scores, for drift
report          the readable page of a prepared dataset
model           the one file that ships inside every registered model
metrics         labels and scores -> numbers and intervals
slices          which kinds of text a model must also be good at
plots           labels and scores -> figures
tracking        the only writer of MLflow runs
registry        the read side of the model registry
"""

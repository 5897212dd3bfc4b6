"""The image of a model: how it is built and pushed, and the Dockerfile of its second stage."""

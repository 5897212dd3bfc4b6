"""Each file directly in here is one entry point; what they share is in `steps.sentiment`."""

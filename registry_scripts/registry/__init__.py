"""What the registry scripts share: moving aliases and stages together, and the gate before a promotion."""

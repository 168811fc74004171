"""Whether a policy means what its owner thinks."""

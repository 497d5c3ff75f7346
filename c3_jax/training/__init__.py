"""Training: an experiment out of a config, its steps, and the loop."""

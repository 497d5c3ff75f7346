"""What is measured between two images, from TARGET to SOURCE.

`matching` runs the network on pairs; `alignment` (PCK), `consistency`,
`transfer` and `disentanglement` measure; `evaluator` puts them together.
"""

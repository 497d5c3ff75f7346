"""How many landmarks: short runs of several K, measured without annotations.

`trials` trains them, `rule` recommends one, `plot` draws them, `choose_k` is
the command.
"""

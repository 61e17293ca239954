"""The asv suite: `asv run --quick --python=same` in asv_bench/ runs it once.

Every class lists its parameters smallest first. `setup` makes the layer and calls it, so that
nothing is compiled while the clock runs.
"""

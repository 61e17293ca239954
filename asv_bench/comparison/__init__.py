"""The side-by-side comparison with other libraries; `python asv_bench/peers.py` runs it.

problem.py    what is computed: sizes, weights, input, and the answer to check against
libraries.py  how each library computes it
limit.py      what the register tile alone reaches
worker.py     a process that holds one library and times it when asked
rounds.py     the workers taking turns
fresh.py      what only a fresh process shows: imports, first calls, memory
parts.py      the measurements, one function each
report.py     the results as text, Markdown and a picture
"""

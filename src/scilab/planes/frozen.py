"""Imported last by the fork server: what it has loaded is put aside from the garbage collector.

A collection in a forked worker otherwise writes to every object it inherited, and so copies the shared pages: 40 MB
for each worker where torch is loaded, and a longer pause at each collection.
"""

import gc

gc.collect()
gc.freeze()

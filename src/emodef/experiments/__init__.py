"""Experiments: many runs from one recipe, what of them is done, and the rest made side by side. Never imports torch.

results.py      a folder of finished runs: which there are, and whether one of them is a planned one
plan.py         what an experiment still has to run, and how long that may take
supervisor.py   several runs at once: started, watched, stopped
processes.py    a process that makes one run, never orphaned; cluster.py: the same on the machines of a Ray cluster
display.py      how they are getting on: a live table, or a line now and then
packing.py      a results folder as one file, and back
"""

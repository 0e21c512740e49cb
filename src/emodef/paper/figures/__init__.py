"""The paper's figures and maps of errors, drawn from corpora, models and finished runs. Matplotlib is imported when one is drawn.

canvas                style, wrapping, boxes, and files of the same bytes every time
pairs                 Figure 1: the auxiliary corpus of one text
architecture, setups  Figure 2: a model's parts, read off it, and their drawing
transfer              Figure 3: other corpora by training texts
sweep                 Table III as a plot
maps                  which label is replaced by which; which come together
"""

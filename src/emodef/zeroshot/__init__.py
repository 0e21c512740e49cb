"""Zero-shot: labels scored from what is said of them, measured on corpora and labels a model was never trained on. No torch.

`sources` is what can score (a light model here; a checkpoint or an untuned encoder in emodef.train.zeroshot), `methods` the ways of
scoring, `measuring` what they are measured on, `rows` the results on disk, `tables` the results to read.
"""

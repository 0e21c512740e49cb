"""Files and pipes of texts, of any size, predicted in numbered parts: continued where they stopped, written row for row. Above `Predictor`.

records  rows of text formats, with raw text and position      inspection  the input as a whole: hash, encoding, columns
sources  numbered parts of rows                                 predictions a part predicted: the one function a worker needs
parquet  Parquet in and out                                     writers     rows and predictions as CSV, TSV, JSONL
folder   finished parts on disk, manifest, lock, join           job         all of it: predict_file, predict_stream
progress the bar
"""

from __future__ import annotations

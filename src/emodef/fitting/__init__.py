"""Few-shot: a linear head on a light model's embeddings, started from the labels' definitions. Without torch. Imports its modules."""

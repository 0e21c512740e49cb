"""emodef: fine-grained emotions in English text, from models that read what each label means."""

__version__ = "0.1.0"

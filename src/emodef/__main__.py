"""`python -m emodef`: the command line, for where the script is not on the path (`accelerate launch --multi_gpu -m emodef train ...`)."""

from emodef.cli import main

main()

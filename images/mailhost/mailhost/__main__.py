"""``python -m mailhost`` is the ``mailhost`` program."""

from mailhost.cli import main

if __name__ == "__main__":
    main()

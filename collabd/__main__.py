"""`python -m collabd` is `collabd`."""

from collabd.cli import main

if __name__ == "__main__":
    main()

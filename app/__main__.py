"""`python -m app` is `surgate`."""

from app.cli import main

main(prog_name="surgate")

"""``python -m radiomics_crlm`` is ``crlm``."""

from __future__ import annotations

from radiomics_crlm.cli import main

if __name__ == "__main__":
    main()

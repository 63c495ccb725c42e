"""`python -m lucid.cli`, the same as `lucid`."""

from __future__ import annotations

import sys

from lucid.cli.main import main

sys.exit(main())

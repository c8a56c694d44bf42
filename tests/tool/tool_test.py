#!/usr/bin/env python3
"""Tests of the command-line tool as its user meets it.   usage: tool_test.py TOOL GOLDENS REPOSITORY [TEST...]"""

import pathlib
import sys
import unittest

sys.dont_write_bytecode = True  # leaves the source tree as it is

from support import ToolTest

from bad_files import *
from bad_requests import *
from commands import *
from conversion import *
from data import *
from faces import *
from golden_cases import *
from plan import *
from train import *
from videos import *

if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    ToolTest.tool, ToolTest.goldens, ToolTest.repository = (pathlib.Path(a).resolve() for a in sys.argv[1:4])
    unittest.main(argv=[sys.argv[0], *sys.argv[4:]], verbosity=1)

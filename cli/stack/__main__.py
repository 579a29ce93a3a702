"""`python -m cli.stack HOME` is the supervisor process of the stack in HOME; `flinkrec up` starts it."""

import sys

from cli.stack.supervisor import main

sys.exit(main())

"""python -m speech_client"""

import sys

from speech_client.cli import main

sys.exit(main())

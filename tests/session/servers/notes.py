"""A server that serves HTTP, and speaks stdio with --transport stdio only."""

import os
import runpy
import sys
import threading

if "stdio" in sys.argv:
    runpy.run_path(os.path.expanduser("~/example.py"), run_name="__main__")
else:
    print("Notes server listening on http://127.0.0.1:3001", flush=True)
    threading.Event().wait()

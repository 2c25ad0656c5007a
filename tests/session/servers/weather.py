"""A server that needs a key, and exits with a stack trace without it."""

import os
import runpy


def start():
    key = os.environ["WEATHER_API_KEY"]
    runpy.run_path(os.path.expanduser("~/example.py"), run_name="__main__")
    return key


start()

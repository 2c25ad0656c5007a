"""Ignores the end of its stdin and SIGTERM, and leaves a daemonised grandchild that holds its stdout.

Prints the grandchild's pid as its only line.
"""

import os
import signal
import time

signal.signal(signal.SIGTERM, signal.SIG_IGN)
read, write = os.pipe()
if os.fork() == 0:
    os.setsid()
    if os.fork():
        os._exit(0)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.write(write, b"%d\n" % os.getpid())
    os.close(write)
    while True:
        time.sleep(60)
os.close(write)
pid = os.read(read, 32)
os.wait()
os.write(1, pid)
while True:
    time.sleep(60)

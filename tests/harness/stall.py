#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""stall.py PID NAME FILE: stops the threads of PID whose name begins with NAME, and no others, until FILE is there: what a
thread that hangs looks like to all around it. Prints how many when they stand still."""
import ctypes
import glob
import os
import sys
import time

SEIZE, INTERRUPT, WALL = 0x4206, 0x4207, 0x40000000

pid, name, until = sys.argv[1:]
libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
stopped = 0
for path in glob.glob(f"/proc/{pid}/task/*/comm"):
    with open(path, encoding="ascii") as f:
        if not f.read().startswith(name):
            continue
    tid = int(path.split("/")[4])
    for request in SEIZE, INTERRUPT:
        if libc.ptrace(request, tid, None, None):
            sys.exit(f"stall.py: thread {tid}: {os.strerror(ctypes.get_errno())}")
    os.waitpid(tid, WALL)
    stopped += 1
if not stopped:
    sys.exit(f"stall.py: process {pid} has no thread {name}")
print(stopped, flush=True)
while not os.path.exists(until):
    time.sleep(0.05)  # they go on with the end of this process

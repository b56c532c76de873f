#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""compile_commands.py CC-COMMAND BPF-COMMAND: the compilation database of all our C files, on stdout."""
import json
import os
import subprocess
import sys

cc, bpf = sys.argv[1:3]
files = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "*.c"],
                       capture_output=True, text=True, check=False).stdout.split()
if not files:  # not a checkout
    files = [os.path.join(d, f)[2:] for top in ("./user", "./dc", "./bpf", "./tests")
             for d, _, names in os.walk(top) for f in names if f.endswith(".c")]
json.dump([{"directory": os.getcwd(), "file": f,
            "command": f"{bpf if f.endswith('.bpf.c') else cc} -c {f}"} for f in sorted(files) if os.path.exists(f)],
          sys.stdout, indent=1)
print()

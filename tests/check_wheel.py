"""Compare the modules in a wheel with the tracked files of its three packages: `python tests/check_wheel.py WHEEL`.

Exits with 1 and names the difference where a module is missing, or where the wheel has one that is not tracked.
"""

import subprocess
import sys
import zipfile

ROOMS = ("bridge", "transports", "validators")
# The folder of the package itself.
ENTRY = "entry"


def main(wheel: str) -> int:
    listed = subprocess.run(["git", "ls-files", *ROOMS, ENTRY], capture_output=True, text=True, check=True)
    tracked = {f"mcpbridged/{name.removeprefix(f'{ENTRY}/')}" for name in listed.stdout.split()}
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("mcpbridged/")}
    for name in sorted(tracked - packed):
        print(f"{wheel}: {name} is tracked and missing")
    for name in sorted(packed - tracked):
        print(f"{wheel}: {name} is not tracked")
    print(f"{wheel}: {len(packed)} modules, {len(tracked)} tracked")
    return int(tracked != packed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))

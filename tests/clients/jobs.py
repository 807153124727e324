"""What rq's workers run."""

import os


def note(path, number):
    """Leaves a line in a file: this job was done."""
    with open(path, "a", encoding="utf-8") as file:
        file.write(f"{number}\n")
        file.flush()
        os.fsync(file.fileno())
    return number * 2

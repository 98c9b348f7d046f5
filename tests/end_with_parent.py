"""`python end_with_parent.py PARENT COMMAND...` runs a command that Linux kills when the process PARENT ends.

PARENT is the process that starts this one. The setting belongs to the process, which then becomes the command.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
"""The option of prctl that names the signal which a process gets when its parent ends."""

if __name__ == "__main__":
    parent, *command = sys.argv[1:]
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() == int(parent):  # it has not ended meanwhile
        os.execvp(command[0], command)

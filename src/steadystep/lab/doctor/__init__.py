"""What the command `steadystep doctor` needs beside the diagnosis itself."""

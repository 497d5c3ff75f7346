"""What the program runs on: devices, processes, compiled programs, files."""

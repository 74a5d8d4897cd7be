"""The command line: one small file a group of commands, each a thin shell around what it calls."""

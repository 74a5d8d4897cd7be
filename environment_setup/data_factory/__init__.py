"""The data factory as code: its JSON files, checks that need no Azure, the ARM template made of them, its triggers."""

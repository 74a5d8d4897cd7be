"""The platforms behind one protocol: ``base`` says what each can do."""

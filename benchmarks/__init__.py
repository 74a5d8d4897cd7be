"""What is fast and how good the model is, as ratios in one run. Not part of the tests."""

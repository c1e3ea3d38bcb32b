"""What is read and written around a policy's target."""

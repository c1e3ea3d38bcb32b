"""What a policy could judge by: what is told before a release is bad."""

"""The rules of each remedy and its steps: undo, image, replicas, flag, and who is suspended for it."""

"""The rules of each remedy and its steps: undo, image, replicas, flag; who is suspended for it."""

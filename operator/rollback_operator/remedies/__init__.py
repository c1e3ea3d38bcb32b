"""The rules and steps of each remedy: undo, image, replicas, flag; suspension of owners."""

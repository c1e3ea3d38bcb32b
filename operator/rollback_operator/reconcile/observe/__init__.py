"""Reads a release, its metrics, its pods and its Services."""

"""Migration histories made by the real tools, for the tests of the database gate."""

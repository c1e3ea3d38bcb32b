"""`kubectl rollback`: shows releases and rollbacks, and takes the decisions of people.

It uses the API server only, with the rights of the user; the operator does the work. Objects are
shown as they are stored (record.py), so that fields of a newer operator appear too.
"""

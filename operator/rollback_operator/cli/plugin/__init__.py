"""`kubectl rollback`: what people see of releases and rollbacks, and what they decide.

It talks to the API server alone, with the rights of whoever runs it; the operator does the work.
Objects are shown as they are stored (record.py), so that fields of a newer operator appear too.
"""

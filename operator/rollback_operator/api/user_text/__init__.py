"""Text that users and other systems write: documents, JSON and regular expressions, none trusted.

Knows no field of the API: a text becomes an object, a model or an error that names the place.
"""

"""Makes a new project of this template under another name, and brings later changes of the template into it.

Standard library only: it runs before any environment exists, on Python 3.9 and newer.
"""

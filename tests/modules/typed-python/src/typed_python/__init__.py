"""
Types in every form that the source of a module decides.

    The second paragraph is indented.
"""

from .main import TypedPython as TypedPython

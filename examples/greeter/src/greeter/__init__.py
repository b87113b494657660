"""Greets people, from Python and from containers.

A small module that shows every kind of argument and result.
"""

from .main import Greeter as Greeter
from .main import Greeting as Greeting
from .main import Tone as Tone

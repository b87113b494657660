from .levels import *
from .part import Base, Part

"""Tests a project in containers."""

from .main import Ci as Ci

"""Tests of the harness."""

from pathlib import Path

ROOT = Path(__file__).parents[2]

"""Whole services, started as people start them."""

from tests.service.conftest import keys_fixture, store_template, template

__all__ = ["keys_fixture", "store_template", "template"]

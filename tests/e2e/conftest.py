"""Whole services, started as people start them."""

from tests.embedded import keys_fixture
from tests.service.conftest import store_template, template

__all__ = ["keys_fixture", "store_template", "template"]

"""The demo hospital in both stores."""

from tests.embedded import keys_fixture
from tests.service.conftest import shared, store_template, template

__all__ = ["keys_fixture", "shared", "store_template", "template"]

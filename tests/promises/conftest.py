"""The demo hospital's store and its keys, as the service's tests have them."""

from tests.embedded import keys_fixture
from tests.service.conftest import anyio_backend, store_template, template

__all__ = ["anyio_backend", "keys_fixture", "store_template", "template"]

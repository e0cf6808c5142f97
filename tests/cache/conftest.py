"""The demo hospital's store, as the service's tests have it."""

from tests.service.conftest import anyio_backend, client, gateway, keys_fixture, settings, store_template, template

__all__ = ["anyio_backend", "client", "gateway", "keys_fixture", "settings", "store_template", "template"]

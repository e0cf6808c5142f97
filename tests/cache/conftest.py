"""The demo hospital's store in either database, as the service's tests have it."""

from tests.service.conftest import anyio_backend, client, gateway, keys_fixture, settings, shared, store, store_template, template

__all__ = ["anyio_backend", "client", "gateway", "keys_fixture", "settings", "shared", "store", "store_template", "template"]

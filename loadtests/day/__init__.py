"""A day in a hospital as load on a gateway that runs somewhere: `make day`. docs/load.md tells how to read it.

From noon to noon, so that the cases that are ordered have their notices next morning and their anesthesia records after that.
Everything but `users` is free of Locust, which patches the process that imports it.
"""

# SPDX-License-Identifier: MIT
"""A support set as a service over HTTP, with a page: `fslcore serve SET`. Needs the extra `serve`.

app          the routes
running      a saved set -> a server on a port
served       the set: one change after another
batching     what waits while a batch is computed becomes the next batch
predicting   a batch of requests -> their answers
bodies       requests -> pictures and labels
queries      what the query of a URL may hold
limits       what a request may ask for
guarding     the token, and pages of other sites
errors       the one form of every error
metrics      for Prometheus
schemas      the OpenAPI document
page.html    everything that a browser needs
"""

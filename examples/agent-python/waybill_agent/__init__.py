"""A small agent of a waybill box: docs/guides/agent-protocol.md in Python, by somebody who only read that."""

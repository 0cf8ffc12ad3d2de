"""The official conformance tool of the Model Context Protocol, run against our server and our client."""

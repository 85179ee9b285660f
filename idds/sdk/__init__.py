"""The user's side: workflow documents, the HTTP client, what payloads use."""

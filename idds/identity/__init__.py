"""Identity that others vouch for: OpenID Connect issuers, and a proxy that checks certificates."""

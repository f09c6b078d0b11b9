"""OAuth 2.0: how a session gets the token that it logs in with. Loaded only when a connection asks for one."""

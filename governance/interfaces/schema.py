"""How the OpenAPI document describes the two ways of proving who is calling."""

from drf_spectacular.extensions import OpenApiAuthenticationExtension


class TokenScheme(OpenApiAuthenticationExtension):
    """A bearer token of ours."""

    target_class = "governance.interfaces.credentials.TokenAuthentication"
    name = "token"

    def get_security_definition(self, auto_schema):
        """Return the scheme."""
        return {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "gh_…",
            "description": "A token made under Account › Tokens, limited to its scopes and to what its person may do.",
        }


class SessionScheme(OpenApiAuthenticationExtension):
    """The browser's session."""

    target_class = "governance.interfaces.credentials.Session"
    name = "session"

    def get_security_definition(self, auto_schema):
        """Return the scheme."""
        return {"type": "apiKey", "in": "cookie", "name": "sessionid", "description": "The session of the pages."}

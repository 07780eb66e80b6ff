"""How the OpenAPI document describes the two ways of proving who is calling, and what each endpoint refuses with."""

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


_PROBLEM = {
    "type": "object",
    "description": "Problem details (RFC 9457): what went wrong, in words for people and a code for programs.",
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "code": {"type": "string"},
        "request_id": {"type": "string"},
        "missing": {"type": "array", "items": {}, "description": "What would have to be true, each a sentence."},
        "errors": {"type": "object", "additionalProperties": {}, "description": "What is wrong, by field."},
    },
    "required": ["type", "title", "status", "detail", "code", "request_id"],
}
_WORDS = {
    "400": "The input is not valid.",
    "401": "Nobody is signed in, and there is no valid token.",
    "403": "You, or your token, may not do this; the answer says what would be needed.",
    "404": "There is nothing here that you may see.",
    "409": "Its state does not allow this any more.",
    "412": "It changed since you looked at it.",
    "413": "It is too large.",
    "415": "The body is of a type that this endpoint does not read.",
    "416": "The range lies behind the end of the file.",
    "428": "Send If-Match with the ETag of what you looked at.",
    "429": "Too many requests; Retry-After says when to come back.",
}


def declare_problems(result, generator, request, public):
    """Let every operation declare the problems that it may answer with; a hook of drf-spectacular."""
    result["components"]["schemas"]["Problem"] = _PROBLEM
    content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    for path, operations in result["paths"].items():
        for method, operation in operations.items():
            codes = {"400", "401", "403", "429"} | ({"404"} if "{" in path else set())
            codes |= {"409", "412", "415", "428"} if method != "get" else set()
            responses = operation["responses"]
            codes |= {"416"} if "206" in responses else set()
            codes |= {code for code in responses if code.startswith("4")}
            for code in sorted(codes):
                said = responses.get(code, {}).get("description") or _WORDS[code]
                responses[code] = {"description": said, "content": content}
            operation["responses"] = dict(sorted(responses.items()))
    return result

"""A SAML identity provider as a process of its own, for tests: a form asks who you are, the answer is signed.

Run as `python -m tests.rig.saml PORT FOLDER`; it writes `certificate.pem` into the folder and then answers. The form's
fields are what it will assert, so that a test can also send what a careless provider would.
"""

from __future__ import annotations

import base64
import datetime
import html
import sys
import uuid
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit
from xml.etree import ElementTree

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID
from onelogin.saml2.constants import OneLogin_Saml2_Constants as Constants
from onelogin.saml2.utils import OneLogin_Saml2_Utils as Utils

EMAIL = "urn:oid:0.9.2342.19200300.100.1.3"
VERIFIED = "http://schemas.auth0.com/email_verified"
ASSERTION = """<saml:Assertion xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion" ID="{id}" Version="2.0" \
IssueInstant="{now}"><saml:Issuer>{issuer}</saml:Issuer><saml:Subject><saml:NameID \
Format="urn:oasis:names:tc:SAML:2.0:nameid-format:persistent">{uid}</saml:NameID><saml:SubjectConfirmation \
Method="urn:oasis:names:tc:SAML:2.0:cm:bearer"><saml:SubjectConfirmationData InResponseTo="{request}" \
NotOnOrAfter="{until}" Recipient="{acs}"/></saml:SubjectConfirmation></saml:Subject><saml:Conditions \
NotBefore="{since}" NotOnOrAfter="{until}"><saml:AudienceRestriction><saml:Audience>{audience}</saml:Audience>\
</saml:AudienceRestriction></saml:Conditions><saml:AuthnStatement AuthnInstant="{now}"><saml:AuthnContext>\
<saml:AuthnContextClassRef>urn:oasis:names:tc:SAML:2.0:ac:classes:Password</saml:AuthnContextClassRef>\
</saml:AuthnContext></saml:AuthnStatement><saml:AttributeStatement>{attributes}</saml:AttributeStatement>\
</saml:Assertion>"""
RESPONSE = """<samlp:Response xmlns:samlp="urn:oasis:names:tc:SAML:2.0:protocol" \
xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion" ID="{id}" Version="2.0" IssueInstant="{now}" \
Destination="{acs}" InResponseTo="{request}"><saml:Issuer>{issuer}</saml:Issuer><samlp:Status><samlp:StatusCode \
Value="urn:oasis:names:tc:SAML:2.0:status:Success"/></samlp:Status>{assertion}</samlp:Response>"""


def make_key() -> tuple[str, str]:
    """Return a private key and its self-signed certificate, as PEM."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test identity provider")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private.decode(), certificate.public_bytes(serialization.Encoding.PEM).decode()


def moment(seconds: int = 0) -> str:
    """Return the time in so many seconds, as SAML writes it."""
    return (datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def answer(asked: dict[str, str], said: dict[str, str], issuer: str, key: str, certificate: str) -> bytes:
    """Return the response to an authentication request: its assertion signed, unless `said` asks for a forged one."""
    attributes = {EMAIL: said["email"], VERIFIED: said.get("verified", "true")}
    values = {
        "id": f"_{uuid.uuid4().hex}", "issuer": issuer, "now": moment(), "since": moment(-60), "until": moment(300),
        "uid": html.escape(said["uid"]), **asked,
        "attributes": "".join(
            f'<saml:Attribute Name="{name}"><saml:AttributeValue>{html.escape(value)}</saml:AttributeValue>'
            "</saml:Attribute>"
            for name, value in attributes.items()
        ),
    }  # fmt: skip
    signed = Utils.add_sign(
        ASSERTION.format(**values), key, certificate, False, Constants.RSA_SHA256, Constants.SHA256
    ).decode()
    if said.get("forge"):
        signed = signed.replace(html.escape(said["email"]), html.escape(said["forge"]))
    return RESPONSE.format(**(values | {"id": f"_{uuid.uuid4().hex}", "assertion": signed})).encode()


class Provider(BaseHTTPRequestHandler):
    """The single sign-on address: GET shows who asks, POST answers them."""

    key = certificate = ""

    def do_GET(self):
        """Show the form."""
        query = parse_qs(urlsplit(self.path).query)
        if "SAMLRequest" not in query:
            self._send("<p>Ready.</p>")
            return
        fields = "".join(f'<input name="{name}">' for name in ("email", "uid", "verified", "forge"))
        asked = html.escape(query["SAMLRequest"][0])
        relay = html.escape(query.get("RelayState", [""])[0])
        self._send(
            f'<form method="post"><input type="hidden" name="SAMLRequest" value="{asked}">'
            f'<input type="hidden" name="RelayState" value="{relay}">{fields}<button>Sign in</button></form>'
        )

    def do_POST(self):
        """Answer with a form that carries the signed response to the site."""
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        said = {name: values[0] for name, values in parse_qs(body).items()}
        request = ElementTree.fromstring(zlib.decompress(base64.b64decode(said["SAMLRequest"]), -15))  # noqa: S314
        asked = {
            "request": request.attrib["ID"],
            "acs": request.attrib["AssertionConsumerServiceURL"],
            "audience": request.find("{urn:oasis:names:tc:SAML:2.0:assertion}Issuer").text,
        }
        issuer = f"http://{self.headers['Host']}/"
        response = base64.b64encode(answer(asked, said, issuer, self.key, self.certificate)).decode()
        self._send(
            f'<form method="post" action="{html.escape(asked["acs"])}">'
            f'<input type="hidden" name="SAMLResponse" value="{response}">'
            f'<input type="hidden" name="RelayState" value="{html.escape(said.get("RelayState", ""))}">'
            "<button>Continue</button></form>"
        )

    def _send(self, body: str):
        page = f"<!DOCTYPE html><title>Identity provider</title>{body}".encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)

    def log_message(self, *_):
        """Say nothing."""


if __name__ == "__main__":
    port, folder = int(sys.argv[1]), Path(sys.argv[2])
    Provider.key, Provider.certificate = make_key()
    (folder / "certificate.pem").write_text(Provider.certificate)
    ThreadingHTTPServer(("127.0.0.1", port), Provider).serve_forever()

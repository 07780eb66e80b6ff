// Passkeys: turns the server's options into a call of the browser and the browser's answer into a field of the form.
// Forms: data-passkey="create", "get" (options lie in the JSON named by data-options) or "login" (options are fetched).

const bytes = (text) => Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (c) => c.charCodeAt(0));
const text = (buffer) => btoa(String.fromCharCode(...new Uint8Array(buffer))).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
const listed = (credentials) => credentials?.map((one) => ({ ...one, id: bytes(one.id) }));

function answered(credential) {
  const { response } = credential;
  const found = { clientDataJSON: text(response.clientDataJSON) };
  for (const name of ["attestationObject", "authenticatorData", "signature", "userHandle"]) if (response[name]) found[name] = text(response[name]);
  if (response.getTransports) found.transports = response.getTransports();
  return { id: credential.id, rawId: text(credential.rawId), type: credential.type, response: found, clientExtensionResults: credential.getClientExtensionResults(), authenticatorAttachment: credential.authenticatorAttachment ?? undefined };
}

async function ask(form) {
  const kind = form.dataset.passkey;
  const options = kind === "login"
    ? (await (await fetch(form.action, { headers: { Accept: "application/json" } })).json()).request_options.publicKey
    : JSON.parse(document.getElementById(form.dataset.options).textContent).publicKey;
  const publicKey = { ...options, challenge: bytes(options.challenge) };
  if (kind !== "create") return navigator.credentials.get({ publicKey: { ...publicKey, allowCredentials: listed(options.allowCredentials) } });
  const alone = form.elements.passwordless?.checked ?? false;
  const wanted = alone ? "required" : "discouraged";
  return navigator.credentials.create({ publicKey: {
    ...publicKey,
    user: { ...options.user, id: bytes(options.user.id) },
    excludeCredentials: listed(options.excludeCredentials),
    authenticatorSelection: { ...options.authenticatorSelection, residentKey: wanted, requireResidentKey: alone, userVerification: alone ? "required" : "preferred" },
  } });
}

for (const form of document.querySelectorAll("form[data-passkey]")) {
  // Without scripts there is nothing to press.
  form.hidden = false;
  // An empty field of JSON arrives as the word "null".
  form.elements.credential.value = "";
  const place = form.querySelector("[data-passkey-error]");
  const say = (words) => { place.textContent = words; };
  form.addEventListener("submit", async (event) => {
    if (form.elements.credential.value) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    say("");
    if (/^[\d.]+$|:/.test(location.hostname)) { say(place.dataset.address); return; }
    if (!window.PublicKeyCredential) { say(place.dataset.none); return; }
    try {
      form.elements.credential.value = JSON.stringify(answered(await ask(form)));
    } catch { say(place.dataset.failed); return; }
    form.submit();
  });
}

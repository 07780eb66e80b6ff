"""Code to copy from a model's page, for the reader's own host; the token is a variable, so that none is pasted."""

from __future__ import annotations

from training.models import Publication, RegisteredModel
from training.services import registry

GENERATION = "text-generation"
EMBEDDING = "sentence-similarity"


def of(base_url: str, model: RegisteredModel, publication: Publication | None) -> list[tuple[str, str]]:
    """Return (label, code) for what the model is for."""
    alias = publication.alias if publication else registry.DEFAULT_ALIAS
    name = str(model) if alias == registry.DEFAULT_ALIAS else f"{model}:{alias}"
    if model.task == GENERATION:
        found = _openai(base_url, _CHAT_PYTHON, "chat/completions", _CHAT_BODY, name)
    elif model.task == EMBEDDING:
        found = _openai(base_url, _EMBED_PYTHON, "embeddings", _EMBED_BODY, name)
    else:
        found = _predict(f"{base_url}/api/v1/models/{model.team.slug}/{model.name}/predict", alias)
    return [*found, *_own_tools(base_url, model, publication)]


_CHAT_BODY = '{"model": "%s", "messages": [{"role": "user", "content": "your question"}]}'
_CHAT_PYTHON = """stream = client.chat.completions.create(
    model="%s",
    messages=[{"role": "user", "content": "your question"}],
    stream=True,
)
for chunk in stream:
    print(chunk.choices[0].delta.content or "", end="", flush=True)"""
_EMBED_BODY = '{"model": "%s", "input": ["your text"]}'
_EMBED_PYTHON = """answer = client.embeddings.create(model="%s", input=["your text"])
print(len(answer.data[0].embedding))"""


def _openai(base_url: str, python: str, path: str, body: str, name: str) -> list[tuple[str, str]]:
    client = (
        "import os\n\nfrom openai import OpenAI\n\n"
        f'client = OpenAI(base_url="{base_url}/v1", api_key=os.environ["GATEHOUSE_TOKEN"])\n'
    )
    curl = (
        f"curl {base_url}/v1/{path} \\\n"
        '  -H "Authorization: Bearer $GATEHOUSE_TOKEN" \\\n'
        '  -H "Content-Type: application/json" \\\n'
        f"  -d '{body % name}'"
    )
    return [("openai", client + python % name), ("curl", curl)]


def _predict(path: str, alias: str) -> list[tuple[str, str]]:
    curl = (
        f"curl {path} \\\n"
        '  -H "Authorization: Bearer $GATEHOUSE_TOKEN" \\\n'
        '  -H "Content-Type: application/json" \\\n'
        f'  -d \'{{"inputs": ["your text"], "top_k": 3, "alias": "{alias}"}}\''
    )
    python = (
        "import os\n\nimport httpx\n\n"
        "answer = httpx.post(\n"
        f'    "{path}",\n'
        '    headers={"Authorization": f"Bearer {os.environ[\'GATEHOUSE_TOKEN\']}"},\n'
        f'    json={{"inputs": ["your text"], "top_k": 3, "alias": "{alias}"}},\n'
        ")\nanswer.raise_for_status()\n"
        'for label in answer.json()["results"][0]:\n    print(label["label"], label["score"])'
    )
    return [("curl", curl), ("Python", python)]


LOADERS = {
    "text-generation": (
        "transformers",
        "from transformers import AutoModelForCausalLM, AutoTokenizer\n\n"
        'tokenizer = AutoTokenizer.from_pretrained("{name}"{revision})\n'
        'model = AutoModelForCausalLM.from_pretrained("{name}"{revision})',
    ),
    "sentence-similarity": (
        "sentence-transformers",
        "from sentence_transformers import SentenceTransformer\n\n"
        'model = SentenceTransformer("{name}"{revision})\n'
        'vectors = model.encode(["your text"])',
    ),
}
"""What loads a model of this task in one's own program. A classifier of ours has a head that no library knows."""


def _own_tools(base_url: str, model: RegisteredModel, publication: Publication | None) -> list[tuple[str, str]]:
    """Return code that fetches the model into the reader's own programs, unchanged clients of the Hugging Face Hub."""
    alias = publication.alias if publication else registry.DEFAULT_ALIAS
    usual = alias == registry.DEFAULT_ALIAS
    variables = f"export HF_ENDPOINT={base_url}\nexport HF_TOKEN=$GATEHOUSE_TOKEN\n"
    fetch = f"hf download {model}" + ("" if usual else f" --revision {alias}")
    found = [("hf", f"{variables}{fetch}")]
    if model.task in LOADERS:
        label, code = LOADERS[model.task]
        revision = "" if usual else f', revision="{alias}"'
        said = "".join(f"# {line}\n" for line in variables.splitlines())
        found.append((label, said + code.format(name=model, revision=revision)))
    return found

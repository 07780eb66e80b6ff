"""`manage.py import_base_model`: bring a pretrained model into the catalogue from this machine."""

from __future__ import annotations

from pathlib import Path

from django.core.management.base import BaseCommand, CommandError

from governance.models import User
from governance.services import access
from training.services import base_models
from training.services.base_models import Invalid


class Command(BaseCommand):
    help = "Import a base model from a folder, or from an installed package; a reviewer then has to allow it."

    def add_arguments(self, parser):
        """Declare the source and the description."""
        parser.add_argument(
            "source", nargs="?", help="a folder, or package:<name>; without it the sources found are listed"
        )
        parser.add_argument("--as", dest="email", help="e-mail address of the person who imports it")
        parser.add_argument("--name", help="name in the catalogue, such as all-minilm-l6-v2")
        parser.add_argument("--title", help="title for people; by default the name")
        parser.add_argument("--licence", help="SPDX identifier, such as Apache-2.0")
        parser.add_argument("--origin", default="", help="where the files come from and how they were obtained")
        parser.add_argument("--task", default="", help="what the model was made for")
        parser.add_argument("--languages", default="", help="languages, such as English")
        parser.add_argument("--description", default="")

    def handle(self, *, source, email, name, title, licence, **described):
        """Import it, or list what could be imported; every refusal is one sentence."""
        if not source:
            for found in base_models.sources():
                self.stdout.write(f"{found.key}  {found.title}")
            return
        for option, value in (("--as", email), ("--name", name), ("--licence", licence)):
            if not value:
                raise CommandError(f"{option} is needed.")
        actor = User.objects.people().filter(email=email.lower(), is_active=True).first()
        if actor is None:
            raise CommandError(f"There is no active person with the address {email}.")
        values = {key: described[key] for key in ("origin", "task", "languages", "description")}
        values |= {"name": name, "title": title or name, "licence": licence}
        try:
            if source.startswith(("package:", "folder:")):
                model = base_models.import_source(actor=actor, source=source, **values)
            else:
                if not values["origin"]:
                    raise CommandError("--origin is needed for a folder: say where the files come from.")
                model = base_models.import_folder(actor=actor, folder=Path(source), **values)
        except (Invalid, access.Denied) as error:
            raise CommandError(str(error)) from error
        self.stdout.write(
            f"{model.title} is in the catalogue at revision {model.revision}; a reviewer has to allow it."
        )

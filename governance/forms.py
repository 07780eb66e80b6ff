"""The shape of what people send about approvals, roles, people and tokens; rules are in the services."""

from __future__ import annotations

import datetime
import zoneinfo

from django import forms
from django.conf import settings
from django.utils import timezone
from django.utils.text import format_lazy
from django.utils.translation import gettext_lazy as _

from governance.models import AccessReviewItem, BreakGlass, Decision, LedgerEntry, User
from governance.models.roles import ROLE_CHOICES
from governance.policy import ORGANISATION_ROLES, ROLE_PERMISSIONS, GlassLevel, Role, TokenScope
from governance.services import access, tokens

SCOPE_WORDS = {
    TokenScope.READ: _("Read everything you may read, and download datasets you may download"),
    TokenScope.WRITE: _("Propose and change use cases, datasets and models; ask for approvals; share; publish; retire"),
    TokenScope.TRAIN: _("Submit, cancel and retry training jobs"),
    TokenScope.REVIEW: _("Comment on and decide requests for approval"),
    TokenScope.PREDICT: _("Call published models"),
    TokenScope.ADMIN: _("Look after people, teams, goals and base models"),
}


def role_choices(*, organisation: bool | None = None) -> list[tuple[str, str]]:
    """Return (value, label) of the roles held in the organisation (True), in one team (False), or all (None)."""
    return [
        (value, label)
        for value, label in ROLE_CHOICES
        # A delegation gives and takes its role by itself.
        if value != Role.REVIEW_DELEGATE
        and (organisation is None or (Role(value) in ORGANISATION_ROLES) == organisation)
    ]


def permissions_of(role: str) -> list[str]:
    """Return what comes with a role, sorted, for a page that shows it before it is granted."""
    return sorted(permission.value for permission in ROLE_PERMISSIONS[Role(role)])


def start_of(day: datetime.date) -> datetime.datetime:
    """Return the first moment of a day in the current time zone."""
    return timezone.make_aware(datetime.datetime.combine(day, datetime.time()))


def end_of(day: datetime.date) -> datetime.datetime:
    """Return the last moment of a day in the current time zone: "until 31 January" includes that day."""
    return timezone.make_aware(datetime.datetime.combine(day, datetime.time(23, 59, 59)))


class DateInput(forms.DateInput):
    """The browser's own date picker."""

    input_type = "date"

    def __init__(self, attrs=None):
        super().__init__(attrs, format="%Y-%m-%d")


class DecisionForm(forms.Form):
    """One reviewer's verdict about the digest that the page showed."""

    verdict = forms.ChoiceField(choices=Decision.Verdict.choices, error_messages={"required": _("Choose a verdict.")})
    digest = forms.CharField(max_length=64, widget=forms.HiddenInput)
    comment = forms.CharField(
        label=_("Comment"),
        required=False,
        max_length=10_000,
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text=_("Needed when you ask for changes or reject: say what has to change."),
    )
    conditions = forms.CharField(
        label=_("Conditions"),
        required=False,
        max_length=10_000,
        widget=forms.Textarea(attrs={"rows": 2}),
        help_text=_("What has to hold after an approval, one condition per line. Each is listed until it is met."),
    )
    expires_on = forms.DateField(
        label=_("Approve until"),
        required=False,
        widget=DateInput,
        help_text=_("The last day on which your approval holds. Empty: as long as the policy says."),
    )
    step = forms.CharField(required=False, max_length=40)


class RevokeForm(forms.Form):
    """Why an approval is taken back."""

    reason = forms.CharField(
        label=_("Reason"),
        max_length=2000,
        widget=forms.Textarea(attrs={"rows": 3}),
        error_messages={"required": _("Say why, in a sentence: whoever relied on it will read it.")},
    )


class ConditionForm(forms.Form):
    """Which condition is met, and how one knows."""

    condition = forms.IntegerField(min_value=1, max_value=2**53)
    note = forms.CharField(required=False, max_length=2000)


class DelegationForm(forms.Form):
    """Who does the reader's reviews, and until when."""

    email = forms.EmailField(label=_("Person"), help_text=_("Their e-mail address. Not an administrator or auditor."))
    since = forms.DateField(
        label=_("From"), widget=DateInput, required=False, help_text=_("The first day. Empty: from now on.")
    )
    until = forms.DateField(label=_("Until"), widget=DateInput, help_text=_("The last day; for 90 days at most."))
    reason = forms.CharField(label=_("Reason"), required=False, max_length=300, help_text=_("Such as: on holiday."))

    def __init__(self, *args, user, **kwargs):
        super().__init__(*args, **kwargs)
        self.user = user

    def clean_email(self):
        """Find the person among those that the user may see."""
        found = User.objects.visible_to(self.user).filter(email=self.cleaned_data["email"].lower()).first()
        if found is None:
            raise forms.ValidationError(_("Nobody has this address."))
        self.person = found
        return found.email

    def arguments(self) -> dict:
        """Return the keyword arguments for `approvals.delegate`, all but the actor."""
        since = self.cleaned_data["since"]
        return {
            "delegate": self.person,
            "starts_at": start_of(since) if since else None,
            "ends_at": end_of(self.cleaned_data["until"]),
            "reason": self.cleaned_data["reason"],
        }


class CommentForm(forms.Form):
    """Something said about a request or about one part of it."""

    text = forms.CharField(
        label=_("Comment"),
        max_length=10_000,
        widget=forms.Textarea(attrs={"rows": 3}),
        error_messages={"required": _("Write something first; the comment is empty.")},
    )
    part = forms.CharField(required=False, max_length=300, widget=forms.HiddenInput)


class RoleGrantForm(forms.Form):
    """Who gets which role, where and until when.

    With `person` the form is about them, else it asks for an e-mail address. With `team` it offers the roles of a team,
    else every role, and asks for the team where the role needs one. After is_valid(), `arguments()` is what
    `roles.grant` takes.
    """

    email = forms.EmailField(label=_("Person"), help_text=_("Their e-mail address."))
    role = forms.ChoiceField(label=_("Role"))
    team = forms.SlugField(label=_("Team"), required=False, help_text=_("For a role in one team: its short name."))
    until = forms.DateField(
        label=_("Until"),
        required=False,
        widget=DateInput,
        help_text=_("The last day. A guest needs one; for others it may stay empty."),
    )

    def __init__(self, *args, user, team=None, person=None, **kwargs):
        super().__init__(*args, **kwargs)
        self.user, self.fixed_team, self.person = user, team, person
        self.fields["role"].choices = role_choices(organisation=False if team is not None else None)
        if person is not None:
            del self.fields["email"]
        if team is not None:
            del self.fields["team"]

    def clean_email(self):
        """Find the person among those that the user may see."""
        found = User.objects.visible_to(self.user).filter(email=self.cleaned_data["email"].lower()).first()
        if found is None:
            raise forms.ValidationError(_("Nobody has this address. Ask an administrator to create the account."))
        self.person = found
        return found.email

    def clean_team(self):
        """Find the team among those that the user may see."""
        slug = self.cleaned_data["team"]
        if not slug:
            return None
        team = access.scope_model().objects.visible_to(self.user).filter(slug=slug).first()
        if team is None:
            raise forms.ValidationError(_("There is no team with this short name that you may see."))
        return team

    def clean(self):
        """Ask for a team exactly where the role is held in one."""
        cleaned = super().clean()
        role, team = cleaned.get("role"), self.fixed_team or cleaned.get("team")
        if role and "team" in self.fields and "team" not in self.errors:
            if role in ORGANISATION_ROLES and team:
                self.add_error("team", _("This role holds in the whole organisation: leave the team empty."))
            elif role not in ORGANISATION_ROLES and not team:
                self.add_error("team", _("This role is held in one team: say which."))
        if role == Role.GUEST and not cleaned.get("until") and "until" not in self.errors:
            self.add_error("until", _("A guest needs an end date."))
        return cleaned

    def arguments(self) -> dict:
        """Return the keyword arguments for `roles.grant`, all but the actor."""
        until = self.cleaned_data.get("until")
        return {
            "user": self.person,
            "role": self.cleaned_data["role"],
            "team": self.fixed_team or self.cleaned_data.get("team"),
            "expires_at": end_of(until) if until else None,
        }


class PersonForm(forms.Form):
    """A new person."""

    name = forms.CharField(label=_("Name"), max_length=150)
    email = forms.EmailField(label=_("E-mail address"), help_text=_("They sign in with it."))


class DeactivateForm(forms.Form):
    """Why a person's access ends."""

    reason = forms.CharField(
        label=_("Reason"), max_length=1000, help_text=_("The auditor will read it; it can be erased later.")
    )


class EraseForm(forms.Form):
    """Why texts are erased."""

    reason = forms.CharField(
        label=_("Reason"),
        min_length=10,
        max_length=1000,
        help_text=_("The auditor will read it. Do not name the person or repeat the text."),
    )


class EntryNumberForm(forms.Form):
    """Which entry is meant, by its number in the ledger."""

    number = forms.IntegerField(
        label=_("Number of the entry"),
        min_value=0,
        max_value=2**53,
        help_text=_("As its page, a receipt or an export shows it. You need not be able to read it."),
    )

    def __init__(self, *args, user, **kwargs):
        super().__init__(*args, **kwargs)
        self.user = user

    def clean(self):
        """Find the entry among those whose texts the person may erase."""
        cleaned = super().clean()
        if "number" in cleaned:
            rows = LedgerEntry.objects.erasable_by(self.user).select_related("sealed").defer("canonical", "leaf_hash")
            cleaned["entry"] = rows.filter(sealed__number=cleaned["number"]).first()
            if cleaned["entry"] is None:
                self.add_error(
                    "number", _("No entry has this number. A new entry gets its number within a second or two.")
                )
        return cleaned


class ErasureForm(EraseForm, EntryNumberForm):
    """The same, and why its texts are erased."""

    field_order = ("number", "reason")


class DeclineErasureForm(forms.Form):
    """Why something is not erased."""

    reason = forms.CharField(label=_("Why not"), max_length=1000, help_text=_("Whoever asked will read it."))


class AnonymiseForm(EraseForm):
    """Why a person is made unknown, and how far it goes."""

    written = forms.BooleanField(label=_("Also erase what they wrote: comments, reasons, notes"), required=False)
    confirmed = forms.BooleanField(
        label=_("I know that this cannot be undone"), error_messages={"required": _("Tick this to go on.")}
    )


class ExportForm(forms.Form):
    """Which stretch of the ledger is exported, and whether its texts come along."""

    start = forms.IntegerField(label=_("From entry"), min_value=0, initial=0)
    upto = forms.IntegerField(
        label=_("Up to size"), min_value=1, required=False, help_text=_("Empty: everything that is sealed.")
    )
    texts = forms.BooleanField(label=_("With free texts and personal data that are not erased"), required=False)


class ReasonForm(forms.Form):
    """Why something is done about somebody else's account."""

    reason = forms.CharField(
        label=_("Reason"), max_length=1000, help_text=_("The auditor will read it; it can be erased later.")
    )


class UnlockForm(forms.Form):
    """Which account, or which address, may try again."""

    account = forms.CharField(max_length=254, required=False)
    address = forms.GenericIPAddressField(required=False)

    def clean(self):
        """Ask for one of both."""
        cleaned = super().clean()
        if not (cleaned.get("account") or cleaned.get("address")):
            raise forms.ValidationError(_("Say which account or which address."))
        return cleaned


class ProfileForm(forms.Form):
    """What a person may say about themselves."""

    name = forms.CharField(label=_("Name"), max_length=150)
    time_zone = forms.CharField(
        label=_("Time zone"),
        max_length=64,
        required=False,
        help_text=_("Such as Europe/Paris. Empty: times are shown in the zone of your browser."),
        widget=forms.TextInput(attrs={"list": "zones", "autocomplete": "off"}),
    )

    def clean_time_zone(self):
        """Accept the names of the time-zone database."""
        zone = self.cleaned_data["time_zone"].strip()
        if zone and zone not in zoneinfo.available_timezones():
            raise forms.ValidationError(_("There is no such time zone; use a name such as Europe/Paris."))
        return zone


class TokenForm(forms.Form):
    """A new token: its name, what it may be used for, and for how long."""

    name = forms.CharField(
        label=_("Name"), max_length=tokens.MAX_NAME, help_text=_("What uses it, such as “nightly training script”.")
    )
    scopes = forms.MultipleChoiceField(
        label=_("What it may be used for"),
        choices=[(scope.value, format_lazy("{}: {}", scope.value, words)) for scope, words in SCOPE_WORDS.items()],
        widget=forms.CheckboxSelectMultiple,
        help_text=_("A token never may more than you. Choose as little as its program needs."),
        error_messages={"required": _("Choose at least one.")},
    )
    days = forms.IntegerField(label=_("Days"), min_value=1, max_value=tokens.MAX_DAYS, initial=30)
    team = forms.ChoiceField(
        label=_("Only in the team"), required=False, help_text=_("Empty: wherever you yourself may act.")
    )

    def __init__(self, *args, user, **kwargs):
        super().__init__(*args, **kwargs)
        self._teams = {
            team.slug: team
            for team in access.scope_model().objects.filter(pk__in=access.scope_ids(user, "team.view")).order_by("name")
        }
        self.fields["team"].choices = [("", _("Any team")), *((slug, str(t)) for slug, t in self._teams.items())]

    def clean_team(self):
        """Return the team itself, or None."""
        return self._teams.get(self.cleaned_data["team"])


class BreakGlassForm(forms.Form):
    """Emergency access for oneself: how far, for how long and why."""

    level = forms.ChoiceField(
        label=_("What you need"),
        choices=[
            (GlassLevel.READ.value, _("Read everything")),
            (GlassLevel.OPERATE.value, _("Read, and stop what runs")),
        ],
        initial=GlassLevel.READ.value,
    )
    team = forms.SlugField(
        label=_("Only in the team"), required=False, help_text=_("Its short name. Empty: the whole organisation.")
    )
    hours = forms.IntegerField(label=_("Hours"), min_value=1, initial=1)
    reason = forms.CharField(
        label=_("What the emergency is"),
        max_length=4000,
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text=_("It is mailed to auditors and administrators now, and read by whoever reviews it."),
    )

    def __init__(self, *args, user, **kwargs):
        super().__init__(*args, **kwargs)
        most = settings.BREAK_GLASS_MAX_HOURS
        self.fields["hours"].max_value = most
        self.fields["hours"].widget.attrs["max"] = most
        self.fields["hours"].help_text = _("At most %(most)s. End it as soon as you are done.") % {"most": most}

    def clean_team(self):
        """Find the team: whoever breaks the glass may not see it yet, so any team may be named."""
        slug = self.cleaned_data["team"]
        if not slug:
            return None
        team = access.scope_model().objects.filter(slug=slug).first()
        if team is None:
            raise forms.ValidationError(_("There is no team with this short name."))
        return team


class BreakGlassReviewForm(forms.Form):
    """What whoever looked at an emergency access says about it."""

    verdict = forms.ChoiceField(
        label=_("Was it justified?"),
        choices=BreakGlass.Verdict.choices,
        widget=forms.RadioSelect,
        error_messages={"required": _("Choose one.")},
    )
    note = forms.CharField(
        label=_("What you looked at"),
        max_length=4000,
        widget=forms.Textarea(attrs={"rows": 3}),
        error_messages={"required": _("Say what you looked at and why you think so.")},
    )


class AccessReviewForm(forms.Form):
    """Who is to review an object's readers, and by when; oneself where nobody is named."""

    owner = forms.EmailField(
        label=_("Who reviews"), required=False, help_text=_("Their e-mail address. Empty: you yourself.")
    )
    due_on = forms.DateField(
        label=_("Due"), widget=DateInput, error_messages={"required": _("Choose the day by which it is to be done.")}
    )

    def __init__(self, *args, user, **kwargs):
        super().__init__(*args, **kwargs)
        self.user = user

    def clean_owner(self):
        """Find the person among those that the user may see."""
        email = self.cleaned_data["owner"].lower()
        if not email:
            return self.user
        found = User.objects.visible_to(self.user).filter(email=email).first()
        if found is None:
            raise forms.ValidationError(_("Nobody has this address."))
        return found

    def arguments(self) -> dict:
        """Return the keyword arguments for `access_reviews.open`, all but actor and subject."""
        return {"owner": self.cleaned_data["owner"], "due_on": self.cleaned_data["due_on"]}


class AccessDecisionForm(forms.Form):
    """Whether one access stays."""

    verdict = forms.ChoiceField(
        choices=[(value, label) for value, label in AccessReviewItem.Verdict.choices if value != "ended"]
    )
    note = forms.CharField(label=_("Note"), required=False, max_length=4000)

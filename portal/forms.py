"""What people fill in about the site itself: the views of lists that they keep."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from governance.policy import Permission
from governance.services import access
from portal.models import SavedView
from projects.forms import Form
from projects.models import Team


class SavedViewForm(Form):
    """A name for what a list shows, and who finds it."""

    name = forms.CharField(
        label=_("Name"),
        max_length=80,
        help_text=_("What it shows, in a few words."),
        widget=forms.TextInput(attrs={"placeholder": _("Waiting for my team")}),
    )
    audience = forms.ChoiceField(
        label=_("Who finds it"),
        choices=[
            (SavedView.Audience.PRIVATE, _("Only me")),
            (SavedView.Audience.TEAM, _("The people of a team")),
            (SavedView.Audience.ORGANISATION, _("Everybody in the organisation")),
        ],
        initial=SavedView.Audience.PRIVATE,
        widget=forms.RadioSelect,
        help_text=_("A view shows nobody more than they may see: each sees their own rows in it."),
    )
    team = forms.ModelChoiceField(
        Team.objects.none(),
        label=_("Team"),
        required=False,
        empty_label=_("Choose a team"),
        to_field_name="slug",
        help_text=_("For a view that a team finds."),
    )
    usual = forms.BooleanField(
        label=_("Start with it"), required=False, help_text=_("When you open the list, this view is shown first.")
    )

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        # Every team of somebody who reads all of them would be a drop-down of everything.
        mine = access.scope_ids(self.user, Permission.TEAM_VIEW)
        self.fields["team"].queryset = Team.objects.visible_to(self.user).filter(pk__in=mine)
        if not mine:
            del self.fields["team"]
            choices = self.fields["audience"].choices
            self.fields["audience"].choices = [one for one in choices if one[0] != SavedView.Audience.TEAM]

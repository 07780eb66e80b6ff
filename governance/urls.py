"""The pages of the governance package."""

from django.urls import path

from governance.views import account, administration, ledger, reviews

app_name = "governance"

urlpatterns = [
    path("reviews/", reviews.reviews, name="reviews"),
    path("reviews/export.csv", reviews.export, name="reviews_export"),
    path("reviews/<int:pk>/", reviews.review, name="review"),
    path("reviews/<int:pk>/decide/", reviews.decide, name="decide"),
    path("reviews/<int:pk>/comments/", reviews.comment, name="comment"),
    path("reviews/<int:pk>/withdraw/", reviews.withdraw, name="withdraw"),
    path("ledger/", ledger.ledger, name="ledger"),
    path("ledger/export.csv", ledger.export, name="ledger_export"),
    path("ledger/archive/", ledger.archive, name="ledger_archive"),
    path("ledger/<int:pk>/", ledger.entry, name="ledger_entry"),
    path("ledger/<int:pk>/receipt/", ledger.receipt, name="ledger_receipt"),
    path("ledger/<int:pk>/erase/", ledger.erase, name="ledger_erase"),
    path("compliance/", ledger.compliance, name="compliance"),
    path("compliance/verification/", ledger.verification, name="verification"),
    path("compliance/verify/", ledger.verify, name="verify"),
    path("account/", account.account, name="account"),
    path("account/receipts/", ledger.receipts, name="receipts"),
    path("account/tokens/", account.api_tokens, name="tokens"),
    path("account/tokens/<int:pk>/revoke/", account.revoke_token, name="token_revoke"),
    path("administration/", administration.people, name="people"),
    path("administration/people/export.csv", administration.export, name="people_export"),
    path("administration/people/bulk/", administration.bulk_people, name="people_bulk"),
    path("administration/people/new/", administration.person_new, name="person_new"),
    path("administration/people/<int:pk>/", administration.person, name="person"),
    path("administration/people/<int:pk>/roles/", administration.grant, name="person_grant"),
    path("administration/people/<int:pk>/deactivate/", administration.deactivate, name="person_deactivate"),
    path("administration/people/<int:pk>/reactivate/", administration.reactivate, name="person_reactivate"),
    path("administration/people/<int:pk>/anonymise/", administration.anonymise, name="person_anonymise"),
    path("administration/roles/<int:pk>/revoke/", administration.revoke, name="role_revoke"),
]

from django.urls import path

from webhooks import api

urlpatterns = [
    path("", api.WebhookListView.as_view()),
    path("/<uuid:webhook_id>", api.WebhookView.as_view()),
    path("/<uuid:webhook_id>/test", api.WebhookTestView.as_view()),
    path("/<uuid:webhook_id>/rotate-secret", api.WebhookRotateSecretView.as_view()),
    path("/<uuid:webhook_id>/deliveries", api.DeliveryListView.as_view()),
    path("/<uuid:webhook_id>/deliveries/<uuid:delivery_id>", api.DeliveryView.as_view()),
    path("/<uuid:webhook_id>/deliveries/<uuid:delivery_id>/redeliver", api.RedeliverView.as_view()),
]

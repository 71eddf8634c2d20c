from django.urls import path

from models_registry import api, rollouts_api

urlpatterns = [
    path("status", api.ModelStatusView.as_view()),
    path("reload", api.ModelReloadView.as_view()),
    path("rollouts", rollouts_api.RolloutsView.as_view()),
    path("rollouts/<uuid:rollout_id>", rollouts_api.RolloutView.as_view()),
    path("rollouts/<uuid:rollout_id>/finish", rollouts_api.FinishRolloutView.as_view()),
    path("rollouts/<uuid:rollout_id>/rollback", rollouts_api.RollBackView.as_view()),
]

"""Every area's addresses. An area is added by its module, not here: see `dashboard.pages`."""

from dashboard.pages import areas

app_name = "dashboard"

urlpatterns = [pattern for area in areas() for pattern in area.urlpatterns]

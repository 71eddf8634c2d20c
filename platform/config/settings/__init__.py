"""Settings, one module a topic. Every variable is read here once, typed, and has its line in `.env.example`."""

from config.settings.api import *  # noqa: F403
from config.settings.core import *  # noqa: F403
from config.settings.database import *  # noqa: F403
from config.settings.deepgram import *  # noqa: F403
from config.settings.jobs import *  # noqa: F403
from config.settings.logs import *  # noqa: F403
from config.settings.observability import *  # noqa: F403
from config.settings.openai import *  # noqa: F403
from config.settings.quota import *  # noqa: F403
from config.settings.security import *  # noqa: F403
from config.settings.speech import *  # noqa: F403
from config.settings.storage import *  # noqa: F403
from config.settings.webhooks import *  # noqa: F403
from config.settings.wyoming import *  # noqa: F403

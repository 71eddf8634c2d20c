"""The stages that make recognised words into written text, in order."""

from ml.stt.stages import TextStage
from ml.stt.text.itn import InverseNormalization
from ml.stt.text.punctuation import Punctuation
from ml.stt.text.redaction import ProfanityFilter, Redaction
from ml.stt.text.truecasing import Truecasing

TEXT_STAGES: tuple[TextStage, ...] = (
    Punctuation(),
    Truecasing(),
    InverseNormalization(),
    ProfanityFilter(),
    Redaction(),
)

__all__ = ["TEXT_STAGES"]

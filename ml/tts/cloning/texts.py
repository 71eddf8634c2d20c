"""What a new voice says first, in the languages that we know a sentence of."""

from __future__ import annotations

from ml.tts import languages

_GREETINGS = {
    "en": "Hello! This is how I sound. I can read your texts aloud, long ones and short ones.",
    "hi": "नमस्ते! मेरी आवाज़ ऐसी है। मैं आपके लेख पढ़कर सुना सकता हूँ।",
    "de": "Guten Tag! So klinge ich. Ich kann Ihre Texte vorlesen, lange und kurze.",
    "fr": "Bonjour ! Voici comment je parle. Je peux lire vos textes à voix haute.",
    "es": "¡Hola! Así es como sueno. Puedo leer sus textos en voz alta.",
    "it": "Buongiorno! Questa è la mia voce. Posso leggere i vostri testi ad alta voce.",
    "pt": "Olá! É assim que eu falo. Posso ler os seus textos em voz alta.",
    "nl": "Hallo! Zo klink ik. Ik kan uw teksten voorlezen, lange en korte.",
    "pl": "Dzień dobry! Tak brzmi mój głos. Mogę czytać wasze teksty na głos.",
    "ru": "Здравствуйте! Так звучит мой голос. Я могу читать ваши тексты вслух.",
    "tr": "Merhaba! Sesim böyle. Metinlerinizi yüksek sesle okuyabilirim.",
    "ja": "こんにちは。これが私の声です。文章を読み上げることができます。",
    "zh": "你好!这就是我的声音。我可以朗读你的文章。",
}
_NUMBERS = "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12."
_CALIBRATION = {
    "en": "The birch canoe slid on the smooth planks. Glue the sheet to the dark blue background. It is easy to tell "
    "the depth of a well. These days a chicken leg is a rare dish. Rice is often served in round bowls. The juice of "
    "lemons makes fine punch. The box was thrown beside the parked truck. The hogs were fed chopped corn and garbage. "
    "Four hours of steady work faced us. A large size in stockings is hard to sell.",  # Harvard sentences, list 1
}


def greeting(language: str) -> str:
    """For a preview. In a language without a sentence, numbers: every voice can say them."""
    return _GREETINGS.get(languages.primary(language), _NUMBERS)


def calibration(language: str) -> str:
    """What a synthesiser is measured by."""
    primary = languages.primary(language)
    return _CALIBRATION.get(primary, f"{_GREETINGS.get(primary, '')} {_NUMBERS}".strip())

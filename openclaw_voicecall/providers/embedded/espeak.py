"""espeak-ng through its C library. Runs inside a worker process: the library is not safe for threads."""

import ctypes
import re
from pathlib import Path
from typing import Final

_SYNCHRONOUS: Final = 2
"""`espeak_Synth` returns when all audio was handed to the callback."""
_DO_NOT_EXIT: Final = 0x8000
"""On bad data the library returns an error; by default it ends the process."""
_UTF8: Final = 1
_RATE_PARAMETER: Final = 1
_WORDS_PER_MINUTE: Final = 165
_OK: Final = 0
_VOICE_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_+-]*")

_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


class EspeakLibrary:
    """The loaded library.

    Args:
        library: Its file.
        data: Its folder `espeak-ng-data`.

    Raises:
        OSError: It cannot be loaded, or does not accept its data.
    """

    def __init__(self, library: Path, data: Path) -> None:
        self._library = ctypes.CDLL(str(library))
        self._library.espeak_Synth.argtypes = [
            ctypes.c_char_p,
            ctypes.c_size_t,
            ctypes.c_uint,
            ctypes.c_int,
            ctypes.c_uint,
            ctypes.c_uint,
            ctypes.c_void_p,
            ctypes.c_void_p,
        ]
        self._rate = self._library.espeak_Initialize(_SYNCHRONOUS, 0, str(data.parent).encode(), _DO_NOT_EXIT)
        if self._rate <= 0:
            raise OSError(f"espeak-ng does not accept the data in {data}")
        self._pieces: list[bytes] = []
        # The library keeps the pointer, so the object must live as long as it does.
        self._callback = _Callback(self._take)
        self._library.espeak_SetSynthCallback(self._callback)

    def speak(self, text: str, voices: list[str], speed: float) -> tuple[int, bytes]:
        """Speak a sentence.

        Args:
            text: What to say.
            voices: Voices such as `en-us`; the first one there is speaks.
            speed: 1.0 is its own pace.

        Returns:
            The rate in Hz and 16-bit samples.

        Raises:
            ValueError: There is none of these voices, or the text cannot be spoken.
        """
        if not any(map(self._has_voice, voices)):
            raise ValueError(f"espeak-ng has no voice {' or '.join(voices)}")
        self._library.espeak_SetParameter(_RATE_PARAMETER, round(_WORDS_PER_MINUTE * speed), 0)
        self._pieces.clear()
        words = text.replace("\0", " ").encode()
        result = self._library.espeak_Synth(words, len(words) + 1, 0, 0, 0, _UTF8, None, None)
        if result != _OK:
            raise ValueError(f"espeak-ng cannot speak this: error {result}")
        return self._rate, b"".join(self._pieces)

    def _has_voice(self, voice: str) -> bool:
        """Use this voice, if there is one. A path would make the library read any file as a voice."""
        named = _VOICE_NAME.fullmatch(voice) is not None
        return named and self._library.espeak_SetVoiceByName(voice.encode()) == _OK

    def _take(self, samples: "ctypes._Pointer[ctypes.c_short]", count: int, events: int | None) -> int:
        if samples and count > 0:
            self._pieces.append(ctypes.string_at(samples, count * 2))
        return 0

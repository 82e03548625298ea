"""The tool `voice_call` as hermes' models see it: actions and names as in OpenClaw."""

from typing import Any, Final

NAME: Final = "voice_call"

DESCRIPTION: Final = (
    "Place and control phone calls. initiate_call rings a number and says the message (mode notify: say it and hang "
    "up; mode conversation: stay and talk). continue_call says something and returns what the person answers. "
    "speak_to_user says something without waiting. send_dtmf presses keys. transfer_call hands the person over to "
    "another number; get_status tells later what became of it. end_call hangs up. get_status tells how a call stands. "
    "Calls cost money and ring at a person's side: call only when your user wants it."
)

PARAMETERS: Final[dict[str, Any]] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["action"],
    "properties": {
        "action": {
            "type": "string",
            "enum": [
                "initiate_call",
                "continue_call",
                "speak_to_user",
                "send_dtmf",
                "transfer_call",
                "end_call",
                "get_status",
            ],
            "description": "What to do.",
        },
        "to": {
            "type": "string",
            "description": "initiate_call: the number in international form, such as +15550001234; the user's own "
            "unless given. transfer_call: whom to hand the person over to.",
        },
        "announce": {
            "type": "string",
            "description": "transfer_call: a sentence or two for whoever answers there, who hears it first and may "
            "decline; left out, they are connected at once.",
        },
        "message": {
            "type": "string",
            "description": "initiate_call, continue_call, speak_to_user: the words to say, as they are to be spoken.",
        },
        "mode": {
            "type": "string",
            "enum": ["notify", "conversation"],
            "description": "initiate_call: notify says the message and hangs up, conversation stays on the line.",
        },
        "dtmfSequence": {
            "type": "string",
            "description": "initiate_call: keys to press when the call is answered, such as ww1234#; w waits half a "
            "second.",
        },
        "callId": {
            "type": "string",
            "description": "All actions but initiate_call: the callId that initiate_call returned.",
        },
        "digits": {"type": "string", "description": "send_dtmf: the keys to press, of 0-9, *, # and w."},
    },
}

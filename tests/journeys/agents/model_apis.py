"""A model server that speaks what the real agents speak, and always says the same: the Messages API of
Anthropic, the Responses and Chat Completions APIs of OpenAI, and Google's generateContent."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SAYS = "forty-two and no more"
_USAGE = {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}


def messages(model: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """An answer of /v1/messages, whole and as events."""
    head = {"id": "msg_1", "type": "message", "role": "assistant", "model": model, "stop_sequence": None}
    whole = {**head, "content": [{"type": "text", "text": SAYS}], "stop_reason": "end_turn", "usage": _USAGE}
    return whole, [
        {"type": "message_start", "message": {**head, "content": [], "stop_reason": None, "usage": _USAGE}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": SAYS}},
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn", "stop_sequence": None},
            "usage": _USAGE,
        },
        {"type": "message_stop"},
    ]


def responses(model: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """An answer of /v1/responses."""
    part = {"type": "output_text", "text": SAYS, "annotations": []}
    item = {"type": "message", "id": "m", "role": "assistant", "status": "completed", "content": [part]}
    whole = {"id": "r", "object": "response", "model": model, "output": [item], "usage": _USAGE}
    return whole, [
        {"type": "response.created", "response": {"id": "r"}},
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {"type": "response.completed", "response": whole},
    ]


def completions(model: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """An answer of /v1/chat/completions."""
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    said = {"role": "assistant", "content": SAYS}
    base = {"id": "c", "created": 1, "model": model, "usage": usage}
    choice = {"index": 0, "finish_reason": "stop"}
    whole = {**base, "object": "chat.completion", "choices": [{**choice, "message": said}]}
    return whole, [{**base, "object": "chat.completion.chunk", "choices": [{**choice, "delta": said}]}]


def contents(model: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """An answer of :generateContent and :streamGenerateContent."""
    said = {"role": "model", "parts": [{"text": SAYS}]}
    whole = {"candidates": [{"content": said, "finishReason": "STOP", "index": 0}], "modelVersion": model}
    return whole, [whole]


_ANSWERS = {
    "/v1/messages": messages,
    "/responses": responses,
    "/chat/completions": completions,
    "enerateContent": contents,
}


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        path = self.path.partition("?")[0]
        asked = json.loads(self.rfile.read(int(self.headers.get("content-length", 0))) or b"{}")
        self.server.asked.append(path)  # type: ignore[attr-defined]
        answer = next((found for end, found in _ANSWERS.items() if path.endswith(end)), None)
        if answer is None:
            self.send_error(404)
            return
        whole, events = answer(str(asked.get("model", "a-model")))
        streamed = asked.get("stream") or "streamGenerate" in path
        named = [(f"event: {event['type']}\n" if "type" in event else "", event) for event in events]
        text = "".join(f"{name}data: {json.dumps(event)}\n\n" for name, event in named)
        text += "data: [DONE]\n\n" if path.endswith("/completions") else ""
        body = (text if streamed else json.dumps(whole)).encode()
        self.send_response(200)
        self.send_header("content-type", "text/event-stream" if streamed else "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        self.send_error(404)

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def model_apis() -> Iterator[tuple[int, list[str]]]:
    """Its port, and the paths that it was asked for."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        asked: list[str] = []
        server.asked = asked  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server.server_port, asked
        finally:
            server.shutdown()
            thread.join()

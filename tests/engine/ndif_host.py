"""A host that speaks NDIF's protocol for one model, in a process that lacks this package.

``python ndif_host.py FOLDER`` loads the model, prints its port, and serves until it is ended.
"""

from __future__ import annotations

import base64
import email
import hashlib
import io
import json
import struct
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import torch
from nnsight import TransformersModel
from nnsight.schema.request import RequestModel
from nnsight.schema.response import ResponseModel, Status
from nnsight.tracing.tracer import dec, inc
from transformers import AutoModelForCausalLM, AutoTokenizer

MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
SERVED: dict[str, Any] = {}
BUSY = threading.Lock()


def run(metadata: dict[str, Any], blob: bytes) -> ResponseModel:
    """Run what was sent; whatever goes wrong comes back in words."""
    import zstandard

    model = SERVED["model"]
    try:
        assert "org/model" in metadata["model_key"], f"no model {metadata['model_key']}"
        assert metadata["compress"], "not compressed"
        model._remoteable_set_env(metadata["env"])
        objects = model._remoteable_persistent_objects()
        tracer = RequestModel.deserialize(blob, objects, compress=True)
        frame = tracer.info.frame
        given = set(frame.f_locals)
        inc()
        try:
            tracer.execute(tracer.info.code)
        finally:
            dec()
        buffer = io.BytesIO()
        torch.save({k: v for k, v in frame.f_locals.items() if k not in given}, buffer)
        data = zstandard.ZstdCompressor().compress(buffer.getvalue())
        return ResponseModel(id="1", status=Status.COMPLETED, data=data)
    except Exception as error:
        said = f"{type(error).__name__}: {error}"
        return ResponseModel(id="1", status=Status.ERROR, description=said)


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *arguments: Any) -> None:
        pass

    def answer(self, content: str) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(content.encode())

    def do_GET(self) -> None:
        if self.path == "/env":
            self.answer(json.dumps({"python_version": sys.version, "packages": {}}))
        elif self.path == "/subscribe" and self.headers["ndif-api-key"] == "a-key":
            self.subscribe()
        else:
            self.send_error(404)

    def subscribe(self) -> None:
        key = self.headers["Sec-WebSocket-Key"].encode()
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        accept = base64.b64encode(hashlib.sha1(key + MAGIC).digest()).decode()
        self.send_header("Sec-WebSocket-Accept", accept)
        self.end_headers()
        job = f"session-{id(self)}"
        SERVED[job] = self, threading.Event()
        self.frame(json.dumps({"session_id": job}).encode(), text=True)
        SERVED[job][1].wait(60)
        self.close_connection = True

    def frame(self, content: bytes, *, text: bool) -> None:
        self.wfile.write(bytes([0x81 if text else 0x82, 127]) + struct.pack(">Q", len(content)))
        self.wfile.write(content)
        self.wfile.flush()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
        parts = email.message_from_bytes(head + body).get_payload()
        fields = {
            part.get_param("name", header="content-disposition"): part.get_payload(decode=True)
            for part in parts
        }
        metadata = json.loads(fields["data"])
        received = ResponseModel(id="1", status=Status.RECEIVED)
        self.answer(received.model_dump_json())
        with BUSY:
            response = run(metadata, fields["blob"])
        subscriber, done = SERVED.pop(metadata["session_id"])
        if response.status == Status.ERROR:
            subscriber.frame(response.model_dump_json().encode(), text=True)
        else:
            subscriber.frame(response.pickle(), text=False)
        done.set()


def main(folder: str) -> None:
    torch.set_num_threads(1)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype="float32").eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    SERVED["model"] = TransformersModel(
        model, tokenizer=tokenizer, task="text-generation", device="cpu"
    )
    # As on a host: whoever imports this package here, fails.
    sys.modules["stillwired"] = None  # type: ignore[assignment]
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(server.server_port, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main(sys.argv[1])

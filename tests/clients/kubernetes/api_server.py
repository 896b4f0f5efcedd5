"""An API server that lists and watches pods, and keeps Leases: PORT CERTIFICATE KEY DIRECTORY.

DIRECTORY has `pods/NAME.json`, the pods that there are; `leases/NAME.json`, the Leases of the namespace `egret-system`, which are applied
by PATCH; `token`, the one that it accepts; and `asked`, to which it writes each request.
While `gone` is there, watches end with 410 Gone, as those of a server whose history is shorter; while `silent` is, nothing is answered.
"""
import http.server
import json
import pathlib
import ssl
import sys
import threading
import time
import urllib.parse

port, certificate, key, directory = int(sys.argv[1]), sys.argv[2], sys.argv[3], pathlib.Path(sys.argv[4])
lock, version, known = threading.Lock(), 1, {}
LEASES = "/apis/coordination.k8s.io/v1/namespaces/egret-system/leases"


def pods():
    """The pods, each with the version at which it was last seen to change."""
    global version
    with lock:
        for path in (directory / "pods").glob("*.json"):
            try:
                pod = json.loads(path.read_text())
            except (FileNotFoundError, ValueError):
                continue
            if path.name not in known or known[path.name][0] != pod:
                version += 1
                known[path.name] = (pod, version)
        for name in [name for name in known if not (directory / "pods" / name).exists()]:
            version += 1
            del known[name]
        return version, {name: dict(pod, metadata=dict(pod["metadata"], resourceVersion=str(at))) for name, (pod, at) in known.items()}


class Server(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, body):
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def refuse(self, status, reason, message):
        self.answer(status, {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "message": message, "code": status})

    def event(self, kind, thing):
        text = json.dumps({"type": kind, "object": thing}).encode() + b"\n"
        self.wfile.write(b"%x\r\n%s\r\n" % (len(text), text))
        self.wfile.flush()

    def is_let_in(self):
        """Whether the request is answered, which a wrong token's is with a refusal."""
        with (directory / "asked").open("a") as asked:
            asked.write(f"{self.client_address[0]} {self.path}\n")
        while (directory / "silent").exists():
            time.sleep(0.02)
        if self.headers.get("Authorization") == f"Bearer {(directory / 'token').read_text()}":
            return True
        self.refuse(401, "Unauthorized", "Unauthorized")
        return False

    def do_PATCH(self):
        """Server-side apply: of one manager that forces it, it is the object that is written."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if not self.is_let_in():
            return None
        url = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(url.query))
        name = url.path.removeprefix(LEASES + "/")
        if self.headers["Content-Type"] != "application/apply-patch+yaml" or query != {"fieldManager": "egret", "force": "true"} or "/" in name:
            return self.refuse(403, "Forbidden", f"leases is forbidden: {self.path}")
        lease = json.loads(body)
        if lease["metadata"]["name"] != name:
            return self.refuse(400, "BadRequest", "the name of the object is not that of the URL")
        fresh = directory / f"fresh-{name}"
        fresh.write_text(json.dumps(lease))
        fresh.rename(directory / "leases" / f"{name}.json")
        return self.answer(200, lease)

    def leases(self, query):
        """One page of the Leases, of those whose labels are selected."""
        selected = dict(label.split("=") for label in query["labelSelector"].split(","))
        all_leases = [json.loads(path.read_text()) for path in sorted((directory / "leases").glob("*.json"))]
        all_leases = [lease for lease in all_leases if selected.items() <= lease["metadata"].get("labels", {}).items()]
        begin = int(query.get("continue", "0"))
        # Pages as small as they can be: whoever reads only the first one lacks nodes.
        page, more = all_leases[begin:begin + 1], begin + 1 < len(all_leases)
        metadata = {"resourceVersion": "1"} | ({"continue": str(begin + 1)} if more else {})
        return {"kind": "LeaseList", "apiVersion": "coordination.k8s.io/v1", "metadata": metadata, "items": page}

    def do_GET(self):
        if not self.is_let_in():
            return None
        url = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(url.query))
        if url.path == LEASES:
            return self.answer(200, self.leases(query))
        if url.path != "/api/v1/pods" or query.get("fieldSelector") != "spec.nodeName=node-7.example,status.phase!=Failed,status.phase!=Succeeded":
            return self.refuse(403, "Forbidden", f"pods is forbidden: {self.path}")
        if query.get("watch") != "true":
            at, there = pods()
            return self.answer(200, {"kind": "PodList", "apiVersion": "v1", "metadata": {"resourceVersion": str(at)}, "items": list(there.values())})
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        since = int(query["resourceVersion"])
        told = {name: pod for name, pod in pods()[1].items() if int(pod["metadata"]["resourceVersion"]) <= since}
        while True:
            if (directory / "gone").exists():
                self.event("ERROR", {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Expired", "message": "too old resource version", "code": 410})
                self.wfile.write(b"0\r\n\r\n")
                return None
            _, there = pods()
            for name in set(told) - set(there):
                self.event("DELETED", told.pop(name))
            for name, pod in there.items():
                if told.get(name) != pod:
                    self.event("MODIFIED" if name in told else "ADDED", pod)
                    told[name] = pod
            time.sleep(0.02)


server = http.server.ThreadingHTTPServer(("0.0.0.0", port), Server)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate, key)
server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
server.serve_forever()

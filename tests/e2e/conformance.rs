//! Protocols over HTTP, with their own clients and servers, through `intercept`.

use egret_tests::{EGRESS, Lab, Pki, Service, eventually};

use crate::PARTNER;

const NAME: &str = "api.partner.example";
const ADDRESS: &str = "203.0.113.7";
/// The libraries are installed for the system's Python.
const PYTHON: &str = "/usr/bin/python3";

/// The lab's PKI, paths of certificate and key for the partner, and a configuration that intercepts it.
fn intercepted(lab: &Lab) -> (Pki, [String; 2], String) {
    lab.hosts(&[(ADDRESS, NAME)]);
    let pki = lab.pki();
    let (certificate, key) = pki.identity(&[NAME], &[]).write(lab.directory());
    let paths = [certificate, key].map(|path| path.to_str().unwrap().to_owned());
    let api = format!("{PARTNER}    mode: intercept\n    backend: {{tls: {{ca: {}}}}}\n", pki.ca());
    (pki, paths, api)
}

/// PEM file of Egret's CA.
fn ca(lab: &Lab) -> String {
    lab.directory().join("egret-ca.pem").to_str().unwrap().to_owned()
}

/// Runs a client that gets the path of Egret's CA; returns what it printed.
fn client(lab: &Lab, program: &str) -> String {
    let output = lab.run(PYTHON, &["-c", program, &ca(lab)]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[test]
fn grpc_calls_of_all_four_kinds() {
    const SERVER: &str = r#"
import grpc, sys
from concurrent import futures
def unary(request, context):
    if request == b"fail":
        context.set_trailing_metadata((("why", "asked"),))
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "as asked")
    return context.peer().encode()
def out(request, context):
    for i in range(int(request)):
        yield b"%d" % i
def into(requests, context):
    return b"%d" % sum(len(r) for r in requests)
def both(requests, context):
    for r in requests:
        yield r.upper()
handlers = {
    "Unary": grpc.unary_unary_rpc_method_handler(unary),
    "Out": grpc.unary_stream_rpc_method_handler(out),
    "Into": grpc.stream_unary_rpc_method_handler(into),
    "Both": grpc.stream_stream_rpc_method_handler(both),
}
server = grpc.server(futures.ThreadPoolExecutor(8))
server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("lab.Calls", handlers),))
credentials = grpc.ssl_server_credentials([(open(sys.argv[2], "rb").read(), open(sys.argv[1], "rb").read())])
server.add_secure_port("203.0.113.7:443", credentials)
server.start()
server.wait_for_termination()
"#;
    const CLIENT: &str = r#"
import grpc, sys, queue
channel = grpc.secure_channel("api.partner.example:443", grpc.ssl_channel_credentials(open(sys.argv[1], "rb").read()))
call = lambda kind, name: getattr(channel, kind)("/lab.Calls/" + name)
print(call("unary_unary", "Unary")(b"who", timeout=20).decode().rsplit(":", 1)[0])
print(len(list(call("unary_stream", "Out")(b"1000", timeout=20))))
print(call("stream_unary", "Into")((b"x" * 1000 for _ in range(1000)), timeout=20).decode())
said = queue.Queue()
answers = call("stream_stream", "Both")(iter(said.get, None), timeout=20)
for word in (b"each", b"is", b"answered", b"at", b"once"):
    said.put(word)
    print(next(answers).decode(), end=" ")
said.put(None)
print(len(list(answers)))
try:
    call("unary_unary", "Unary")(b"fail", timeout=20)
except grpc.RpcError as error:
    print(error.code().name, error.details(), dict(error.trailing_metadata())["why"])
"#;
    let lab = Lab::new();
    let (_pki, [certificate, key], api) = intercepted(&lab);
    let _server = lab.service(443, PYTHON, &["-c", SERVER, &certificate, &key]);
    let _egret = lab.egret(&lab.configure(&api), &[]);
    assert_eq!(
        client(&lab, CLIENT),
        format!("ipv4:{EGRESS}\n1000\n1000000\nEACH IS ANSWERED AT ONCE 0\nFAILED_PRECONDITION as asked asked")
    );
}

/// A third party that speaks HTTP/2, says to whom, and writes it down (see [`served`]).
fn nginx(lab: &Lab, certificate: &str, key: &str) -> Service {
    let directory = lab.directory().display();
    let config = lab.directory().join("nginx.conf");
    let text = format!(
        "daemon off;\nuser root;\npid {directory}/nginx.pid;\nerror_log {directory}/nginx-error.log;\nevents {{}}\nhttp {{\n  \
         log_format served '$remote_addr $server_protocol $status';\n  access_log {directory}/served served;\n  \
         server {{\n    listen {ADDRESS}:443 ssl http2;\n    ssl_certificate {certificate};\n    \
         ssl_certificate_key {key};\n    location / {{ return 200 \"$remote_addr\\n\"; }}\n  }}\n}}\n"
    );
    std::fs::write(&config, text).unwrap();
    lab.service(443, "nginx", &["-c", config.to_str().unwrap()])
}

/// What nginx served: caller, version and status of each request.
fn served(lab: &Lab) -> Vec<String> {
    let text = std::fs::read_to_string(lab.directory().join("served")).unwrap();
    text.lines().map(str::to_owned).collect()
}

/// Says from where a caller came, then says back what it hears.
const WEBSOCKETS: &str = r#"
import asyncio, ssl, sys, websockets
async def echo(socket):
    await socket.send(socket.remote_address[0])
    async for message in socket:
        await socket.send(message)
async def main():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[1], sys.argv[2])
    async with websockets.serve(echo, "203.0.113.7", 443, ssl=context):
        await asyncio.Future()
asyncio.run(main())
"#;
#[test]
fn websockets_and_their_ends() {
    const CLIENT: &str = r#"
import asyncio, ssl, sys, websockets
async def main():
    context = ssl.create_default_context(cafile=sys.argv[1])
    async with websockets.connect("wss://api.partner.example/", ssl=context) as socket:
        print(await socket.recv())
        for message in ("text", b"\0\1\2", "x" * 500_000):
            await socket.send(message)
            assert await socket.recv() == message
        await (await socket.ping())
        await socket.close(4000, "done")
        print(socket.close_code, socket.close_reason)
asyncio.run(main())
"#;
    let lab = Lab::new();
    let (_pki, [certificate, key], api) = intercepted(&lab);
    let _server = lab.service(443, PYTHON, &["-c", WEBSOCKETS, &certificate, &key]);
    let _egret = lab.egret(&lab.configure(&api), &[]);
    assert_eq!(client(&lab, CLIENT), format!("{EGRESS}\n4000 done"));
}

#[test]
fn websockets_of_node_and_their_ends() {
    const CLIENT: &str = r#"
const WebSocket = require("ws");
const socket = new WebSocket("wss://api.partner.example/");
const sent = ["text", "x".repeat(500000)];
let heard = 0;
socket.on("message", data => {
  if (heard == 0) console.log(data.toString(), Object.keys(socket._extensions).join());
  else if (data.toString() != sent[heard - 1]) throw new Error("not what was sent");
  if (heard < sent.length) socket.send(sent[heard]);
  else socket.ping("still there?");
  heard += 1;
});
socket.on("pong", data => { console.log(data.toString()); socket.close(4000, "done"); });
socket.on("close", (code, reason) => console.log(code, reason.toString()));
"#;
    let lab = Lab::new();
    let (_pki, [certificate, key], api) = intercepted(&lab);
    let _server = lab.service(443, PYTHON, &["-c", WEBSOCKETS, &certificate, &key]);
    let _egret = lab.egret(&lab.configure(&api), &[]);
    let mut node = lab.workload("node", &["-e", CLIENT]);
    node.env("NODE_PATH", "/usr/share/nodejs").env("NODE_EXTRA_CA_CERTS", ca(&lab));
    let output = node.output().unwrap();
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        format!("{EGRESS} permessage-deflate\nstill there?\n4000 done\n"),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn httpx_over_http_2_with_many_requests_at_once() {
    const CLIENT: &str = r#"
import asyncio, httpx, sys
async def main():
    async with httpx.AsyncClient(http2=True, verify=sys.argv[1], timeout=30) as client:
        answers = await asyncio.gather(*(client.get("https://api.partner.example/%d" % i) for i in range(200)))
        print(len(answers), {a.http_version for a in answers}, {a.text.strip() for a in answers})
asyncio.run(main())
"#;
    let lab = Lab::new();
    let (_pki, [certificate, key], api) = intercepted(&lab);
    let _nginx = nginx(&lab, &certificate, &key);
    let _egret = lab.egret(&lab.configure(&api), &[]);
    assert_eq!(client(&lab, CLIENT), format!("200 {{'HTTP/2'}} {{'{EGRESS}'}}"));
}

#[test]
fn policies_over_http_2_and_errors_as_grpc_tells_them() {
    const CLIENT: &str = r#"
import grpc, httpx, sys
with httpx.Client(http2=True, verify=sys.argv[1], timeout=30) as client:
    for path in ("/prices", "/forbidden"):
        answer = client.get("https://api.partner.example" + path)
        print(answer.http_version, answer.status_code, answer.headers.get("x-answered"))
channel = grpc.secure_channel("api.partner.example:443", grpc.ssl_channel_credentials(open(sys.argv[1], "rb").read()))
try:
    channel.unary_unary("/forbidden")(b"who", timeout=20)
except grpc.RpcError as error:
    print(error.code().name, error.details())
"#;
    let lab = Lab::new();
    let (_pki, [certificate, key], api) = intercepted(&lab);
    let _nginx = nginx(&lab, &certificate, &key);
    let policies = "    policies:\n      inbound:\n        - set-header: {name: X-Client, value: acme}\n        - choose:\n            - \
                    when: request.path == \"/forbidden\"\n              then: [{check-header: {name: X-Never, failed_status: 403}}]\n      \
                    outbound:\n        - set-header: {name: X-Answered, value: \"${request.path}\"}\n";
    let _egret = lab.egret(&lab.configure(&format!("{api}{policies}")), &[]);
    let expected = "HTTP/2 200 /prices\nHTTP/2 403 None\nPERMISSION_DENIED x-never is missing";
    assert_eq!(client(&lab, CLIENT), expected);
    eventually("nginx has written down all", || served(&lab).len() == 1);
    assert_eq!(served(&lab), [format!("{EGRESS} HTTP/2.0 200")]);
}

#[test]
fn h2load_with_more_streams_than_the_third_party_allows() {
    let lab = Lab::new();
    let (_pki, [certificate, key], api) = intercepted(&lab);
    let _nginx = nginx(&lab, &certificate, &key);
    let _egret = lab.egret(&lab.configure(&api), &[]);
    // nginx allows 128 streams at once.
    let output = lab.run("h2load", &["-n", "5000", "-c", "8", "-m", "200", "https://api.partner.example/"]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("status codes: 5000 2xx, 0 3xx, 0 4xx, 0 5xx"), "{said}");
    assert!(said.contains("Application protocol: h2\n"), "{said}");
    eventually("nginx has written down all", || served(&lab).len() == 5000);
    assert!(served(&lab).iter().all(|line| *line == format!("{EGRESS} HTTP/2.0 200")));
}

#[test]
fn java_over_http_2_with_many_requests_at_once() {
    const CLIENT: &str = r#"
import java.net.*; import java.net.http.*; import java.util.*; import java.util.stream.*;
class Calls {
    public static void main(String[] arguments) throws Exception {
        var client = HttpClient.newBuilder().version(HttpClient.Version.HTTP_2).build();
        var uri = URI.create("https://api.partner.example/");
        // Java asks for a connection for each request until it has one that speaks HTTP/2.
        var first = client.send(HttpRequest.newBuilder(uri).build(), HttpResponse.BodyHandlers.ofString());
        var body = HttpRequest.BodyPublishers.ofString("x".repeat(200000));
        var calls = IntStream.range(0, 100).mapToObj(i -> HttpRequest.newBuilder(uri.resolve("/" + i)))
            .map(call -> client.sendAsync(call.POST(body).build(), HttpResponse.BodyHandlers.ofString()))
            .collect(Collectors.toList());
        var said = new TreeSet<String>();
        for (var call : calls) said.add(call.join().statusCode() + " " + call.join().version() + " " + call.join().body().trim());
        System.out.println(calls.size() + " " + said + " " + first.version());
    }
}
"#;
    let lab = Lab::new();
    let (_pki, [certificate, key], api) = intercepted(&lab);
    let _nginx = nginx(&lab, &certificate, &key);
    let _egret = lab.egret(&lab.configure(&api), &[]);
    let java = lab.directory().join("Calls.java");
    std::fs::write(&java, CLIENT).unwrap();
    let socket = lab.socket();
    let trusting = ["exec", "--socket", socket.to_str().unwrap(), "--trust", "--"];
    let said = lab.cli(&[&trusting[..], &["java", "-Xshare:auto", java.to_str().unwrap()]].concat());
    assert_eq!(said.trim(), format!("100 [200 HTTP_2 {EGRESS}] HTTP_2"));
}

// GET over HTTP at an address that Node's dns.resolve4 (c-ares) finds: prints the response.
const dns = require("node:dns");
const http = require("node:http");

dns.resolve4(process.argv[2], (error, addresses) => {
  if (error) throw error;
  http.get({ host: addresses[0], path: "/", headers: { Host: process.argv[2] } }, (response) => {
    response.setEncoding("utf8");
    response.on("data", (text) => process.stdout.write(text));
  });
});

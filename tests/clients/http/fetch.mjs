import { createReadStream } from 'node:fs';

const [url, , size, upload] = process.argv.slice(2);
console.log((await (await fetch(url + '/')).text()).trim());
let got = 0;
for await (const piece of (await fetch(url + '/files/large')).body) got += piece.length;
console.log(got);
const body = createReadStream(upload);
const headers = { 'Content-Length': size };
console.log((await fetch(url + '/files/uploaded', { method: 'PUT', body, duplex: 'half', headers })).status);
const stream = (await fetch(url + '/stream')).body.pipeThrough(new TextDecoderStream()).getReader();
const first = (await stream.read()).value.trim();
await (await fetch(url + '/ack')).text();
console.log(first, (await stream.read()).value.trim());

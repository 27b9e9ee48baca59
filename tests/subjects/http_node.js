// Node's own http, https and http2 modules as server and client; see README.md.
'use strict';

const fs = require('fs');
const http = require('http');
const http2 = require('http2');
const https = require('https');
const net = require('net');
const tls = require('tls');
const { once } = require('events');
const { Duplex } = require('stream');
const { parseArgs } = require('util');

const BODIES = { '/small': 100, '/medium': 5000, '/large': 100000 };
const STATUSES = { '/empty': 204, '/upload': 201, '/moved': 301, '/error': 500 };

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    log: { type: 'string' },
    certificate: { type: 'string' },
    key: { type: 'string' },
    url: { type: 'string' },
    plan: { type: 'string' },
    http2: { type: 'boolean' },
  },
});
const log = fs.openSync(options.log, 'w');
const now = () => Number(process.hrtime.bigint()) / 1e9;

function note(side, method, path, status, start, end) {
  const record = { side, method, path, status, start, seconds: end - start };
  fs.writeSync(log, JSON.stringify(record) + '\n');
}

function say(more) {
  const module = options.http2 ? 'http2' : options.certificate ? 'https' : 'http';
  const shared = process.config.variables.node_shared_openssl;
  const tls = `OpenSSL ${process.versions.openssl} (${shared ? 'shared' : 'static'})`;
  const of = { library: `${module} of Node ${process.versions.node}` };
  console.log(JSON.stringify({ ...of, ...(options.certificate ? { tls } : {}), ...more }));
}

function statusOf(path) {
  const known = path in BODIES || path === '/chunked' || path.startsWith('/users/');
  return STATUSES[path] ?? (known ? 200 : 404);
}

async function answer(request, response) {
  const start = now();
  const { method, url: path } = request;
  request.resume();
  if (!request.complete) await once(request, 'end');
  const status = statusOf(path);
  const size = BODIES[path] ?? 0;
  const headers = {};
  if (status === 301) headers.location = '/small';
  if (status !== 204 && path !== '/chunked') headers['content-length'] = size;
  response.writeHead(status, headers);
  // Handed to the system, which is as far as Node tells.
  response.on('finish', () => note('server', method, path, status, start, now()));
  if (path === '/chunked' && method !== 'HEAD') {
    for (let piece = 0; piece < 3; piece += 1) response.write('x'.repeat(1000));
  }
  response.end(method === 'HEAD' ? undefined : 'x'.repeat(size));
}

function serve() {
  const secure = options.certificate && {
    cert: fs.readFileSync(options.certificate),
    key: fs.readFileSync(options.key),
  };
  let server;
  if (options.http2) {
    server = secure ? http2.createSecureServer(secure, answer) : http2.createServer(answer);
  } else {
    server = secure ? https.createServer(secure, answer) : http.createServer(answer);
  }
  server.listen(0, '127.0.0.1', () => say({ listening: server.address().port }));
  process.stdin.resume().on('end', () => process.exit(0));
}

const ca = () => options.certificate && fs.readFileSync(options.certificate);

// When a connection's handle was first written to, and last read from, since its `start` was reset: what the library does before and after is none of
// the exchange's time.
const WRITES = ['writev', 'writeBuffer', 'writeLatin1String', 'writeUtf8String', 'writeAsciiString'];
const watched = new WeakMap();

function watch({ _handle: handle }) {
  if (watched.has(handle)) return watched.get(handle);
  const moment = {};
  watched.set(handle, moment);
  for (const name of WRITES) {
    const write = handle[name];
    handle[name] = function noting(...given) {
      moment.start ??= now();
      return write.apply(this, given);
    };
  }
  const { onread } = handle;
  handle.onread = function noting(...given) {
    moment.end = now();
    return onread.apply(this, given);
  };
  return moment;
}

async function overHttp1(plan) {
  const library = options.certificate ? https : http;
  const connection = () => new library.Agent({ keepAlive: true, maxSockets: 1, ca: ca() });
  let agent = connection();
  for (const { method, path, body, fresh } of plan) {
    if (fresh) {
      agent.destroy();
      agent = connection();
    }
    const headers = method === 'POST' ? { 'content-length': body } : {};
    const request = library.request(options.url + path, { agent, method, headers });
    const [socket] = await once(request, 'socket');
    if (socket.connecting) await once(socket, options.certificate ? 'secureConnect' : 'connect');
    const moment = watch(socket);
    moment.start = undefined;
    request.end('x'.repeat(body));
    const [response] = await once(request, 'response');
    response.resume();
    await once(response, 'end');
    note('client', method, path, response.statusCode, moment.start, moment.end);
  }
  agent.destroy();
}

// Package http2 takes a socket's handle for itself, and tells of its frames only once they come out of its queues. Given a stream that is no socket, it leaves the
// socket behind it to be watched.
async function watchedStream() {
  const { hostname: host, port } = new URL(options.url);
  const socket = options.certificate
    ? tls.connect({ host, port, ca: ca(), ALPNProtocols: ['h2'] })
    : net.connect({ host, port });
  await once(socket, options.certificate ? 'secureConnect' : 'connect');
  const stream = new Duplex({
    read() { socket.resume(); },
    write(chunk, encoding, callback) { socket.write(chunk, encoding, callback); },
    final(callback) { socket.end(callback); },
    destroy(error, callback) {
      socket.destroy();
      callback(error);
    },
  });
  socket.on('data', (chunk) => { if (!stream.push(chunk)) socket.pause(); });
  socket.on('end', () => stream.push(null));
  socket.on('error', (error) => stream.destroy(error));
  return [stream, watch(socket)];
}

async function overHttp2(plan, _, plans) {
  // Where there is one worker, times are measured; the others use the library as everybody does.
  const measured = plans.length === 1;
  let moment = {};
  const connect = async () => {
    const given = { ca: ca() };
    if (measured) {
      let stream;
      [stream, moment] = await watchedStream();
      given.createConnection = () => stream;
    }
    const session = http2.connect(options.url, given);
    await once(session, 'connect');
    return session;
  };
  let session = await connect();
  for (const { method, path, body, fresh } of plan) {
    if (fresh) {
      session.close();
      session = await connect();
    }
    const start = now();
    moment.start = undefined;
    const endStream = method !== 'POST';
    const stream = session.request({ ':method': method, ':path': path }, { endStream });
    if (!endStream) stream.end('x'.repeat(body));
    let status;
    let end;
    stream.on('response', (headers) => {
      status = headers[':status'];
      end = now();
    });
    stream.on('data', () => {
      end = now();
    });
    await once(stream, 'end');
    if (measured) note('client', method, path, status, moment.start, moment.end);
    else note('client', method, path, status, start, end);
  }
  session.close();
}

async function ask() {
  say({});
  const plans = JSON.parse(fs.readFileSync(options.plan));
  await Promise.all(plans.map(options.http2 ? overHttp2 : overHttp1));
  await new Promise((over) => { setTimeout(over, 300); });
}

if (positionals[0] === 'server') serve();
else ask().catch((error) => { console.error(error); process.exit(1); });

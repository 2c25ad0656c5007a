#!/usr/bin/env node
// adapter.mjs URL sse|ws: makes an HTTP+SSE or WebSocket endpoint look like Streamable HTTP.
//
// The conformance suite speaks Streamable HTTP only. For each of its sessions this opens one connection to URL with
// the official TypeScript client transport and passes messages through unchanged. Checks about HTTP itself (the
// session's life, polling, Host) then test this file and say nothing about the bridge. Prints its own URL when ready.
import { randomUUID } from 'node:crypto';
import { load, require } from './deps.mjs';

const [url, via] = process.argv.slice(2);
const { StreamableHTTPServerTransport } = await load('@modelcontextprotocol/sdk/server/streamableHttp.js');
const { localhostHostValidation } = await load(
  '@modelcontextprotocol/sdk/server/middleware/hostHeaderValidation.js',
);
const { SSEClientTransport } = await load('@modelcontextprotocol/sdk/client/sse.js');
const { WebSocketClientTransport } = await load('@modelcontextprotocol/sdk/client/websocket.js');
globalThis.WebSocket ??= require('ws'); // Node has its own since version 22
const express = require('express');

const Upstream = { sse: SSEClientTransport, ws: WebSocketClientTransport }[via];
const sessions = new Map();
const complain = fault => {
  if (fault?.name !== 'AbortError') console.error(fault?.message ?? fault); // that is how closing ends a stream
};

async function open() {
  const upstream = new Upstream(new URL(url));
  const downstream = new StreamableHTTPServerTransport({
    sessionIdGenerator: randomUUID,
    onsessioninitialized: id => sessions.set(id, downstream),
    onsessionclosed: id => {
      sessions.delete(id);
      upstream.close();
    },
  });
  const pending = new Set(); // the client's requests; what the server sends meanwhile goes to the newest
  downstream.onmessage = message => {
    if (message.method && message.id !== undefined) pending.add(message.id);
    upstream.send(message).catch(complain);
  };
  upstream.onmessage = message => {
    const related = message.method ? { relatedRequestId: [...pending].at(-1) } : {};
    if (!message.method) pending.delete(message.id);
    downstream.send(message, related).catch(complain);
  };
  upstream.onerror = complain;
  await upstream.start();
  await downstream.start();
  return downstream;
}

const app = express();
app.use(localhostHostValidation(), express.json({ limit: '16mb' }));
app.all('/mcp', async (request, response) => {
  const id = request.headers['mcp-session-id'];
  try {
    const session = id ? sessions.get(id) : await open();
    if (session) await session.handleRequest(request, response, request.body);
    else
      response
        .status(404)
        .json({ jsonrpc: '2.0', id: null, error: { code: -32001, message: 'no such session' } });
  } catch (fault) {
    complain(fault);
    if (!response.headersSent) response.status(502).end();
  }
});
const listener = app.listen(0, '127.0.0.1', () =>
  console.log(`http://127.0.0.1:${listener.address().port}/mcp`),
);
